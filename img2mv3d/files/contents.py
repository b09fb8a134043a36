"""Contents of a PNG, a JSON, an npz and latents.pt, and what is refused when one is read.

Equal content gives equal bytes, inverses stand side by side, sizes are checked before anything is allocated. Torch is
imported only where a latents file is read or written, so that a cached run stays light.
"""

from __future__ import annotations

import io
import json
import math
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from img2mv3d.conventions import LATENT_CHANNELS, LATENT_FACTOR
from img2mv3d.errors import InputError, LatentsError
from img2mv3d.files.forms import fits
from img2mv3d.geometry.cameras import Rig

LATENTS_FORMAT = "img2mv3d-latents/1"
GREY = 0.02  # length of a code that says "no direction": grey, rounded to 8 bits
MAX_VIEWS = 16
MAX_SIDE = 1024  # px of a view, nodes of a grid: larger files are refused before anything is allocated


def write_png(path: Path, pixels: np.ndarray) -> None:
    """uint8 [H, W, 3 or 4] -> PNG; the same pixels give the same bytes."""
    from PIL import Image

    Image.fromarray(pixels).save(path, format="PNG", compress_level=4)


def read_png(path: Path, mode: str, error: type[InputError]) -> np.ndarray:
    """A picture of ours -> uint8 [H, W, C] in `mode`. Raises `error` when missing, unreadable or over MAX_SIDE * 16
    px a side.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if max(picture.size) > MAX_SIDE * 16:
                raise error(f"{path}: {picture.size[0]} x {picture.size[1]} px is too large")
            return np.array(picture.convert(mode))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as reason:
        words = getattr(reason, "strerror", None) or reason
        raise error(f"{path}: cannot be read as a picture ({words})") from None


def has_alpha(path: Path) -> bool:
    """Does a picture of ours have an alpha channel? Editors drop it."""
    from PIL import Image

    with Image.open(path) as picture:
        return "A" in picture.getbands() or "transparency" in picture.info


def write_json(path: Path, notes: Any) -> None:
    """Sorted, indented JSON with a final newline."""
    path.write_text(json.dumps(notes, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path, error: type[InputError]) -> dict[str, Any]:
    """A JSON object. Raises `error` when missing or malformed."""
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    except (ValueError, RecursionError) as reason:
        raise error(f"{path}: is not JSON ({reason})") from None
    if not isinstance(notes, dict):
        raise error(f"{path}: expected a JSON object")
    return notes


def write_npz(path: Path, **arrays: np.ndarray) -> None:
    """Deterministic compressed npz: fixed dates and order, so that equal arrays give equal bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)


def read_npz(path: Path, error: type[InputError], *, required: tuple[str, ...]) -> dict[str, np.ndarray]:
    """All arrays of an npz, nothing pickled. Raises `error` when missing, broken, over 1 GiB unpacked or without
    `required` keys.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > 1 << 30:
                raise error(f"{path}: unpacks to more than 1 GiB")
            for info in archive.infolist():
                _check_claim(archive, info)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (InputError, MemoryError):
        raise
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except Exception as reason:  # zip, zlib and numpy's headers raise many kinds; all mean the same to the user
        raise error(f"{path}: cannot be read as npz ({reason})") from None
    missing = [name for name in required if name not in arrays]
    if missing:
        raise error(f"{path}: lacks the arrays {', '.join(missing)}")
    return arrays


def _check_claim(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raises ValueError where an array's header asks for more than its member holds: numpy would allocate it."""
    if not info.filename.endswith(".npy"):
        return
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(member)
    if math.prod(shape) * kind.itemsize > info.file_size:
        raise ValueError(f"{info.filename} claims to be {' x '.join(map(str, shape))}")


def pack_notes(notes: dict[str, Any]) -> np.ndarray:
    """Plain values as an array for an npz: the uint8 bytes [N] of their sorted JSON. `unpack_notes` undoes it."""
    return np.frombuffer(json.dumps(notes, sort_keys=True).encode(), np.uint8)


def unpack_notes(arrays: dict[str, np.ndarray], path: Path, error: type[InputError]) -> dict[str, Any]:
    """The notes that stand under "notes" among an npz's arrays; none are {}. Raises `error` when they are malformed."""
    if "notes" not in arrays:
        return {}
    try:
        notes = json.loads(bytes(arrays["notes"]))
    except (ValueError, TypeError, RecursionError) as reason:
        raise error(f"{path}: its notes are not JSON ({reason}); leave them out") from None
    if not fits(notes, {"warnings?": [str], "figures?": dict, "origin?": str}):
        raise error(f"{path}: its notes are not as they were written; leave them out")
    return notes


def to_bytes(values: np.ndarray) -> np.ndarray:
    """float [0, 1] -> uint8, rounded and clipped. / 255 undoes it."""
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def encode_normals(normal: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Unit normals [..., 3] and mask [...] in [0, 1] -> uint8 [..., 3], n / 2 + 1/2 composited over white."""
    cover = mask[..., None]
    return to_bytes((normal / 2 + 0.5) * cover + (1 - cover))


def decode_normals(code: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] and mask [...] -> unit normals float32 [..., 3]; (0, 0, 0) where the mask is below 1/2 or the code
    is grey, which no direction has. Undoes `encode_normals`.
    """
    cover = np.clip(mask, 0.5, 1)[..., None]
    normal = ((code.astype(np.float32) / 255 - (1 - cover)) / cover) * 2 - 1
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    known = (mask[..., None] >= 0.5) & (length > GREY)
    return np.where(known, normal / np.maximum(length, GREY), 0).astype(np.float32)


def write_latents(path: Path, record: dict[str, Any]) -> None:
    """Write latents.pt out of the form that `read_latents` gives. The bytes depend on
    the values alone, not on the file's name.
    """
    import torch

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))

    color, normal = record["color"], record["normal"]
    stored = {
        "format": LATENTS_FORMAT,
        "color": tensor(color.astype(np.float32, copy=False)),
        "normal": None if normal is None else tensor(normal.astype(np.float32, copy=False)),
        "front": tensor(record["front"].transpose(2, 0, 1)),
        "rig": record["rig"].to_dict(),
        "framing_px": int(record["framing_px"]),
        "vae": dict(record["vae"]),
        "bundle": record["bundle"],
        "seed": int(record["seed"]),
        "settings": dict(record["settings"]),
    }
    if record.get("draft") is not None:  # files without one stay as they were
        stored["draft"] = tensor(record["draft"].astype(np.float32, copy=False))
    buffer = io.BytesIO()  # torch.save puts a file's own name into the archive: a buffer has none
    torch.save(stored, buffer)
    path.write_bytes(buffer.getvalue())


def read_latents(path: Path) -> dict[str, Any]:
    """Read and check a latents file: color and normal (or None) float32 [V, 4, h, w], front uint8 [H, W, 4], rig, and
    the plain numbers. Raises LatentsError; nothing in the file is run, sizes are checked before reading.
    """
    import torch

    limit = 64 << 20
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise LatentsError(f"{path}: is not a regular file; give one that `generate` wrote")
        if status.st_size > limit:
            raise LatentsError(
                f"{path}: larger than {limit >> 20} MiB, this is not a latents file; give one that `generate` wrote"
            )
        with zipfile.ZipFile(path) as archive:
            if sum(i.file_size for i in archive.infolist()) > limit:
                raise LatentsError(f"{path}: unpacks to more than {limit >> 20} MiB; give one that `generate` wrote")
            if damaged := archive.testzip():  # torch.load does not look at the checksums
                raise LatentsError(f"{path}: {damaged} in it is damaged; give a file that `generate` wrote")
        record = torch.load(path, map_location="cpu", weights_only=True)
    except LatentsError:
        raise
    except FileNotFoundError:
        raise LatentsError(f"{path}: no such file; `img2mv3d generate` makes one") from None
    except Exception as error:  # torch raises many kinds; all mean the same to the user
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        if reason.startswith("Weights only load failed"):  # torch goes on to say how to run it all the same
            reason = "it holds more than numbers and words, which is never run"
        raise LatentsError(f"{path}: cannot be read as latents ({reason}); give a file that `generate` wrote") from None
    return _checked_latents(record, path)


def _checked_latents(record: Any, path: Path) -> dict[str, Any]:
    import torch

    def bad(what: str) -> LatentsError:
        return LatentsError(f"{path}: {' '.join(what.split())[:200]}; give a file that `generate` wrote")

    if isinstance(record, torch.Tensor):
        raise LatentsError(f"{path}: a bare tensor says nothing of its photo; `decode` takes it with --photo FILE")
    found = record.get("format") if isinstance(record, dict) else None
    if not isinstance(found, str) or found != LATENTS_FORMAT:
        given = repr(found) if isinstance(found, str) else f"a {type(record if found is None else found).__name__}"
        raise bad(f"format {given}, expected {LATENTS_FORMAT!r}")
    missing = {"color", "normal", "front", "rig", "framing_px", "vae", "bundle", "seed", "settings"} - set(record)
    if missing:
        raise bad(f"lacks {', '.join(sorted(missing))}")
    for name in ("rig", "vae", "settings"):  # before anybody walks through it: a tensor here can be of any length
        if not isinstance(record[name], dict):
            raise bad(f"{name} is a {type(record[name]).__name__}, expected a dict")
    try:
        rig = Rig.from_dict(record["rig"])
        framing_px, seed = int(record["framing_px"]), int(record["seed"])
        vae = {str(k): str(v) for k, v in record["vae"].items()}
        settings = dict(record["settings"])
        if not 0.0 <= float(settings.get("rounded", 0.0)) <= 1.0:
            raise ValueError(f"settings: rounded is {settings['rounded']!r}, expected 0 to 1")
    except (ValueError, TypeError, AttributeError) as error:
        raise bad(str(error)) from None
    color, normal, front = record["color"], record["normal"], record["front"]
    draft = record.get("draft")
    for name, tensor in (("color", color), ("normal", normal), ("draft", draft)):
        if tensor is None and name != "color":
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.dtype != torch.float32 or tensor.ndim != 4:
            raise bad(f"{name} is not a float32 tensor [V, {LATENT_CHANNELS}, h, w]")
        if tensor.shape[0] != len(rig) or tensor.shape[1] != LATENT_CHANNELS or tensor.shape[2:] != color.shape[2:]:
            raise bad(f"{name} has shape {tuple(tensor.shape)}, expected ({len(rig)}, {LATENT_CHANNELS}, h, w)")
        if (
            not 1 <= tensor.shape[0] <= MAX_VIEWS
            or not 4 <= min(tensor.shape[2:]) <= max(tensor.shape[2:]) <= MAX_SIDE // LATENT_FACTOR
        ):
            raise bad(f"{name} has shape {tuple(tensor.shape)}, outside of what can be decoded")
        if not torch.isfinite(tensor).all():
            raise bad(f"{name} holds NaN or infinite values")
    if not isinstance(front, torch.Tensor) or front.dtype != torch.uint8 or front.ndim != 3 or front.shape[0] != 4:
        raise bad("front is not a uint8 tensor [4, H, W]")
    if tuple(front.shape[1:]) != tuple(LATENT_FACTOR * s for s in color.shape[2:]):
        raise bad(
            f"front is {front.shape[2]} x {front.shape[1]} px for {color.shape[3]} x {color.shape[2]} cells of 8 px"
        )
    return {
        "color": color.contiguous().numpy(),
        "normal": None if normal is None else normal.contiguous().numpy(),
        "front": np.ascontiguousarray(front.numpy().transpose(1, 2, 0)),
        "rig": rig,
        "framing_px": framing_px,
        "vae": vae,
        "bundle": str(record["bundle"]),
        "seed": seed,
        "settings": settings,
        "draft": None if draft is None else draft.contiguous().numpy(),
    }

"""Latents of any generator: one tensor in a file, without a word beside it; and the cameras that it belongs to."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from img2mv3d.conventions import LATENT_CHANNELS, LATENT_FACTOR, LATENT_SCALE
from img2mv3d.errors import LatentsError, UsageError
from img2mv3d.files.contents import MAX_SIDE
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig

ENDINGS = (".pt", ".npy", ".safetensors")
LARGEST = 64 << 20  # bytes
# Root mean squares. Scaled latents of objects over white have 1.1 to 1.4, unscaled ones 1 / LATENT_SCALE times as much.
SCALED, UNSCALED = (0.3, 2.6), (2.4, 20.0)


def read_bare(
    path: Path, views: int, *, unscaled: bool = False
) -> tuple[Float32[np.ndarray, "V 4 h w"], Float32[np.ndarray, "V 4 h w"] | None]:
    """(color, normal), scaled. A tensor of twice as many latents as views holds normals first, as Wonder3D batches;
    one of as many holds colours alone, and normal is None.

    unscaled: as an autoencoder's encoder gives them, not yet times LATENT_SCALE. Raises LatentsError on any other form,
    and on numbers that are too large or too small to be what `unscaled` says.
    """

    def bad(what: str) -> LatentsError:
        form = f"[{views} or {2 * views}, {LATENT_CHANNELS}, h, w]"
        return LatentsError(
            f"{path}: {what}; give one tensor {form} of floating-point numbers in a .pt, .npy or .safetensors file"
        )

    array = _read(path, bad)
    if array.ndim != 4 or array.shape[1] != LATENT_CHANNELS or array.shape[0] not in (views, 2 * views):
        raise bad(f"a tensor of shape {list(array.shape)}")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise bad(f"its numbers are {array.dtype}" if array.dtype.kind != "f" else "holds NaN or infinite values")
    if array.shape[2] != array.shape[3] or not 4 <= array.shape[2] <= MAX_SIDE // LATENT_FACTOR:
        raise bad(f"latents of {array.shape[2]} x {array.shape[3]} cells, expected a square of 4 or more")
    array = array.astype(np.float32)
    size = float(np.sqrt(np.square(array, dtype=np.float64).mean()))
    low, high = UNSCALED if unscaled else SCALED
    if not low <= size <= high:
        other = SCALED if unscaled else UNSCALED
        hint = ""
        if other[0] <= size <= other[1]:
            hint = ": leave --unscaled out" if unscaled else ": they seem to be unscaled, add --unscaled"
        said = "unscaled" if unscaled else "scaled"
        raise LatentsError(f"{path}: numbers of about {size:.2g} are no {said} latents ({low:g} to {high:g}){hint}")
    if unscaled:
        array = array * np.float32(LATENT_SCALE)
    if len(array) == views:
        return array, None
    return array[views:].copy(), array[:views].copy()


def rig_of(word: str | None) -> Rig:
    """The six views for None; else what a JSON file says: a rig, or a views.json with one. Raises UsageError."""
    if word is None:
        return SIX_VIEWS
    try:
        told = json.loads(Path(word).read_text(encoding="utf-8"))
        return Rig.from_dict(told["rig"] if "rig" in told else told)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UsageError(
            f"--rig {word}: no JSON file of cameras ({reason}); it holds azimuth_deg and elevation_deg, a number a view"
        ) from None


def _read(path: Path, bad: Any) -> np.ndarray:
    if not path.is_file():
        raise LatentsError(f"{path}: no such file")
    if path.stat().st_size > LARGEST:
        raise bad(f"larger than {LARGEST >> 20} MiB")
    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            tensors = load_file(path)
            if len(tensors) != 1:
                raise bad(f"holds {len(tensors)} tensors")
            return next(iter(tensors.values()))
        return _read_torch(path, bad)
    except LatentsError:
        raise
    except Exception as error:  # readers raise many kinds; all mean the same to the user
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        if reason.startswith("Weights only load failed"):
            reason = "it holds more than numbers, which is never run"
        raise bad(f"cannot be read as a tensor ({reason})") from None


def _read_torch(path: Path, bad: Any) -> np.ndarray:
    import torch

    with zipfile.ZipFile(path) as archive:
        if sum(i.file_size for i in archive.infolist()) > LARGEST:
            raise bad(f"unpacks to more than {LARGEST >> 20} MiB")
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, torch.Tensor):
        raise bad(f"holds a {type(found).__name__}, no tensor")
    if found.numel() * 8 > 4 * LARGEST:  # a view may claim to be larger than what is stored
        raise bad(f"a tensor of shape {list(found.shape)}")
    found = found.detach()
    return (found.float() if found.is_floating_point() else found).contiguous().numpy()

"""What an editor did to pictures of a run: which of two holds, and transparency that was lost.

In: pictures as they stand in a run's folder. Out: pictures that agree, masks, and sentences on what had to be done.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from img2mv3d.errors import PhotoError, ViewsError
from img2mv3d.files.contents import has_alpha, read_png
from img2mv3d.geometry.framing import Framing, frame, with_framed
from img2mv3d.geometry.masks import cover_on_even

EDIT = 10  # levels of 255 by which a pixel differs from what was written where somebody painted


def modified(path: Path) -> float:
    """Seconds since 1970, 0 where that cannot be told."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def agreed_pictures(
    image: np.ndarray, full: np.ndarray, framing: Framing, folder: Path, *, full_is_newer: bool
) -> tuple[np.ndarray, np.ndarray, Framing, tuple[str, ...]]:
    """Framed picture and cut-out that show the same, and what had to be done for it."""
    lost = [name for name, picture in (("subject.png", image), ("subject_full.png", full)) if _opaque(picture)]
    if len(lost) == 2:
        raise PhotoError(
            f"{folder / lost[0]}: has no transparency; save it with an alpha channel, or delete it to undo"
        )
    said: tuple[str, ...] = ()
    if lost:
        other = "subject_full.png" if lost[0] == "subject.png" else "subject.png"
        said = (f"{lost[0]} has lost its transparency: that of {other} is taken",)
    if lost == ["subject_full.png"]:
        shape = np.zeros_like(full)
        shape = with_framed(shape, image, np.ones(image.shape[:2], bool), framing)
        full = np.dstack([full[..., :3], shape[..., 3]])
    expected, place = frame(full, framing.framing_px)
    if place != framing:  # not of one making, or the cut-out has another box
        return (expected, full, place, said) if full_is_newer and not lost else (image, full, framing, said)
    if lost == ["subject.png"]:
        image = np.dstack([image[..., :3], expected[..., 3]])
    share = (image[..., 3:].astype(np.float32) / 255, expected[..., 3:].astype(np.float32) / 255)
    apart = np.abs(image[..., :3] * share[0] - expected[..., :3] * share[1]).max(-1)
    changed = np.maximum(apart, np.abs(share[0] - share[1])[..., 0] * 255) > EDIT
    if lost:  # what lay behind the object shines through its rim
        changed &= (image[..., 3] > 250) & (expected[..., 3] > 250)
    if not changed.any():
        return image, full, framing, said
    if full_is_newer:
        return expected, full, framing, said
    return image, with_framed(full, image, changed, framing), framing, said


def _opaque(picture: np.ndarray) -> bool:
    return bool(picture[..., 3].min() == 255)


def view_masks_of(stack: np.ndarray, folder: Path, names: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Masks [V, H, W] in [0, 1] of pictures uint8 [V, H, W, 4], and what had to be done for them: a picture that an
    editor saved without transparency gets that of its normals, or is cut from an even background. Raises ViewsError."""
    alpha, lost = stack[..., 3].astype(np.float32) / 255, []
    for i, name in enumerate(names):
        path = folder / f"color_{name}.png"
        if not _opaque(stack[i]):
            continue
        beside = folder / f"normal_{name}.png"
        normal = read_png(beside, "RGBA", ViewsError) if beside.exists() else None
        if normal is not None and normal.shape == stack[i].shape and not _opaque(normal):
            alpha[i] = normal[..., 3].astype(np.float32) / 255
        elif normal is None or not has_alpha(path):
            found = cover_on_even(stack[i, ..., :3].astype(np.float32) / 255)
            if found is None:
                raise ViewsError(f"{path}: has no transparency and no even background; save it with an alpha channel")
            alpha[i] = found
        else:
            continue
        lost.append(path.name)
    if not lost:
        return alpha, ()
    some = lost[0] if len(lost) == 1 else f"{lost[0]} and {len(lost) - 1} more"
    return alpha, (f"{some} without transparency: cut out anew; save views with an alpha channel",)

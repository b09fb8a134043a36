"""Framing: where the object's silhouette stands in the generator's 256 px picture, for renders and photos alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from img2mv3d.conventions import IMAGE_SIZE
from img2mv3d.errors import NothingFoundError

Box = tuple[float | int | np.floating, float | int | np.floating, float | int | np.floating, float | int | np.floating]


@dataclass(frozen=True)
class Framing:
    """Where the photo went: framed_px = photo_px * scale + offset, per axis, both in px with centres at half integers.

    framing_px: the long side of the silhouette's box in px of IMAGE_SIZE.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]
    framing_px: int

    def framed_from_photo(self, uv: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Points (u, v) in px of the photo -> px of the framed picture. `photo_from_framed` undoes it."""
        return uv * np.asarray(self.scale, uv.dtype) + np.asarray(self.offset, uv.dtype)

    def photo_from_framed(self, uv: Float[np.ndarray, "*batch 2"]) -> Float[np.ndarray, "*batch 2"]:
        """Points (u, v) in px of the framed picture -> px of the photo. `framed_from_photo` undoes it."""
        return (uv - np.asarray(self.offset, uv.dtype)) / np.asarray(self.scale, uv.dtype)


def fit_box(box: Box, framing_px: int, size: int = IMAGE_SIZE) -> Framing:
    """The framing that puts a box into the middle of a square picture: its long side becomes `framing_px`.

    Raises ValueError on an empty or infinite box, or a framing that does not fit the picture.

    box: (left, top, right, bottom) edges in px, not pixel indices.
    size: side of the picture, px.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    _check_size(framing_px, size)
    if not np.isfinite([left, top, right, bottom]).all() or right < left or bottom < top:
        raise ValueError(f"box {box}: expected finite left <= right, top <= bottom")
    long_side = max(right - left, bottom - top)
    if long_side <= 0:
        raise ValueError(f"box {box}: is empty")
    scale = framing_px / long_side
    offset = (size / 2 - scale * (left + right) / 2, size / 2 - scale * (top + bottom) / 2)
    return Framing((scale, scale), offset, int(framing_px))


def frame(
    rgba: UInt8[np.ndarray, "H W 4"], framing_px: int, size: int = IMAGE_SIZE
) -> tuple[UInt8[np.ndarray, "size size 4"], Framing]:
    """The cut-out in the middle of a transparent `size` px picture, its box's long side at `framing_px`: `fit_box` in
    whole pixels, exactly as Wonder3D's data loader does it (facts: cameras and views, 4; golden/preprocess).

    Returns the picture (straight alpha, uint8) and where the pixels went. As there: the box is that of alpha > 0, its
    last row and column are left out, sizes are truncated (so 191 is possible for 192), bicubic on premultiplied
    colours. Unlike there, boxes of a single row or column keep it, and no side shrinks below one pixel. Raises
    NothingFoundError when the alpha is zero everywhere.

    rgba: straight alpha.
    """
    from PIL import Image  # late: `values` imports this module, and a cached run needs no imaging

    _check_size(framing_px, size)
    left, top, right, bottom = _crop_box(rgba[..., 3])
    crop = Image.fromarray(np.ascontiguousarray(rgba[top:bottom, left:right]))
    scale = framing_px / max(crop.height, crop.width)
    width, height = max(1, int(scale * crop.width)), max(1, int(scale * crop.height))
    canvas = np.zeros((size, size, 4), np.uint8)
    u, v = (size - width) // 2, (size - height) // 2
    canvas[v : v + height, u : u + width] = np.asarray(crop.resize((width, height), Image.Resampling.BICUBIC))
    exact = (width / crop.width, height / crop.height)
    return canvas, Framing(exact, (u - left * exact[0], v - top * exact[1]), int(framing_px))


def with_framed(
    full: UInt8[np.ndarray, "H W 4"],
    image: UInt8[np.ndarray, "size size 4"],
    where: Bool[np.ndarray, "size size"],
    framing: Framing,
) -> UInt8[np.ndarray, "H W 4"]:
    """The cut-out with what the framed picture shows at `where` in the place of its own pixels.

    full, image: straight alpha. framing: from full's px to image's.
    """
    import cv2  # late, as Pillow

    scale, offset = np.array(framing.scale), np.array(framing.offset)
    matrix = np.column_stack([np.diag(scale), scale / 2 + offset - 0.5])  # cv2's px centres are whole numbers
    size = (full.shape[1], full.shape[0])
    cover = image[..., 3:].astype(np.float32) / 255
    layers = np.dstack([image[..., :3] * cover, cover * 255, where.astype(np.float32)]).astype(np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = np.dstack(
        [cv2.warpAffine(np.ascontiguousarray(layers[..., c]), matrix, size, flags=flags) for c in range(5)]
    )
    share = (laid[..., 4:] * 2).clip(0, 1)  # a px of the framed picture covers many of the photo's
    own = full[..., 3:].astype(np.float32) / 255
    below = np.dstack([full[..., :3] * own, own * 255])
    mixed = laid[..., :4] * share + below * (1 - share)
    alpha = mixed[..., 3:]
    straight = mixed[..., :3] * 255 / np.maximum(alpha, 1)
    result = np.dstack([straight, alpha])
    return np.where(share > 0, (result + 0.5).clip(0, 255), full).astype(np.uint8)


def _crop_box(alpha: UInt8[np.ndarray, "H W"]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) to slice with, the original's: from the first to *before* the last used column."""
    columns, rows = np.flatnonzero(alpha.any(0)), np.flatnonzero(alpha.any(1))
    if not len(columns):
        raise NothingFoundError("the cut-out is transparent everywhere; give another mask or remover")
    left, right, top, bottom = int(columns[0]), int(columns[-1]), int(rows[0]), int(rows[-1])
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _check_size(framing_px: int, size: int) -> None:
    if not 1 <= framing_px <= size:
        raise ValueError(f"framing {framing_px} px: expected 1 to {size}, the picture's side")

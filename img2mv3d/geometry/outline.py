"""What an outline alone says of a body: distance to the rim, widths of rows and columns, what turning them gives.

In: the mask of a photo. Out: maps in world units for the shape network, and the half thickness of revolution.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32

CHANNELS = 8  # of `outline_maps`
FRONTAL = 0.775  # IoU of an outline and its mirror image from which on a picture shows a front, or a round thing
SURELY_FRONTAL = 0.81  # below it teapots and cars seen from the side are among them
SHIFTS = np.linspace(-0.06, 0.06, 9)  # of its mirror axis, in widths of the outline, tried for it


def runs(mask: Bool[np.ndarray, "H W"]) -> tuple[Float32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]:
    """For every pixel of the mask the middle (px) and the half width (px) of its run along the row; 0 outside."""
    width = mask.shape[1]
    places = np.arange(width)
    before = np.pad(mask, ((0, 0), (1, 0)))[:, :-1]
    after = np.pad(mask, ((0, 0), (0, 1)))[:, 1:]
    first = np.maximum.accumulate(np.where(mask & ~before, places, 0), axis=1)
    last = np.minimum.accumulate(np.where(mask & ~after, places, width)[:, ::-1], axis=1)[:, ::-1]
    middle = np.where(mask, (first + last + 1) / 2, 0)
    half = np.where(mask, (last + 1 - first) / 2, 0)
    return middle.astype(np.float32), half.astype(np.float32)


def revolved(mask: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Half the thickness (px) of the body whose every row is made of discs, one for each run of the mask."""
    middle, half = runs(mask)
    x = np.arange(mask.shape[1], dtype=np.float32) + 0.5
    return np.sqrt(np.maximum(half**2 - (x - middle) ** 2, 0)).astype(np.float32)


def self_overlap(alpha: Float32[np.ndarray, "H W"]) -> float:
    """IoU of the picture's outline and its mirror image, at the best upright axis: those of things seen from the front
    are nearly alike. The back of such things looks otherwise, where that of things seen from the side looks alike."""
    mask = alpha >= 0.5
    columns = np.nonzero(mask.any(0))[0]
    if not len(columns):
        return 0.0
    best, width, first, last = 0.0, mask.shape[1], columns[0], columns[-1]
    for shift in SHIFTS:
        other = first + last + round(shift * (last + 1 - first)) - np.arange(width)
        there = (other >= 0) & (other < width)
        flipped = np.zeros_like(mask)
        flipped[:, there] = mask[:, other[there]]
        best = max(best, float((mask & flipped).sum() / (mask | flipped).sum()))
    return best


def outline_maps(alpha: Float32[np.ndarray, "H W"], width: float) -> Float32[np.ndarray, "8 H W"]:
    """alpha, x, y, distance to the rim (positive inside), half thickness by revolution of rows and of columns, half
    width of the row's and of the column's run.

    alpha: [0, 1]. width: of the picture, world units; all lengths are in world units.
    """
    mask = alpha >= 0.5
    unit = width / mask.shape[1]
    bytes_ = mask.astype(np.uint8)
    rim = cv2.distanceTransform(bytes_, cv2.DIST_L2, 3) - cv2.distanceTransform(1 - bytes_, cv2.DIST_L2, 3)
    height, columns = mask.shape
    x = np.broadcast_to((np.arange(columns) + 0.5) * unit - width / 2, mask.shape)
    y = np.broadcast_to(-((np.arange(height)[:, None] + 0.5) * unit - height * unit / 2), mask.shape)
    maps = (
        alpha,
        x,
        y,
        np.clip(rim * unit, -0.3, 0.6),
        revolved(mask) * unit,
        revolved(mask.T).T * unit,
        runs(mask)[1] * unit,
        runs(mask.T)[1].T * unit,
    )
    return np.stack(maps).astype(np.float32)

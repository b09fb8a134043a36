"""Which of several cut-outs is believable: rectangles, outlines of drawings, inverted masks, agreement."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32

AGREE = 0.8  # IoU of two cut-outs above which they show the same object
PART = 0.8  # share of a cut-out that lies inside of another, of which it then is a part
RECTANGLE = 0.985  # share of its box that a picture's frame or a polaroid covers
WHOLE_SIDE = 0.6  # share of every border that a whole picture (with its corners cut off, say) covers ...
WHOLE = 0.9  # ... and of its area
RING = 0.98  # share of the border that an inverted mask covers ...
HOLE = 0.002  # ... and the share of the picture that it leaves out in the middle
OUTLINE = 0.015  # of the long side: a line that is thinner is drawn
OUTLINED = 0.5  # share of a hole's rim that must be a drawn line
LEAST_HOLE = 4e-4  # share of the picture; smaller holes are no matter
THIN = 0.3  # share of a cut-out that is left when thin strokes are taken away; less is strokes


def overlap(a: Bool[np.ndarray, "H W"], b: Bool[np.ndarray, "H W"]) -> float:
    """Intersection over union; 0 where both are empty."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def is_part(a: Bool[np.ndarray, "H W"], whole: Bool[np.ndarray, "H W"]) -> bool:
    """Does `a` lie inside of `whole`, nearly?"""
    return bool((a & whole).sum() >= PART * max(1, a.sum()))


def is_inverted(alpha: Float32[np.ndarray, "H W"]) -> bool:
    """Does it cover the whole border and leave out something in the middle? No object does."""
    solid = alpha >= 0.5
    rim = np.concatenate([solid[0], solid[-1], solid[:, 0], solid[:, -1]])
    if rim.mean() < RING:
        return False
    holes = _holes(solid)
    return bool(holes.sum() > HOLE * solid.size)


def is_whole_picture(alpha: Float32[np.ndarray, "H W"]) -> bool:
    """Does it cover nearly all, along every border? Rounded corners are no cut-out."""
    solid = alpha >= 0.5
    sides = (solid[0].mean(), solid[-1].mean(), solid[:, 0].mean(), solid[:, -1].mean())
    return bool(solid.mean() > WHOLE and min(sides) > WHOLE_SIDE)


def rectangle(alpha: Float32[np.ndarray, "H W"]) -> tuple[slice, slice] | None:
    """The box (rows, columns) that the cut-out fills to its corners, as a picture in a frame does; None where it is of
    any other shape."""
    solid = alpha >= 0.5
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    if not len(rows):
        return None
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return box if solid[box].mean() > RECTANGLE else None


def with_outlines_filled(alpha: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Holes that only a drawn line separates from the background become object: paper is as white inside."""
    solid = alpha >= 0.5
    count, label, stats, _ = cv2.connectedComponentsWithStats(_holes(solid).astype(np.uint8), connectivity=4)
    reach = OUTLINE * max(solid.shape)
    outside = ~solid & (label == 0)
    if not outside.any():
        return alpha
    to_outside = cv2.distanceTransform((~outside).astype(np.uint8), cv2.DIST_L2, 5)
    filled = alpha.copy()
    for index in range(1, count):
        if stats[index, cv2.CC_STAT_AREA] < LEAST_HOLE * solid.size:
            continue
        hole = (label == index).astype(np.uint8)
        rim = (cv2.dilate(hole, np.ones((3, 3), np.uint8)) > 0) & (hole == 0)
        if (to_outside[rim] <= reach).mean() >= OUTLINED:
            filled[cv2.dilate(hole, np.ones((5, 5), np.uint8)) > 0] = 1
    return filled


def is_strokes(alpha: Float32[np.ndarray, "H W"]) -> bool:
    """Is there hardly more than thin lines?"""
    solid = (alpha >= 0.5).astype(np.uint8)
    side = 2 * max(1, round(OUTLINE / 2 * max(solid.shape))) + 1
    left = cv2.morphologyEx(solid, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    return bool(left.sum() < THIN * max(1, solid.sum()))


def _holes(solid: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """What is not solid and not connected to the border."""
    _, label = cv2.connectedComponents((~solid).astype(np.uint8), connectivity=4)
    rim = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    return ~solid & ~np.isin(label, rim)

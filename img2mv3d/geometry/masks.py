"""Soft masks of generated views, from colour and normal maps over white: a decoder writes no alpha."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from img2mv3d.conventions import FRONT, WHITE_TO_NORMAL_MIN

SURE = 0.7 * WHITE_TO_NORMAL_MIN  # codes this far from white are object, a decoder's noise subtracted
PLATEAU = 0.85  # share of the strongest code in reach: above it a pixel counts as fully covered, not as an edge
HOLE_WHITE = 0.25  # mean cover of an enclosed hole: below it the view really looks through the object
HOLE_AREA = 12 / 256**2  # share of the picture; smaller holes are noise
BLOB_AREA = 0.004  # share of the largest piece; smaller pieces are noise wherever they are
FAR_BLOB_AREA = 0.05  # the same for pieces away from the object, where a generator's dirt lies
FAR_BLOB = 12 / 256  # share of the side that counts as away
NEAR_BACKGROUND = (0.03, 0.10)  # distances of a colour to the background's between which a pixel counts as covered
EVEN = 0.02  # spread of the picture's rim above which there is no one background


def view_masks(
    color: Float[np.ndarray, "V H W 3"],
    normal: Float[np.ndarray, "V H W 3"],
    front_alpha: Float[np.ndarray, "H W"] | None,
) -> Float32[np.ndarray, "V H W"]:
    """The covered share of every pixel, in [0, 1], soft along silhouettes, of views that are painted over white.

    An object pixel's code is at least WHITE_TO_NORMAL_MIN away from white, so the silhouette is where normal and colour
    maps together have left half of the way from white to the nearest pixel that surely shows the object. Small or dim
    holes are closed, specks and pieces away from the object removed. A view without any object is all 0.

    color: [0, 1].
    normal: *codes* n / 2 + 1/2 over white, about [0, 1] (values a decoder overshoots are clipped).
    front_alpha: the framed photo's alpha in [0, 1], which becomes the first view's mask as it is; None when there is no
        photo.
    """
    masks = [_view_mask(c, n) for c, n in zip(color, normal, strict=True)]
    if front_alpha is not None:
        masks[FRONT] = front_alpha.clip(0, 1)
    return np.stack(masks).astype(np.float32)


def cover_on_even(color: Float[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W"] | None:
    """The covered share of every pixel of a picture, [0, 1], on a background of one colour, holes closed; None where
    the rim has many colours.
    """
    rim = np.concatenate([color[0], color[-1], color[:, 0], color[:, -1]])
    ground = np.median(rim, axis=0)
    if np.median(np.abs(rim - ground).max(axis=-1)) > EVEN:
        return None
    away = np.abs(color - ground).max(axis=-1)
    cover = ((away - NEAR_BACKGROUND[0]) / (NEAR_BACKGROUND[1] - NEAR_BACKGROUND[0])).clip(0, 1)
    closed = _ndimage().binary_fill_holes(cover > 0.5) & (cover <= 0.5)
    return np.where(closed, 1, cover).astype(np.float32)


def _view_mask(color: Float[np.ndarray, "H W 3"], normal: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    cover = _cover(color, normal)
    inside = _keep_object(_fill_holes(cover >= 0.5, cover))
    ndimage = _ndimage()
    core, reach = ndimage.binary_erosion(inside, border_value=1), ndimage.binary_dilation(inside)
    # the cover itself only along the silhouette: inside, a dim code is a normal near (1, 1, 1), not a thin object
    edge = np.where(inside, np.maximum(cover, 0.5), np.minimum(cover, 0.49))
    return np.where(core, 1.0, np.where(reach, edge, 0.0))


def _cover(color: Float[np.ndarray, "H W 3"], normal: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W"]:
    """Least squares share of the way from white to the nearest sure pixel, over the six channels of both maps."""
    ndimage = _ndimage()
    away = 1 - np.concatenate([normal, color], -1).astype(np.float64).clip(0, 1)
    strength = np.linalg.norm(away[..., :3], axis=-1)
    sure = (strength > SURE) & (strength >= PLATEAU * ndimage.maximum_filter(strength, 3))
    if not sure.any():
        return np.zeros(strength.shape)
    rows, columns = ndimage.distance_transform_edt(~sure, return_distances=False, return_indices=True)
    goal = away[rows, columns]
    return ((away * goal).sum(-1) / (goal**2).sum(-1)).clip(0, 1)


def _fill_holes(inside: Bool[np.ndarray, "H W"], cover: Float[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Holes stay open where they are large and white enough to be looked through."""
    ndimage = _ndimage()
    holes, count = ndimage.label(~inside)
    if count <= 1:
        return inside
    index = np.arange(1, count + 1)
    area = ndimage.sum_labels(np.ones_like(cover), holes, index)
    white = ndimage.mean(cover, holes, index) < HOLE_WHITE
    rim = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    closed = ~((area > HOLE_AREA * cover.size) & white) & ~np.isin(index, rim)
    return inside | np.isin(holes, index[closed])


def _keep_object(inside: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The largest piece, and others that are no specks and, when small, near it."""
    ndimage = _ndimage()
    pieces, count = ndimage.label(inside, np.ones((3, 3)))
    if count <= 1:
        return inside
    index = np.arange(1, count + 1)
    area = ndimage.sum_labels(inside, pieces, index)
    main = pieces == index[area.argmax()]
    gap = ndimage.minimum(ndimage.distance_transform_edt(~main), pieces, index)
    share = area / area.max()
    kept = (share >= FAR_BLOB_AREA) | ((share >= BLOB_AREA) & (gap <= FAR_BLOB * max(inside.shape)))
    return np.isin(pieces, index[kept])


def _ndimage() -> Any:
    from scipy import ndimage  # late: geometry stays light to import

    return ndimage

"""Antipodal views: along parallel rays, an outline seen from behind is its own mirror image."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import distance_transform_edt

from img2mv3d.conventions import FRONT
from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Rig
from img2mv3d.geometry.hull import mask_distance


def antipodal_views(rig: Rig) -> list[tuple[int, int]]:
    """Pairs of views, by place in the rig, that look at each other along the same rays. None in perspective."""
    if rig.kind != ORTHOGRAPHIC:
        return []
    looks = [np.asarray(camera.forward) for camera in rig.cameras()]
    upright = [i for i, elevation in enumerate(rig.elevation_deg) if elevation == 0]
    return [(i, j) for i in upright for j in upright if i < j and float(looks[i] @ looks[j]) < -1 + 1e-9]


def symmetrised_silhouettes(mask: Float[np.ndarray, "V H W"], rig: Rig, known: bool) -> Float32[np.ndarray, "V H W"]:
    """The masks, with every pair of opposite views made mirror images of each other.

    Other pairs meet half way between their two outlines. A view that shows nothing has no say.

    known: the front view's mask is the photo's, and its opposite takes it over.
    """
    agreed = mask.astype(np.float32, copy=True)
    for i, j in antipodal_views(rig):
        if known and FRONT in (i, j):
            other = j if i == FRONT else i
            agreed[other] = mask[FRONT][:, ::-1]
        elif (mask[i] > 0.5).any() and (mask[j] > 0.5).any():
            apart = (mask_distance(mask[i]) + mask_distance(mask[j][:, ::-1])) / 2
            agreed[i] = np.clip(0.5 - apart, 0, 1)
            agreed[j] = agreed[i][:, ::-1]
    return agreed


def inpaint_nearest(
    color: Float[np.ndarray, "V H W 3"], shown: Bool[np.ndarray, "V H W"], wanted: Bool[np.ndarray, "V H W"]
) -> Float[np.ndarray, "V H W 3"]:
    """`color`, but where a pixel is wanted and not shown it takes the colour of the nearest pixel that is shown."""
    out = color.copy()
    for picture, here, there in zip(out, shown, wanted & ~shown, strict=True):
        if here.any() and there.any():
            rows, columns = distance_transform_edt(~here, return_distances=False, return_indices=True)
            picture[there] = picture[rows[there], columns[there]]
    return out

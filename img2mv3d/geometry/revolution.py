"""The revolution prior: side silhouettes as if every covered stretch of a row of the front silhouette were a disc."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from img2mv3d.conventions import FRONT
from img2mv3d.geometry.antipodal import antipodal_views
from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Rig
from img2mv3d.geometry.hull import mask_distance


def apply_revolution_prior(mask: Float[np.ndarray, "V H W"], rig: Rig, share: float) -> Float32[np.ndarray, "V H W"]:
    """The masks; those that the front view does not tell moved towards `revolved_silhouette` by `share`, 0 (not) to 1
    (all the way), in distance to the outlines. In rows in which a view shows nothing the guess alone counts.

    Front and back are left alone, and so is a view that shows nothing; any rig but an orthographic one at elevation 0
    is left as it is: its rows are no rays. Raises ValueError when the share is outside of 0..1.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share {share}: expected 0..1")
    out = mask.astype(np.float32, copy=True)
    if share == 0 or rig.kind != ORTHOGRAPHIC or any(rig.elevation_deg) or not (mask[FRONT] >= 0.5).any():
        return out
    known = {FRONT, *(i + j - FRONT for i, j in antipodal_views(rig) if FRONT in (i, j))}
    for i in set(range(len(rig))) - known:
        if (mask[i] >= 0.5).any():
            guess = revolved_silhouette(mask[FRONT], rig.azimuth_deg[i] - rig.azimuth_deg[FRONT])
            apart = (1 - share) * mask_distance(mask[i]) + share * mask_distance(guess)
            out[i] = np.clip(0.5 - apart, 0, 1)
            empty = ~(mask[i] >= 0.5).any(axis=1)  # all cameras are level: what the photo shows there, this view must
            out[i][empty] = guess[empty]
    return out


def revolved_silhouette(front: Float[np.ndarray, "H W"], azimuth_deg: float) -> Float32[np.ndarray, "H W"]:
    """The soft outline, seen from `azimuth_deg` beside the front view, of the body whose sections at every row are
    discs: each has one covered stretch of the front silhouette for its diameter, and all have their middles at z = 0.
    """
    height, width = front.shape
    out = np.zeros((height, width), np.float32)
    columns = np.arange(width) + 0.5 - width / 2
    steps = np.diff((front >= 0.5).astype(np.int8), axis=1, prepend=0, append=0)
    starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
    for (row, left), (_, right) in zip(starts, ends, strict=True):
        middle = ((left + right) / 2 - width / 2) * np.cos(np.deg2rad(azimuth_deg))
        cover = np.clip((right - left) / 2 - np.abs(columns - middle) + 0.5, 0, 1)
        out[row] = np.maximum(out[row], cover)
    return out

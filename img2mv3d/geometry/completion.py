"""Silhouette completion: other views' masks grown until the hull fills the silhouette of the front view.

A generated side view that leaves out a handle carves it out of the object, though the photo shows it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import gaussian_filter

from img2mv3d.conventions import FRONT
from img2mv3d.geometry.antipodal import antipodal_views
from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Rig
from img2mv3d.geometry.hull import mask_distance

GENTLE = 3.0  # nodes over which the depths of what is let in are averaged
NODES = 128  # of the grid, a side: two pixels of 256
FAINT = 0.1  # cover from which a pixel of a side view shows something: a sheet seen edge-on fills none
LEFT_OUT = 1.0  # nodes by which outlines must miss a ray; less is a view a little off, which the fit mends
THIN = 1.0  # nodes round the best depth that are let in where the outlines allow none
DEEP = 6.0  # the same where all outlines but one agree: a depth far outside of that one is no part of the object


def complete_silhouettes(mask: Float[np.ndarray, "V H W"], rig: Rig) -> Float32[np.ndarray, "V H W"]:
    """The masks, all but the front's grown where the hull leaves a ray of the front silhouette empty.

    A ray is left empty where the outlines miss it by LEFT_OUT nodes. Along it those depths are let in that all other
    outlines but one allow, near the depth at which that one is least far away; when there are none, that depth alone.
    Opposite views count once, and stay in agreement when they were. Rigs other than orthographic ones at elevation 0
    are left as they are: their rows are no rays.
    """
    out = mask.astype(np.float32, copy=True)
    if rig.kind != ORTHOGRAPHIC or any(rig.elevation_deg) or mask.shape[1] % NODES or mask.shape[1] != mask.shape[2]:
        return out
    behind = {j for i, j in antipodal_views(rig)}
    sides = [i for i in range(len(rig)) if i != FRONT and i not in behind and (mask[i] > 0.5).any()]
    if not sides or not (mask[FRONT] > 0.5).any():
        return out
    cells = mask.reshape(len(rig), NODES, mask.shape[1] // NODES, NODES, -1)
    rows, columns = np.nonzero(cells[FRONT].mean((1, 3)) > 0.5)
    seen = {i: _places(rig, i, columns) for i in range(len(rig))}
    room = {i: mask_distance((cells[i].max((1, 3)) > FAINT).astype(np.float32)) for i in sides}
    off = np.sort(np.stack([_distances(room[i][rows], seen[i]) for i in sides]), axis=0)[::-1]
    added = _smoothed(_let_in(off), rows, columns)
    for i in set(range(len(rig))) - {FRONT}:
        grown = _drawn(added, rows, seen[i]).repeat(mask.shape[1] // NODES, 0).repeat(mask.shape[1] // NODES, 1)
        out[i] = np.maximum(out[i], grown)
    return out


def _let_in(off: Float[np.ndarray, "S R Z"]) -> Bool[np.ndarray, "R Z"]:
    """Which depths of each ray to let in. off: distances to the outlines, the largest first, negative inside."""
    least = off[0].min(1, keepdims=True)
    near = off[0] < least + DEEP
    partly = near & (off[min(1, len(off) - 1)] < 0)
    barely = off[0] < least + THIN
    return np.where(partly.any(1, keepdims=True), partly, barely) & (least >= LEFT_OUT)


def _smoothed(added: Bool[np.ndarray, "R Z"], rows: np.ndarray, columns: np.ndarray) -> Bool[np.ndarray, "R Z"]:
    """The same amounts, at depths that change gently from ray to ray: each was found without its neighbours."""
    maps = np.zeros((3, NODES, NODES))  # weight, amount, centre
    amount = added.sum(1)
    depths = np.arange(NODES)
    maps[:, rows, columns] = np.stack([amount > 0, amount, (added * depths).sum(1) / np.maximum(amount, 1)])
    weight, amounts, centres = (gaussian_filter(m, GENTLE)[rows, columns] for m in maps)
    half = np.maximum(amounts / np.maximum(weight, 1e-9), 2 * THIN) / 2
    inside = np.abs(depths - (centres / np.maximum(weight, 1e-9))[:, None]) <= half[:, None]
    return inside & (amount > 0)[:, None]


def _places(rig: Rig, view: int, columns: np.ndarray) -> Float[np.ndarray, "R Z"]:
    """Column in a view, in nodes, of every depth of the front rays in these columns."""
    axes = [camera.world_from_cam[:3] for camera in rig.cameras()]
    aside, ahead = float(axes[FRONT][:, 0] @ axes[view][:, 0]), float(axes[FRONT][:, 2] @ axes[view][:, 0])
    centres = np.arange(NODES) + 0.5 - NODES / 2
    return centres[columns][:, None] * aside + centres[None, :] * ahead + (NODES - 1) / 2


def _distances(lines: Float[np.ndarray, "R W"], place: Float[np.ndarray, "R Z"]) -> Float[np.ndarray, "R Z"]:
    """Values of each ray's row at these places, held constant beyond the picture."""
    place = place.clip(0, NODES - 1)
    low = np.minimum(place.astype(np.int64), NODES - 2)
    share = place - low
    return np.take_along_axis(lines, low, 1) * (1 - share) + np.take_along_axis(lines, low + 1, 1) * share


def _drawn(
    added: Bool[np.ndarray, "R Z"], rows: np.ndarray, place: Float[np.ndarray, "R Z"]
) -> Float32[np.ndarray, "N N"]:
    """The depths that were let in, as they cover a view of NODES a side."""
    picture = np.zeros((NODES, NODES), np.float32)
    ray, _ = np.nonzero(added)
    column = np.rint(place[added]).astype(np.int64)
    inside = (column >= 0) & (column < NODES)
    picture[rows[ray[inside]], column[inside]] = 1
    return picture

"""Two depth layers, what is solid between them, and a photo's outline -> one closed solid.

In: maps on columns along the front camera's line of sight. Out: a field on a grid, negative inside.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates, median_filter

from img2mv3d.geometry.hull import mask_distance, on_nodes
from img2mv3d.geometry.outline import revolved

LEAST_DEPTH = 0.5  # of a node's step, the least that a body reaches inwards wherever the photo shows it
SHEET = 0.75  # steps: half of a sheet, and more than half of what it may slope by, so that it hangs together
STEEPEST = 4.0  # slope of a layer beyond which the field is no longer thinned: walls are not layers


def body_field(
    front: Float[np.ndarray, "s s"],
    back: Float[np.ndarray, "s s"],
    known: Bool[np.ndarray, "s s"],
    solid: Float[np.ndarray, "s s K"] | None,
    alpha: Float[np.ndarray, "H W"],
    nodes: int,
    half_width: float,
) -> Float32[np.ndarray, "N N N"]:
    """About the signed distance (world units, negative inside, nodes linspace(-1, 1, N) along x, y, z) to the solid
    between two layers, within the outline.

    front, back: z away from the camera, world units, on s x s columns that cover +-half_width. known: columns that
    count; others take their nearest neighbour's depths. solid: how solid each of K cells between front and back is,
    front first; None: all. alpha: the photo's, over +-1.
    """
    line = np.linspace(-1, 1, nodes)
    size = front.shape[0]
    place = (line + half_width) * (size / (2 * half_width)) - 0.5  # column of a node; row of the node at -y
    rows, columns = np.meshgrid(place[::-1], place, indexing="ij")  # rows run downwards, y upwards
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    near, far = (
        map_coordinates(layer[tuple(nearest)].astype(np.float64), [rows, columns], order=1, mode="nearest")
        for layer in (front, back)
    )
    unit = 2 / alpha.shape[1]
    outside = mask_distance(alpha.astype(np.float32)) * unit
    rim = on_nodes(outside, line).T
    step = line[1] - line[0]
    slopes = [
        np.sqrt(1 + np.minimum(sum(g * g for g in np.gradient(layer, step)), STEEPEST**2)) for layer in (near, far)
    ]
    z = -line  # away from the camera, for nodes along the world's z
    field = np.maximum((near[..., None] - z) / slopes[0][..., None], (z - far[..., None]) / slopes[1][..., None])
    if solid is not None:
        field = np.maximum(field, _hollows(solid, nearest, near, far, rows, columns, z))
    field = np.maximum(field, rim[..., None])
    return np.ascontiguousarray(field.transpose(1, 0, 2), np.float32)  # [y, x, z] -> [x, y, z]


def revolution_field(alpha: Float[np.ndarray, "H W"], nodes: int) -> Float32[np.ndarray, "N N N"]:
    """The body whose every row is made of discs about depth 0, one for each run of the outline; as `body_field`."""
    unit = 2 / alpha.shape[1]
    half = revolved(alpha >= 0.5) * unit
    return body_field(-half, half, alpha >= 0.5, None, alpha, nodes, 1.0)


def covering(field: Float32[np.ndarray, "N N N"], outside: Float[np.ndarray, "H W"]) -> Float32[np.ndarray, "N N N"]:
    """The body with a thin sheet wherever the photo shows it and no part of it is: along its outline, where the two
    layers meet between nodes, and where all of a column seemed hollow.

    field: as `body_field` has it. outside: distance to the outline, world units, positive outside, over +-1.
    """
    nodes = field.shape[0]
    line = np.linspace(-1, 1, nodes)
    step = line[1] - line[0]
    need = np.maximum(on_nodes(outside, line), -LEAST_DEPTH * step)
    lacks = (field.min(axis=2) > need) & (need < step)  # a node farther out moves no zero
    # Where it is most nearly solid, as far as the sheet may slope from the body's rim: steeper it would tear.
    deepest = field.argmin(axis=2)
    reach, rim = distance_transform_edt(lacks, return_indices=True)
    sloped = np.clip(median_filter(deepest, 3) - deepest[tuple(rim)], -reach, reach) + deepest[tuple(rim)]
    away = np.abs(np.arange(nodes) - np.where(lacks, sloped, deepest)[lacks][:, None])
    sheet = need[lacks][:, None] + np.maximum(away - SHEET, 0) * step
    covered = field.copy()
    covered[lacks] = np.minimum(covered[lacks], sheet)
    return covered


def _hollows(
    solid: np.ndarray,
    nearest: np.ndarray,
    near: np.ndarray,
    far: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    z: np.ndarray,
) -> np.ndarray:
    """Positive where the space between the layers is empty, in world units as far as a cell of it tells."""
    cells = solid.shape[2]
    spread = gaussian_filter(solid[nearest[0], nearest[1]].astype(np.float64), (0.5, 0.5, 0.5), mode="nearest")
    thick = np.maximum(far - near, 1e-3)
    along = np.clip((z - near[..., None]) / thick[..., None], 0, 1) * cells - 0.5
    where = [np.broadcast_to(rows[..., None], along.shape), np.broadcast_to(columns[..., None], along.shape), along]
    share = map_coordinates(spread, where, order=1, mode="nearest")
    return (0.5 - share) * np.minimum(2 * thick[..., None] / cells, 0.1)

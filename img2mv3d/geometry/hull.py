"""The visual hull: signed distances to soft masks, and the hull's field on a grid, for any rig."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt, map_coordinates

from img2mv3d.geometry.cameras import Rig, project

UNKNOWN = -1e3  # world units: outside of a frame nothing is known, so nothing is carved


def on_nodes(picture: Float[np.ndarray, "S S"], line: Float[np.ndarray, " N"]) -> Float[np.ndarray, "N N"]:
    """What a picture over +-1, y up, shows at the nodes [x, y] of a grid whose places along each axis are `line`."""
    pixel = (line + 1) * (picture.shape[1] / 2) - 0.5
    seen = map_coordinates(picture, np.meshgrid(pixel[::-1], pixel, indexing="ij"), order=1, mode="nearest")
    return np.ascontiguousarray(seen.T)


def mask_distance(mask: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Signed distance [H, W] in px to a soft mask's edge (where it is 1/2), negative inside.

    Pixels beside the edge take their sub-pixel distance from their coverage. A mask without any inside gives a distance
    larger than the picture everywhere, one without outside a negative one.
    """
    inside = mask > 0.5
    large = float(sum(mask.shape))
    if not inside.any():
        return np.full(mask.shape, large, np.float32)
    if inside.all():
        return np.full(mask.shape, -large, np.float32)
    outer, inner = distance_transform_edt(~inside), distance_transform_edt(inside)
    signed = np.where(inside, 0.5 - inner, outer - 0.5)
    ring = np.where(inside, inner, outer) <= 1.0
    return np.where(ring, np.clip(0.5 - mask, -0.5, 0.5), signed).astype(np.float32)


def carve(mask: Float[np.ndarray, "V H W"], rig: Rig, nodes: int, *, missing: int = 0) -> Float[np.ndarray, "N N N"]:
    """The hull of soft masks on a grid, for any rig: float32 [N, N, N] in world units, axes x, y, z, negative inside.

    The largest of the views' distances at each node's pixel; a lower bound of the true distance outside.

    What lies outside of a frame is unknown.

    missing: so many views may contradict (their distances are ignored, largest first).
    """
    line = np.linspace(-1, 1, nodes, dtype=np.float32)
    fields = []
    for view, camera in zip(mask, rig.cameras(mask.shape[2]), strict=True):
        camera = camera.resized(*view.shape)
        distance = mask_distance(view)
        slabs = []
        for x in line:  # slab by slab: the points of a whole grid would be several times its size
            points = np.stack(np.broadcast_arrays(x, line[:, None], line[None, :]), axis=-1)
            uv, z = project(camera, points)
            unit = camera.half_width * 2 / camera.width  # world units in one px (at depth 1 in perspective)
            scale = unit if camera.kind == "orthographic" else unit * np.maximum(z, 0)
            known = (uv >= 0).all(-1) & (uv <= [camera.width, camera.height]).all(-1) & ((z > 0) | (scale is unit))
            slabs.append(np.where(known, _bilinear(distance, uv) * scale, UNKNOWN))
        fields.append(np.stack(slabs).astype(np.float32))
    stack = np.stack(fields)
    if missing == 0:
        return stack.max(axis=0)
    return np.partition(stack, len(stack) - 1 - missing, axis=0)[len(stack) - 1 - missing]


def _bilinear(picture: Float[np.ndarray, "H W"], uv: Float[np.ndarray, "*N 2"]) -> Float[np.ndarray, "*N"]:
    """Values [...] of a picture at pixels [..., 2], held constant beyond the outermost centres."""
    height, width = picture.shape
    u, v = np.clip(uv[..., 0] - 0.5, 0, width - 1), np.clip(uv[..., 1] - 0.5, 0, height - 1)
    left, top = np.minimum(u.astype(int), width - 2), np.minimum(v.astype(int), height - 2)
    a, b = u - left, v - top
    upper = picture[top, left] * (1 - a) + picture[top, left + 1] * a
    lower = picture[top + 1, left] * (1 - a) + picture[top + 1, left + 1] * a
    return upper * (1 - b) + lower * b

"""A baseline without optimisation over views: the hull, carved by the depth that each view's normals integrate to."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import map_coordinates
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.linalg import spsolve

from img2mv3d.geometry.cameras import Camera, Rig, pixel_centres, project, rays
from img2mv3d.geometry.hull import UNKNOWN, carve

SIDE = 128  # px of the maps that are integrated: one a node of the grid
STEEPEST = 0.15  # cosine to the viewer below which a slope is not believed
ROUNDS = 4  # of solving with new weights
STEP = 0.2  # px: where neighbours' slopes leave a step larger than this, a jump of depth is likelier than a slope
PULL = 1e-2  # weight of the hull's depth: it places patches that nothing else places
SCREEN = 5.0  # times that, where a patch would come out in front of the hull
TOUCH = 2.0  # px: where a patch is farther from the hull, it is likelier not to touch it there
SECOND = 1  # of the views that want to carve a node, so many may be wrong


def integrated_field(
    normal: Float[np.ndarray, "V H W 3"], mask: Float[np.ndarray, "V H W"], rig: Rig, nodes: int
) -> Float[np.ndarray, "N N N"]:
    """float32, world units, axes x, y, z on [-1, 1]^3, negative inside.

    Every view's normals are integrated to a depth (weighted least squares, weights lowered where neighbours do not fit:
    jumps), which lies behind the hull's. A node is outside when it lies outside of the hull, or in front of the depths
    of at least two views.
    """
    hull = carve(mask, rig, nodes)
    cell = 2 / (nodes - 1)
    near = hull < 2 * cell  # farther outside nothing can be carved
    points = np.argwhere(near) * cell - 1
    fields = []
    for view, cover, camera in zip(normal, mask, rig.cameras(mask.shape[2]), strict=True):
        small, share = _shrunk(view, cover, SIDE)
        depth = integrate(small, share, first_depth(hull, camera.resized(SIDE)), camera.resized(SIDE))
        uv, z = project(camera.resized(SIDE), points)
        place = np.stack([uv[..., 1], uv[..., 0]]) - 0.5
        fields.append(_in_front(depth, place, z).astype(np.float32))
    stack = np.sort(np.stack(fields), axis=0)
    carved = stack[-1 - SECOND] if len(stack) > SECOND else stack[-1]
    hull[near] = np.maximum(hull[near], carved)
    return hull.clip(-4 * cell, 4 * cell).astype(np.float32)


def integrate(
    normal: Float[np.ndarray, "H W 3"],
    inside: Bool[np.ndarray, "H W"],
    nearest: Float[np.ndarray, "H W"],
    camera: Camera,
) -> Float[np.ndarray, "H W"]:
    """z of one view (world units, NaN outside) whose slopes are those of its normals and which lies behind `nearest`.

    normal: unit, world axes;
    nearest: z that the surface cannot be in front of.
    camera: orthographic, of this size.
    """
    step = 2 * camera.half_width / camera.width
    axes = camera.world_from_cam[:3, :3]
    right, up, back = (normal @ axes[:, i] for i in range(3))
    facing = np.maximum(back, STEEPEST)
    known = inside & (np.linalg.norm(normal, axis=-1) > 0.5) & (back > STEEPEST)
    number = np.full(inside.shape, -1)
    number[inside] = np.arange(inside.sum())
    low, high, rise, trust = [], [], [], []
    for slope, first, second in (
        (right / facing * step, np.s_[:, :-1], np.s_[:, 1:]),
        (-up / facing * step, np.s_[:-1], np.s_[1:]),  # rows run downwards
    ):
        pair = inside[first] & inside[second]
        low.append(number[first][pair])
        high.append(number[second][pair])
        rise.append(((slope[first] + slope[second]) / 2)[pair])
        trust.append(np.where(known[first] & known[second], np.minimum(back[first], back[second]), 1e-3)[pair])
    return _solve(number, (np.concatenate(low), np.concatenate(high)), np.concatenate(rise), np.concatenate(trust),
                  nearest, step)  # fmt: skip


def first_depth(field: Float[np.ndarray, "N N N"], camera: Camera) -> Float[np.ndarray, "H W"]:
    """z where each pixel's ray enters the field (world units), NaN where it does not."""
    nodes, size = field.shape[0], camera.height
    cell = 2 / (nodes - 1)
    origin, direction = rays(camera, pixel_centres(size).astype(np.float64))
    found = np.full((size, size), np.nan)
    before = np.full((size, size), 1.0)
    for z in np.arange(-1.5, 1.5, cell):
        place = ((origin + z * direction + 1) / cell).reshape(-1, 3).T
        value = map_coordinates(field, place, order=1, cval=1.0).reshape(size, size)
        entered = np.isnan(found) & (value < 0)
        share = before / np.maximum(before - value, 1e-9)
        found[entered] = (z - cell + share * cell)[entered]
        before = value
    return found


def _solve(
    number: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    rise: np.ndarray,
    trust: np.ndarray,
    nearest: np.ndarray,
    step: float,
) -> Float[np.ndarray, "H W"]:
    """The depth whose rises along the edges fit best, in some rounds: edges that do not fit lose weight, pixels in
    front of `nearest` are pushed back."""
    inside, count, edges = number >= 0, int(number.max()) + 1, len(rise)
    rows = np.tile(np.arange(edges), 2)
    difference = csr_matrix(
        coo_matrix((np.repeat([-1.0, 1.0], edges), (rows, np.concatenate(ends))), shape=(edges, count))
    )
    wall = nearest[inside]
    has_wall = np.isfinite(wall)
    wall = np.where(has_wall, wall, 0.0)
    depth = wall
    weight = trust
    for _ in range(ROUNDS):
        pull = np.where(depth < wall, SCREEN, 1.0) * PULL / (1 + ((depth - wall) / (TOUCH * step)) ** 2)
        pull = np.where(has_wall, pull, 1e-9)
        matrix = difference.T @ diags(weight) @ difference + diags(pull)
        depth = spsolve(matrix.tocsc(), difference.T @ (weight * rise) + pull * wall)
        weight = trust / (1 + ((difference @ depth - rise) / (STEP * step)) ** 2)
    found = np.full(inside.shape, np.nan)
    found[inside] = np.maximum(depth, np.where(has_wall, wall, -np.inf))
    return found


def _shrunk(
    normal: Float[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"], side: int
) -> tuple[Float[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    """Unit normals and the mask above 1/2 at `side` px, means over whole pixels."""
    factor = mask.shape[0] // side
    cover = mask.reshape(side, factor, side, factor).mean((1, 3))
    total = (normal * mask[..., None]).reshape(side, factor, side, factor, 3).mean((1, 3))
    length = np.linalg.norm(total, axis=-1, keepdims=True)
    return total / np.maximum(length, 1e-9), cover > 0.5


def _in_front(depth: np.ndarray, place: np.ndarray, z: np.ndarray) -> np.ndarray:
    """How far nodes at pixel `place` [2, ...] and depth z lie in front of a view's depth; UNKNOWN beside it."""
    known = np.isfinite(depth)
    filled = np.where(known, depth, 0.0)
    share = map_coordinates(known.astype(np.float64), place, order=1, cval=0.0)
    total = map_coordinates(filled, place, order=1, cval=0.0)
    return np.where(share > 0.5, total / np.maximum(share, 0.5) - z, UNKNOWN)

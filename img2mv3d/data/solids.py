"""A triangle mesh of any quality -> the solid that somebody who walks round it would take it for.

In: vertices and faces, open or not. Out: a boolean grid in the object's frame, and what lies at given points of it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.ndimage import binary_dilation, map_coordinates

from img2mv3d.data.raycast import Raycaster, sphere_directions

GRID = 80  # cells a side, over the cube round the sphere of radius REACH
REACH = 0.52  # object units; objects lie in a sphere of radius 0.5
DIRECTIONS = 30
PIXELS = 2 * GRID  # a side, of the depth picture of each direction
SKIN = 0.6  # cells: what lies so close behind a surface, along the direction, is solid


def carve(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], grid: int = GRID
) -> Bool[np.ndarray, "G G G"]:
    """The points that no outside direction sees in front of the surface: space carving from depth pictures. A sheet,
    which leaves nothing behind itself, becomes one cell thick.

    vertices: object units, within the sphere of radius 0.5. Returns [x, y, z], cell centres evenly over +-REACH.
    """
    world = Raycaster(vertices, faces)
    cell = 2 * REACH / grid
    ticks = (np.arange(grid) + 0.5) * cell - REACH
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    points = points[(np.abs(points) < np.abs(vertices).max(0) + cell).all(1)]
    pixel = 2 * REACH / PIXELS
    steps = (np.arange(PIXELS) + 0.5) * pixel - REACH
    surface = np.zeros((grid,) * 3, bool)
    for direction in sphere_directions(DIRECTIONS):
        across = np.cross(direction, [0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0])
        across /= np.linalg.norm(across)
        up = np.cross(across, direction)
        origin = (steps[:, None, None] * across + steps[None, :, None] * up - direction).reshape(-1, 3)
        depth = world.first(origin, np.broadcast_to(direction, origin.shape)).t
        place = np.clip(((points @ np.stack([across, up], 1) + REACH) / pixel).astype(int), 0, PIXELS - 1)
        behind = points @ direction.astype(np.float32) + 1 >= depth[place[:, 0] * PIXELS + place[:, 1]] - SKIN * cell
        points = points[behind]
        hit = np.isfinite(depth)
        surface[_cells(origin[hit] + depth[hit, None] * direction, grid)] = True
    solid = np.zeros((grid,) * 3, bool)
    solid[_cells(points, grid)] = True
    return solid | (surface & ~binary_dilation(solid, np.ones((3, 3, 3))))


def inside(solid: Bool[np.ndarray, "G G G"], points: Float[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
    """How far each point (object units) lies in the solid: 1 in the middle of it, 0 outside, interpolated."""
    grid = solid.shape[0]
    place = (points.T + REACH) * (grid / (2 * REACH)) - 0.5
    return map_coordinates(solid.astype(np.float32), place, order=1, mode="constant", prefilter=False)


def _cells(points: np.ndarray, grid: int) -> tuple[np.ndarray, ...]:
    """Index of the cell that each point lies in."""
    return tuple(np.clip(((points + REACH) * (grid / (2 * REACH))).astype(int), 0, grid - 1).T)

"""Surfaces without the steps of the grid that they were cut from: flat stays flat, sharp stays sharp.

Bilateral filtering of face normals (each becomes the mean of its neighbours', those that look elsewhere counting
little), then vertices moved until the faces agree with them (Sun and others, Fast and effective feature-preserving mesh
denoising, 2007; Zheng and others, Bilateral normal filtering for mesh denoising, 2011).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import map_coordinates

from img2mv3d.geometry.compiled import compiled

UNLIKE = 0.35  # distance of unit normals at which a neighbour counts 0.6
ROUNDS = (6, 8)  # of the normals and of the vertices
HELD = 2.0  # cells from the photo's outline up to which a vertex is held
MOST = 0.5  # cells of the grid by which a vertex may move: thin parts stay, and so does what the photo shows


def faired(
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    cell: float,
    outline: Float[np.ndarray, "H W"] | None = None,
) -> Float[np.ndarray, "N 3"]:
    """The vertices of an isosurface, moved by at most MOST cells.

    cell: of its grid, in the vertices' units. outline: distance to the photo's outline over +-1, in these units:
    what lies on it moves along the line of sight only, since the photo says where it is; a screwdriver would lose a
    fiftieth of its outline.
    """
    order = np.argsort(faces, axis=None, kind="stable")
    around = np.ascontiguousarray(order // 3)  # faces of each vertex, one vertex behind the other
    start = np.concatenate([[0], np.cumsum(np.bincount(faces.ravel(), minlength=len(vertices)))]).astype(np.int64)
    normal, area = np.empty((len(faces), 3)), np.empty(len(faces))
    _measure(vertices, faces, normal, area)
    for _ in range(ROUNDS[0]):
        normal = _filtered(faces, start, around, normal, area, 1 / (2 * UNLIKE**2))
    moved = vertices
    for _ in range(ROUNDS[1]):
        moved = _moved(moved, faces, start, around, normal)
    step = moved - vertices
    if outline is not None:
        px = (vertices[:, :2] * (1, -1) + 1) * (outline.shape[1] / 2) - 0.5
        near = np.abs(map_coordinates(outline, px.T[::-1], order=1, mode="nearest"))
        step[:, :2] *= np.minimum(near / (HELD * cell), 1)[:, None]
    length = np.linalg.norm(step, axis=1, keepdims=True)
    return vertices + step * np.minimum(1, MOST * cell / np.maximum(length, 1e-12))


@compiled
def _measure(vertices, faces, normal, area):
    """Unit normals and areas of faces, both written."""
    for i in range(len(faces)):
        a, b, c = faces[i]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        wx, wy, wz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        x, y, z = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        length = max(np.sqrt(x * x + y * y + z * z), 1e-20)
        normal[i, 0], normal[i, 1], normal[i, 2], area[i] = x / length, y / length, z / length, length / 2


@compiled
def _filtered(faces, start, around, normal, area, fall):
    """Normals after one round: means over the faces that share a corner, by area and likeness."""
    result = np.empty_like(normal)
    for i in range(len(faces)):
        x = y = z = 0.0
        for corner in range(3):
            for k in range(start[faces[i, corner]], start[faces[i, corner] + 1]):
                j = around[k]
                dx, dy, dz = normal[i, 0] - normal[j, 0], normal[i, 1] - normal[j, 1], normal[i, 2] - normal[j, 2]
                weight = area[j] * np.exp(-(dx * dx + dy * dy + dz * dz) * fall)
                x, y, z = x + weight * normal[j, 0], y + weight * normal[j, 1], z + weight * normal[j, 2]
        length = max(np.sqrt(x * x + y * y + z * z), 1e-20)
        result[i, 0], result[i, 1], result[i, 2] = x / length, y / length, z / length
    return result


@compiled
def _moved(vertices, faces, start, around, normal):
    """Vertices after one round: each moves by the mean of its ways to the planes of its faces' new normals."""
    result = vertices.copy()
    for i in range(len(vertices)):
        x = y = z = 0.0
        for k in range(start[i], start[i + 1]):
            j = around[k]
            a, b, c = faces[j]
            way = 0.0
            for axis in range(3):
                centre = (vertices[a, axis] + vertices[b, axis] + vertices[c, axis]) / 3
                way += normal[j, axis] * (centre - vertices[i, axis])
            x, y, z = x + way * normal[j, 0], y + way * normal[j, 1], z + way * normal[j, 2]
        count = max(start[i + 1] - start[i], 1)
        result[i, 0] += x / count
        result[i, 1] += y / count
        result[i, 2] += z / count
    return result

"""Where a mesh stands in a file: units, up axis and size, as users of each format expect. The only outgoing turn of
axes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from jaxtyping import Float

from img2mv3d.mesh.arrays import MeshArrays, MeshLike
from img2mv3d.mesh.formats import FORMATS

MM_PER_UNIT = {"mm": 1.0, "m": 1000.0}
Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # +Y up, front +Z -> +Z up, front -Y; no mirror image


def place(
    mesh: MeshLike, format: str, size_mm: float | None = None, height_mm: float | None = None, up: str | None = None
) -> tuple[MeshLike, Float[np.ndarray, "4 4"]]:
    """The mesh in the axes and units of `format`, and file_from_world [4, 4].

    Right hands stay right hands. Raises ValueError when the mesh has no extent to be measured.

    size_mm: of the longest side;
    height_mm: of the vertical one, which wins. With neither, the format's own default.
    up: y or z, the file's axis that points up where that shall not be the format's own.
    """
    rule = FORMATS[format]
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    side = high - low
    wanted = height_mm or size_mm or rule.default_mm
    scale = 1.0
    if wanted is not None:
        measured = float(side[1] if height_mm else side.max())
        if measured <= 0:
            raise ValueError(f"a mesh with sides {side.tolist()} cannot be scaled")
        scale = wanted / MM_PER_UNIT[rule.unit] / measured
    matrix = np.eye(4)
    matrix[:3, :3] = (Z_UP if (up or rule.up).upper() == "Z" else np.eye(3)) * scale
    if rule.standing:
        ground = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
        matrix[:3, 3] = -matrix[:3, :3] @ ground
    return mesh if np.array_equal(matrix, np.eye(4)) else standing(mesh, matrix), matrix


def standing(mesh: MeshLike, matrix: Float[np.ndarray, "4 4"]) -> MeshArrays:
    """The mesh with its vertices under an affine map [4, 4]."""
    others = {field.name: getattr(mesh, field.name) for field in fields(MeshArrays) if field.name != "vertices"}
    return MeshArrays(moved(mesh.vertices, matrix), **others)


def moved(points: Float[np.ndarray, "N 3"], matrix: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "N 3"]:
    """Points [N, 3] under an affine map [4, 4], in the units that the map leads to."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]

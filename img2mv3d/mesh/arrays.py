"""The arrays that every part of mesh/ takes: vertices, faces, colours, and perhaps a texture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8


@runtime_checkable
class MeshLike(Protocol):
    """Anything with the fields of `MeshArrays` (for instance `values.Mesh`). Only read, so frozen values will do."""

    @property
    def vertices(self) -> Float[np.ndarray, "N 3"]: ...
    @property
    def faces(self) -> Int[np.ndarray, "F 3"]: ...
    @property
    def colors(self) -> UInt8[np.ndarray, "N 3"]: ...
    @property
    def uv(self) -> Float[np.ndarray, "N 2"] | None: ...
    @property
    def texture(self) -> UInt8[np.ndarray, "T T 3"] | None: ...


@dataclass(frozen=True, eq=False)
class MeshArrays:
    """A triangle mesh in world axes and units; fields as `values.Mesh`.

    vertices: float64 [N, 3]. faces: int64 [F, 3], counter-clockwise seen from outside. colors: uint8 [N, 3], sRGB.
    uv: float64 [N, 2], v upwards, or None. texture: uint8 [T, T, 3] or None.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None


def face_normals(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "F 3"]:
    """Normals whose length is twice the triangle's area (world units squared), outwards; 0 for a degenerate one."""
    corner = vertices[faces]
    return np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])


def vertex_normals(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "N 3"]:
    """Unit normals, the area-weighted mean over the faces round each vertex; (0, 0, 1) where they cancel out."""
    normal = face_normals(vertices, faces)
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(normal[:, k], 3), minlength=len(vertices)) for k in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-20, total / np.maximum(length, 1e-20), np.array([0.0, 0.0, 1.0]))

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
    @property
    def normal_map(self) -> UInt8[np.ndarray, "T T 3"] | None: ...
    @property
    def roughness(self) -> float: ...
    @property
    def metallic(self) -> float: ...


@dataclass(frozen=True, eq=False)
class MeshArrays:
    """A triangle mesh in world axes and units; fields as `values.Mesh`.

    vertices: float64 [N, 3]. faces: int64 [F, 3], counter-clockwise seen from outside. colors: uint8 [N, 3], sRGB.
    uv: float64 [N, 2], v upwards, or None. texture: uint8 [T, T, 3] or None. normal_map: uint8 [T, T, 3], in the
    frame of `tangents`, or None. roughness, metallic: 0..1.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    normal_map: np.ndarray | None = None
    roughness: float = 1.0
    metallic: float = 0.0


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


def shading_normals(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "N 3"]:
    """As `vertex_normals`, but vertices at one place share theirs: the seams of a texture are no edges."""
    places, index = np.unique(vertices + 0.0, axis=0, return_inverse=True)  # + 0.0: no negative zero
    index = index.ravel()
    return vertex_normals(places, index[faces])[index]


def tangents(
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    uv: Float[np.ndarray, "N 2"],
    normals: Float[np.ndarray, "N 3"],
) -> Float[np.ndarray, "N 4"]:
    """Unit tangents along u, at right angles to unit normals, and 1 or -1: the bitangent, along v (upwards), is that
    times normal x tangent. The mean over the faces round a vertex, weighted by angles, as MikkTSpace has it.
    """
    corner, flat = vertices[faces], uv[faces]
    edge, other = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    (a, b), (c, d) = (flat[:, 1] - flat[:, 0]).T, (flat[:, 2] - flat[:, 0]).T
    area = a * d - b * c
    along = (edge * d[:, None] - other * b[:, None]) * np.sign(area)[:, None]
    sides = [corner[:, (k + 1) % 3] - corner[:, k] for k in range(3)]
    sides = [side / np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-20) for side in sides]
    total, turned = np.zeros((len(vertices), 3)), np.zeros(len(vertices))
    for k in range(3):
        angle = np.arccos((-(sides[k] * sides[k - 1]).sum(1)).clip(-1, 1))
        normal = normals[faces[:, k]]
        own = along - (along * normal).sum(1, keepdims=True) * normal
        own /= np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-20)
        for axis in range(3):
            total[:, axis] += np.bincount(faces[:, k], own[:, axis] * angle, minlength=len(vertices))
        turned += np.bincount(faces[:, k], np.sign(area) * angle, minlength=len(vertices))
    total -= (total * normals).sum(1, keepdims=True) * normals
    length = np.linalg.norm(total, axis=1, keepdims=True)
    spare = np.cross(normals, np.eye(3)[np.abs(normals).argmin(1)])  # where a texture's sides cancel out
    spare /= np.linalg.norm(spare, axis=1, keepdims=True)
    tangent = np.where(length > 1e-9, total / np.maximum(length, 1e-20), spare)
    return np.concatenate([tangent, np.where(turned < 0, -1.0, 1.0)[:, None]], axis=1)

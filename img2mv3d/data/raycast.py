"""First hits of rays on a triangle mesh, on one CPU core (Embree through `embreex`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from img2mv3d.errors import UsageError


class Hits(NamedTuple):
    """One entry per ray.

    face: -1 for a miss.
    t: length along the ray, inf for a miss.
    u, v: weights of the face's second and third corner.
    """

    face: Int[np.ndarray, " R"]
    t: Float32[np.ndarray, " R"]
    u: Float32[np.ndarray, " R"]
    v: Float32[np.ndarray, " R"]


class Raycaster:
    """A mesh that rays can be shot at; both sides of every face count. Sizes about 1 (float32 inside).

    Raises UsageError when the package `embreex` is missing.

    vertices: [N, 3];
    faces: [F, 3].
    """

    def __init__(self, vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError:
            raise UsageError("ray casting needs the package embreex: pip install 'img2mv3d[train]'") from None
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(vertices[faces], np.float32))

    def first(self, origin: Float[np.ndarray, "R 3"], direction: Float[np.ndarray, "R 3"]) -> Hits:
        """The first face along each ray (unit directions)."""
        if not len(origin):
            none = np.zeros(0, np.float32)
            return Hits(np.zeros(0, np.int64), none, none, none)
        out = self._scene.run(
            np.ascontiguousarray(origin, np.float32), np.ascontiguousarray(direction, np.float32), output=1
        )
        face = out["primID"].astype(np.int64)
        missed = face < 0
        return Hits(face, np.where(missed, np.float32(np.inf), out["tfar"]), out["u"], out["v"])

    def blocked(self, origin: Float[np.ndarray, "R 3"], direction: Float[np.ndarray, "R 3"]) -> Bool[np.ndarray, " R"]:
        """Whether anything stands on each ray, however far."""
        if not len(origin):
            return np.zeros(0, bool)
        hit = self._scene.run(
            np.ascontiguousarray(origin, np.float32), np.ascontiguousarray(direction, np.float32), query="OCCLUDED"
        )
        return np.asarray(hit) >= 0


def sphere_directions(count: int) -> Float[np.ndarray, "count 3"]:
    """Unit vectors spread evenly over the sphere (Fibonacci's spiral)."""
    index = np.arange(count) + 0.5
    y = 1 - 2 * index / count
    angle = np.pi * (1 + 5**0.5) * index
    radius = np.sqrt(1 - y * y)
    return np.stack([np.cos(angle) * radius, y, np.sin(angle) * radius], axis=1)

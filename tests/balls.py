"""An ellipsoid with random colours, as a mesh for the tests of files."""

from dataclasses import replace

import numpy as np
import trimesh

from img2mv3d.mesh.arrays import MeshArrays


def ball(textured: bool = False) -> MeshArrays:
    body = trimesh.creation.icosphere(subdivisions=2)
    vertices = np.array(body.vertices) * [0.7, 0.5, 0.6]
    colors = np.random.default_rng(0).integers(0, 256, (len(vertices), 3)).astype(np.uint8)
    mesh = MeshArrays(vertices, np.array(body.faces, np.int64), colors)
    if not textured:
        return mesh
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    texture = np.stack(np.broadcast_arrays(ramp[None], ramp[:, None], np.uint8(90)), axis=-1)
    return replace(mesh, uv=vertices[:, :2] / 2 + 0.5, texture=np.ascontiguousarray(texture))

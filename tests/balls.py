"""An ellipsoid with random colours, as a mesh for the tests of files."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import trimesh

from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.formats import FORMATS, Format


def missing(format: Format) -> str | None:
    """The package that this installation lacks for the format."""
    return format.needs[1] if format.needs and not find_spec(format.needs[0]) else None


WRITABLE = [  # every format, skipped where its package is not installed
    pytest.param(name, marks=pytest.mark.skipif(bool(missing(f)), reason=f"{missing(f)} is not installed"))
    for name, f in FORMATS.items()
]


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

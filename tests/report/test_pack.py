"""What the page unpacks is what was packed: each format is read back as assets/page.js reads it."""

import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.mesh.arrays import vertex_normals
from img2mv3d.report.pack import PER_UNIT, SHIFT, packed_depth, packed_mesh, packed_rig, picture
from tests.balls import ball


def opened(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), kind)


def summed(planes: np.ndarray, width: int) -> np.ndarray:
    """assets/page.js, `summed`, word for word."""
    count = len(planes) // 2
    value = planes[:count].astype(np.uint16) | (planes[count:].astype(np.uint16) << 8)
    return np.cumsum(value.reshape(-1, width), axis=1, dtype=np.uint16)


def test_depth_comes_back_to_half_a_step_and_nothing_stays_nothing() -> None:
    rng = np.random.default_rng(0)
    z, hit = rng.uniform(-1.7, 1.7, (6, 9, 9)).astype(np.float32), rng.random((6, 9, 9)).astype(np.float32)
    code = summed(opened(packed_depth(z, hit), "<u1"), 9).reshape(6, 9, 9)
    assert ((code > 0) == (hit >= 0.5)).all()
    np.testing.assert_allclose((code / PER_UNIT - SHIFT)[hit >= 0.5], z[hit >= 0.5], atol=0.51 / PER_UNIT)


def test_lines_are_for_rigs_whose_lines_are_rows() -> None:
    z = np.zeros((6, 8, 8), np.float32)
    assert packed_rig(SIX_VIEWS, z, z, 0.04)["azimuth_deg"] == [0, 45, 90, 180, -90, -45]
    assert packed_rig(Rig(elevation_deg=(0.0, 0.0, 0.0, 0.0, 0.0, 10.0)), z, z, 0.04) is None
    assert packed_rig(Rig(kind="perspective", distance=3.0), z, z, 0.04) is None


@pytest.mark.parametrize("textured", [False, True])
def test_a_mesh_comes_back_in_a_ball_of_radius_one(textured: bool) -> None:
    mesh = ball(textured)
    told = packed_mesh(mesh)
    places = opened(told["places"], "<u2").reshape(-1, 3) / 65535 * told["span"] + told["low"]
    middle = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    radius = np.linalg.norm(mesh.vertices - middle, axis=1).max()
    np.testing.assert_allclose(places, (mesh.vertices - middle) / radius, atol=2e-5)
    assert (opened(told["faces"], "<u4").reshape(-1, 3) == mesh.faces).all()
    normals = opened(told["normals"], "<i1").reshape(-1, 3) / 127
    np.testing.assert_allclose(normals, vertex_normals(mesh.vertices, mesh.faces), atol=0.005)
    if textured:
        np.testing.assert_allclose(opened(told["uv"], "<u2").reshape(-1, 2) / 65535, mesh.uv, atol=1e-5)
        assert told["texture"].startswith("data:image/jpeg;base64,")
    else:
        assert told["texture"] is None and (opened(told["colors"], "<u1").reshape(-1, 3) == mesh.colors).all()


def test_normals_do_not_break_at_the_seams_of_a_texture() -> None:
    mesh = ball()
    doubled = type(mesh)(
        mesh.vertices[mesh.faces.ravel()], np.arange(mesh.faces.size).reshape(-1, 3), mesh.colors[mesh.faces.ravel()]
    )
    normals = opened(packed_mesh(doubled)["normals"], "<i1").reshape(-1, 3) / 127
    whole = vertex_normals(mesh.vertices, mesh.faces)[mesh.faces.ravel()]
    np.testing.assert_allclose(normals, whole, atol=0.005)


def test_lossless_pictures_keep_every_value_and_alpha() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 4)).astype(np.uint8)
    head, _, data = picture(pixels, lossless=True).partition(",")
    assert head == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == pixels).all()

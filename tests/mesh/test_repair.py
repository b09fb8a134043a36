"""What was harmed is closed again, and nothing that was well is touched."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.extract import volume
from img2mv3d.mesh.health import check
from img2mv3d.mesh.repair import holes, oriented, repair
from tests.balls import ball


def test_a_sound_mesh_is_left_alone() -> None:
    mended, done = repair(ball())
    assert done == () and len(mended.faces) == len(ball().faces)
    assert volume(mended.vertices, mended.faces) == pytest.approx(volume(ball().vertices, ball().faces))


@pytest.mark.parametrize("seed", range(6))
def test_holes_turned_double_and_loose_triangles_are_mended(seed: int) -> None:
    rng, mesh = np.random.default_rng(seed), ball()
    faces = mesh.faces[rng.random(len(mesh.faces)) > 0.06]
    turned = rng.random(len(faces)) < 0.2
    faces = np.where(turned[:, None], faces[:, ::-1], faces)
    loose = np.stack([faces[:2, 0], faces[:2, 1], rng.integers(0, len(mesh.vertices), 2)], axis=1)
    harmed = replace(mesh, faces=np.concatenate([faces, faces[:3], loose, [[1, 1, 2]]]))
    assert not check(harmed).sound
    mended, done = repair(harmed)
    health = check(mended)
    assert health.sound, (health.faults(), done)
    assert volume(mended.vertices, mended.faces) == pytest.approx(volume(mesh.vertices, mesh.faces), rel=0.12)
    assert any("holes closed" in line for line in done) and mended.colors.shape == mended.vertices.shape


def test_inside_out_is_turned() -> None:
    mended, done = repair(replace(ball(), faces=ball().faces[:, ::-1].copy()))
    assert volume(mended.vertices, mended.faces) > 0 and done == ("1 component turned inside out",)


def test_a_moebius_strip_cannot_be_oriented() -> None:
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    out = np.stack([np.cos(around), np.sin(around), 0 * around], axis=1)
    tilt = np.cos(around / 2)[:, None] * out + np.sin(around / 2)[:, None] * [0, 0, 1]
    vertices = np.concatenate([out * 3 + tilt, out * 3 - tilt])
    faces = []
    for i in range(12):
        a, b = i, i + 12
        c, d = (i + 1, i + 13) if i < 11 else (12, 0)  # the strip comes back the other way up
        faces += [(a, c, b), (b, c, d)]
    strip = MeshArrays(vertices, np.array(faces, np.int64), np.zeros((24, 3), np.uint8))
    turned, _ = oriented(strip.faces)
    assert check(replace(strip, faces=turned)).inconsistent_edges > 0
    assert not check(repair(strip).mesh).sound


def test_rims_that_touch_are_two_loops() -> None:
    mesh = ball()
    corner = 0
    around = np.flatnonzero((mesh.faces == corner).any(1))
    opposite = [f for f in around[1:] if len(np.intersect1d(mesh.faces[f], mesh.faces[around[0]])) == 1]
    gone = [around[0], opposite[0]]
    loops = holes(np.delete(mesh.faces, gone, axis=0))
    assert sorted(len(loop) for loop in loops) == [3, 3]

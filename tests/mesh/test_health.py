"""The health of solids that are known, and of the same solids harmed on purpose."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.health import check, merged, winding
from tests.balls import ball


def solid(body: trimesh.Trimesh) -> MeshArrays:
    count = len(body.vertices)
    return MeshArrays(np.array(body.vertices), np.array(body.faces, np.int64), np.full((count, 3), 128, np.uint8))


def plate(*sides: float) -> MeshArrays:
    return solid(trimesh.creation.box(sides))


def both(a: MeshArrays, b: MeshArrays) -> MeshArrays:
    faces = np.concatenate([a.faces, b.faces + len(a.vertices)])
    return MeshArrays(np.concatenate([a.vertices, b.vertices]), faces, np.concatenate([a.colors, b.colors]))


def inside(mesh: MeshArrays) -> MeshArrays:
    return replace(mesh, faces=mesh.faces[:, ::-1].copy())


def scaled(mesh: MeshArrays, factor: float) -> MeshArrays:
    return replace(mesh, vertices=mesh.vertices * factor)


def test_a_plate_is_sound_and_as_thick_as_it_is() -> None:
    health = check(plate(40, 30, 2))
    assert health.sound and health.watertight and health.components == 1 and health.faults() == []
    assert health.box_mm == (40, 30, 2) and health.volume_mm3 == pytest.approx(2400)
    assert health.wall_mm == pytest.approx(2) and health.thinnest_mm == pytest.approx(2) and health.thin() is None
    assert "0.5 mm, at least 0.8 mm are needed" in check(plate(40, 30, 2), 0.25).thin()


def test_vertices_at_one_place_are_one() -> None:
    mesh = ball()
    soup = MeshArrays(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(mesh.faces.size).reshape(-1, 3), mesh.colors)
    assert len(merged(soup.vertices, soup.faces)[0]) == len(mesh.vertices)
    assert check(soup) == check(mesh) and check(mesh).sound


@pytest.mark.parametrize(
    ("harmed", "field", "count"),
    [
        (replace(ball(), faces=ball().faces[2:]), "boundary_edges", None),
        (replace(ball(), faces=np.concatenate([ball().faces, ball().faces[:1]])), "duplicate_faces", 1),
        (replace(ball(), faces=np.concatenate([ball().faces[:1, ::-1], ball().faces[1:]])), "inconsistent_edges", 3),
        (replace(ball(), faces=np.concatenate([ball().faces, [[0, 0, 1]]])), "degenerate_faces", 1),
        (inside(ball()), "inside_out", 1),
        (both(ball(), inside(scaled(ball(), 3))), "inside_out", 1),
    ],
)
def test_every_harm_is_counted(harmed: MeshArrays, field: str, count: int | None) -> None:
    health = check(harmed)
    found = getattr(health, field)
    assert found > 0 if count is None else found == count
    assert not health.sound and health.faults() and health.facts()[field] == found


def test_a_hollow_is_no_fault_and_makes_walls() -> None:
    shell = both(scaled(ball(), 10), inside(scaled(ball(), 9)))
    health = check(shell)
    assert health.sound and health.components == 2 and 0.3 < health.wall_mm < 1.0
    assert winding(shell.vertices, shell.faces, np.zeros(3)) == pytest.approx(0, abs=1e-6)


def test_the_other_library_agrees_where_it_is_installed() -> None:
    pytest.importorskip("manifold3d", reason="manifold3d is not installed")
    assert check(ball()).manifold3d == "NoError"
    assert check(replace(ball(), faces=ball().faces[1:])).manifold3d == "NotManifold"

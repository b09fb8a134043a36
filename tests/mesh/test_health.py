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
    assert "0.5 mm, at least 0.8 mm are needed: make it larger, 16 mm" in check(plate(40, 30, 2), 0.25).thin()


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


def moved(mesh: MeshArrays, *by: float) -> MeshArrays:
    return replace(mesh, vertices=mesh.vertices + np.array(by))


def wedge(degrees: float) -> MeshArrays:
    """A roof lying on its back, 30 mm from its sharp edge to its thick end."""
    half = 30 * np.tan(np.radians(degrees) / 2)
    corners = [[x, y, z] for y in (0, 30) for x, z in ((0, 0), (30, half), (30, -half))]
    return solid(trimesh.convex.convex_hull(np.array(corners, float)))


TEN = {  # what it is, and what must be said of it
    "a cube": (plate(10, 10, 10), "prints: closed, one shell, thinnest wall 10 mm"),
    "a plate": (plate(40, 30, 1.0), "prints: closed, one shell, thinnest wall 1 mm at the middle"),
    "a thin plate": (plate(40, 30, 0.4), "does not print: its thinnest wall is 0.4 mm, at least 0.8 mm are needed"),
    "an open box": (replace(plate(9, 9, 9), faces=plate(9, 9, 9).faces[1:]), "does not print: 3 boundary edges"),
    "inside out": (inside(plate(9, 9, 9)), "does not print: 1 closed components are inside out"),
    "two shells": (both(plate(9, 9, 9), moved(plate(5, 5, 5), 20, 0, 0)), "does not print: 2 separate shells"),
    "overlapping": (
        both(plate(9, 9, 9), moved(plate(5, 5, 5), 6, 1, 1)),
        "prints: closed, 2 overlapping shells, thinnest wall 5 mm",
    ),
    "a hollow": (
        both(plate(20, 20, 20), moved(inside(plate(10, 10, 10)), 0, 3, 0)),  # 2 mm under the top, 8 above the bottom
        "prints: closed, one shell with 1 closed hollow, thinnest wall 2 mm at the top",
    ),
    "a thin wire": (solid(trimesh.creation.cylinder(0.3, 40)), "does not print: its thinnest wall is 0.6 mm"),
    "a fin": (
        both(plate(20, 20, 20), moved(plate(0.5, 14, 14), 0, 15, 0)),
        "does not print: its thinnest wall is 0.5 mm, at least 0.8 mm are needed: make it larger, 52 mm",
    ),
}


@pytest.mark.parametrize("name", TEN)
def test_the_verdict_is_the_truth(name: str) -> None:
    mesh, said = TEN[name]
    verdict = check(mesh).verdict()
    assert verdict.startswith(said), verdict


@pytest.mark.parametrize(("degrees", "prints"), [(45.0, True), (8.0, False)])
def test_a_sharp_edge_is_no_thin_wall_but_a_blade_is(degrees: float, prints: bool) -> None:
    health = check(wedge(degrees))
    assert health.thinnest_mm < 0.3 and (not health.unprintable()) == prints, health.verdict()


def test_a_place_is_told_as_seen_from_the_front() -> None:
    shell = both(plate(20, 20, 20), moved(inside(plate(10, 10, 10)), -4, 0, 0))
    assert "1 mm at the left (x -" in check(shell).verdict() and check(shell).wall_at_mm[0] <= -9
    lying = both(plate(20, 20, 20), moved(inside(plate(10, 10, 10)), 0, -4, 0))  # in a file whose axis z points up
    assert "at the front (" in check(lying, up="Z").verdict() and "at the bottom (" in check(lying).verdict()


def test_the_other_library_agrees_where_it_is_installed() -> None:
    pytest.importorskip("manifold3d", reason="manifold3d is not installed")
    assert check(ball()).manifold3d == "NoError"
    assert check(replace(ball(), faces=ball().faces[1:])).manifold3d == "NotManifold"

"""Units, axes and size of files: what each format's users expect, and no mirror image on the way."""

import numpy as np
import pytest

from img2mv3d.mesh.formats import FORMATS
from img2mv3d.mesh.placement import moved, place
from tests.balls import ball


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("size", [{}, {"size_mm": 80.0}, {"height_mm": 50.0}])
def test_right_hands_stay_right_hands_and_the_matrix_tells_the_truth(format: str, size: dict[str, float]) -> None:
    mesh = ball()
    placed, matrix = place(mesh, format, **size)
    turn = matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    np.testing.assert_allclose(placed.vertices, moved(mesh.vertices, matrix), atol=1e-12)
    assert placed.faces is mesh.faces and placed.colors is mesh.colors


@pytest.mark.parametrize("format", ["stl", "3mf"])
def test_for_printers_it_stands_on_the_plate_in_millimetres(format: str) -> None:
    placed, matrix = place(ball(), format)
    low, high = placed.vertices.min(0), placed.vertices.max(0)
    np.testing.assert_allclose(high - low, np.array([1.4, 1.2, 1.0]) / 1.4 * 100, atol=1e-9)  # x, depth, height
    np.testing.assert_allclose(low, [-50, -60 / 1.4, 0], atol=1e-9)
    np.testing.assert_allclose(matrix[:3, :3] @ [0, 1, 0], [0, 0, 100 / 1.4], atol=1e-9)  # up
    np.testing.assert_allclose(matrix[:3, :3] @ [0, 0, 1], [0, -100 / 1.4, 0], atol=1e-9)  # the front, to the viewer


def test_for_apple_it_stands_on_the_ground_in_metres() -> None:
    low, high = (f(place(ball(), "usdz")[0].vertices, axis=0) for f in (np.min, np.max))
    np.testing.assert_allclose([low, high], [[-0.05, 0, -0.3 / 7], [0.05, 0.5 / 7, 0.3 / 7]], atol=1e-12)


@pytest.mark.parametrize("format", ["glb", "obj", "ply"])
def test_the_world_stays_as_it_is_unless_somebody_says_a_size(format: str) -> None:
    mesh = ball()
    assert place(mesh, format)[0] is mesh
    scaled = place(mesh, format, size_mm=140.0)[0]
    np.testing.assert_allclose(scaled.vertices, mesh.vertices / 10, atol=1e-12)


def test_the_height_is_the_vertical_side() -> None:
    assert np.ptp(place(ball(), "stl", height_mm=50.0)[0].vertices[:, 2]) == pytest.approx(50)
    assert np.ptp(place(ball(), "glb", height_mm=50.0)[0].vertices[:, 1]) == pytest.approx(0.05)


def test_a_point_cannot_be_scaled() -> None:
    mesh = ball()
    with pytest.raises(ValueError, match="cannot be scaled"):
        place(type(mesh)(mesh.vertices * 0, mesh.faces, mesh.colors), "stl")


@pytest.mark.parametrize("format", FORMATS)
def test_up_may_be_said_and_turns_without_mirroring(format: str) -> None:
    mesh = ball()
    for up, axis in (("y", [0, 1, 0]), ("z", [0, 0, 1])):
        _, matrix = place(mesh, format, size_mm=80.0, up=up)
        turn = matrix[:3, :3] / np.cbrt(np.linalg.det(matrix[:3, :3]))
        np.testing.assert_allclose(turn @ [0, 1, 0], axis, atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)
    own = FORMATS[format].up.lower()
    np.testing.assert_array_equal(place(mesh, format, up=own)[1], place(mesh, format)[1])

"""A box's outline and a body that is nearly one give the box; nothing else does."""

import numpy as np
import pytest

from img2mv3d.geometry.boxes import UprightBox, box_field, box_mesh, off_box, opposite_colours, upright_box
from img2mv3d.mesh.extract import is_closed, volume
from tests.crates import crate, drawn

NODES = 96
LINE = np.linspace(-1, 1, NODES)


def _box(turn_deg: float, elevation_deg: float, halves=(0.35, 0.2, 0.25)) -> UprightBox:
    return crate(turn_deg, elevation_deg, halves)._replace(middle=np.array([0.03, -0.02, 0.05]))


def _drawn(box: UprightBox) -> np.ndarray:
    """Its outline, 256 px over +-1."""
    return drawn(box)[..., 3] / np.float32(255)


def _outline(field: np.ndarray) -> np.ndarray:
    """What the front camera sees of a body, roughly."""
    place = ((np.arange(256) + 0.5) / 128 - 1 + 1) * (NODES - 1) / 2
    nearest = np.rint(place).astype(int).clip(0, NODES - 1)
    return (field.min(2) < 0).T[nearest[::-1]][:, nearest].astype(np.float32)


def _melted(field: np.ndarray) -> np.ndarray:
    """As a network gives it: sides bent by a few hundredths, corners gone."""
    x, y, z = np.meshgrid(LINE, LINE, LINE, indexing="ij")
    return np.maximum(field + 0.02 * np.sin(7 * x + 3 * z) * np.cos(5 * y), np.sqrt(x * x + y * y + z * z) - 0.47)


@pytest.mark.parametrize(("turn", "elevation"), [(30.0, 20.0), (60.0, 35.0), (0.0, 0.0), (80.0, 10.0)])
def test_the_box_is_found_again_in_a_body_that_is_nearly_one(turn, elevation):
    true = _box(turn, elevation)
    field = box_field(true, NODES).astype(np.float32)
    found = upright_box(_melted(field).astype(np.float32), _drawn(true), elevation + 3)
    assert found is not None
    apart = np.linalg.norm(found.corners()[:, None, :2] - true.corners()[None, :, :2], axis=2).min(1)
    assert apart.max() < 0.03  # world units; a node of the grid is 0.02
    both = (box_field(found, NODES) < 0) & (field < 0)
    assert both.sum() / ((box_field(found, NODES) < 0) | (field < 0)).sum() > 0.85


@pytest.mark.parametrize("elevation", [0.0, 20.0])
def test_a_can_a_ball_and_a_chair_are_no_boxes(elevation):
    box = _box(20, elevation)
    x, y, z = np.meshgrid(LINE, LINE, LINE, indexing="ij")
    along = np.stack([x, y, z], axis=-1) @ box.axes.T
    can = np.maximum(np.hypot(along[..., 0], along[..., 1]) - 0.3, np.abs(along[..., 2]) - 0.4)
    ball = np.sqrt(x * x + y * y + z * z) - 0.5
    chair = np.minimum(
        box_field(_box(20, elevation, (0.3, 0.3, 0.05)), NODES),
        np.maximum(np.abs(along[..., 0] - 0.25) - 0.05, np.abs(along[..., 2]) - 0.45) + 0 * z,
    )
    for field in (can, ball, chair):
        field = field.astype(np.float32)
        assert upright_box(field, _outline(field), elevation) is None


def test_a_boxs_field_is_its_signed_distance():
    box = _box(0, 0, (0.5, 0.4, 0.3))
    field = box_field(box, 65)
    line = np.linspace(-1, 1, 65)
    i, j, k = (int(np.abs(line - v).argmin()) for v in (0.75, 0.0, 0.0))
    assert field[i, j, k] == pytest.approx(line[i] - 0.53, abs=1e-6)
    assert field.min() == pytest.approx(-0.3, abs=0.02)


def test_an_empty_photo_shows_no_box():
    assert upright_box(np.ones((8, 8, 8), np.float32), np.zeros((256, 256), np.float32), 0.0) is None


def test_a_hidden_face_has_the_colour_of_the_one_opposite():
    box, colors = _box(30, 20), ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    shown = drawn(box, colors=colors)[..., :3].astype(np.float32) / 255
    far = opposite_colours(box, shown, 1.0, 128)
    for axis in range(3):
        hidden = box.middle - np.sign(box.axes[axis, 2]) * box.halves[axis] * box.axes[axis]
        row, column = int((1 - hidden[1]) * 64), int((hidden[0] + 1) * 64)
        assert np.allclose(far[row, column], np.array(colors[axis]) / 255, atol=0.05)


@pytest.mark.parametrize("faces", [12, 100, 20_000])
def test_the_mesh_of_a_box_is_closed_and_nothing_of_it_lies_off_the_box(faces):
    box = crate(30.0, 20.0, (0.39, 0.22, 0.28))
    vertices, triangles = box_mesh(box, faces)
    assert 12 <= len(triangles) <= faces and is_closed(triangles)
    assert volume(vertices, triangles) == pytest.approx(8 * np.prod(box.halves))  # outwards, or it were negative
    assert off_box(box, vertices) == pytest.approx(0, abs=1e-12)
    left_handed = UprightBox(box.middle, box.halves, box.axes[[1, 0, 2]])
    assert volume(*box_mesh(left_handed, faces)) > 0


def test_the_distance_to_a_box_is_that_of_its_field_inside_and_outside():
    box = crate(30.0, 20.0, (0.39, 0.22, 0.28))
    line = np.linspace(-1, 1, 24)
    place = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)
    found = off_box(box, place.reshape(-1, 3)).reshape(24, 24, 24)
    assert found == pytest.approx(np.abs(box_field(box, 24)), abs=1e-6)


def test_a_box_goes_through_its_numbers():
    box = crate(30.0, 20.0, (0.39, 0.22, 0.28))
    assert all(np.array_equal(a, b) for a, b in zip(box, UprightBox.of(box.numbers), strict=True))

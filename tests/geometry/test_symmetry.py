"""Mirror planes: found where a body has one, refused where it has none, and what they complete."""

import numpy as np
import pytest

from img2mv3d.geometry.hull import mask_distance
from img2mv3d.geometry.symmetry import completed, mirror_plane, mirrored

NODES = 64
LINE = np.linspace(-1, 1, NODES)
X, Y, Z = np.meshgrid(LINE, LINE, LINE, indexing="ij")


def _turned_box(degrees: float) -> np.ndarray:
    """A wedge that is 0.9 long along its own x axis and has its mirror plane across its own z axis."""
    turn = np.radians(degrees)
    along, across = X * np.cos(turn) - Z * np.sin(turn), X * np.sin(turn) + Z * np.cos(turn)
    tall = 0.3 + 0.2 * along  # higher at one end: no second plane
    return np.maximum.reduce([np.abs(along) - 0.45, np.abs(across) - 0.15, np.abs(Y) - tall]).astype(np.float32)


def _outline(field: np.ndarray) -> np.ndarray:
    seen = (field < 0).any(2).T[::-1].astype(np.float32)
    return mask_distance(np.kron(seen, np.ones((4, 4), np.float32))) * (2 / (4 * NODES))


@pytest.mark.parametrize("degrees", [0.0, 30.0, 66.0, 120.0])
def test_a_wedge_turned_about_the_upright_axis_has_its_plane_there(degrees: float):
    field = _turned_box(degrees)
    plane = mirror_plane(field, _outline(field), 0.0)
    normal = np.array([np.sin(np.radians(degrees)), 0, np.cos(np.radians(degrees))])
    assert plane is not None and plane.iou > 0.8
    assert abs(plane.normal @ normal) > np.cos(np.radians(4)) and abs(plane.offset) < 0.04


def test_a_plane_leans_with_the_photos_elevation():
    sin, cos = np.sin(np.radians(20)), np.cos(np.radians(20))
    upright, depth = cos * Y + sin * Z, -sin * Y + cos * Z
    field = np.maximum.reduce([np.abs(X) - 0.5 - 0.3 * upright, np.abs(upright) - 0.4, np.abs(depth) - 0.2])
    plane = mirror_plane(field.astype(np.float32), _outline(field), 20.0)
    assert plane is not None and abs(plane.normal @ (0, cos, sin)) < 0.01


def test_a_spiral_has_no_plane():
    radius, angle = np.hypot(X, Z), np.arctan2(Z, X)
    field = np.maximum(np.abs(radius - 0.15 - 0.1 * (angle + np.pi)) - 0.06, np.abs(Y) - 0.4)
    assert mirror_plane(field.astype(np.float32), _outline(field), 0.0) is None


def test_what_one_half_lacks_comes_from_the_other_within_the_outline():
    whole = _turned_box(90.0)  # its plane is x = 0, its long axis the line of sight
    bitten = np.maximum(whole, 0.1 - np.hypot(X - 0.15, Z + 0.2)).astype(np.float32)
    outside = _outline(whole)
    plane = mirror_plane(bitten, outside, 0.0)
    assert plane is not None
    mended = completed(bitten, outside, plane)
    assert ((mended < 0) ^ (whole < 0)).sum() < 0.25 * ((bitten < 0) ^ (whole < 0)).sum()
    assert not ((mended < 0).any(2) & ~(whole < 0).any(2)).any()


def test_mirroring_twice_changes_nothing():
    plane = mirror_plane(_turned_box(30.0), _outline(_turned_box(30.0)), 0.0)
    points = np.random.default_rng(0).normal(size=(50, 3))
    assert plane is not None and np.allclose(mirrored(mirrored(points, plane), plane), points)


def test_a_front_gets_no_plane_that_would_give_it_a_second_face():
    for degrees in (30.0, 45.0, 75.0):  # of the wedge's plane from the line of sight
        field = _turned_box(degrees)
        plane = mirror_plane(field, _outline(field), 0.0, frontal=True)
        assert plane is None or abs(plane.normal[0]) > np.cos(np.radians(52))
    assert plane is not None and plane.iou > 0.8


def test_a_told_plane_is_taken_whatever_the_body_looks_like():
    radius, angle = np.hypot(X, Z), np.arctan2(Z, X)
    spiral = np.maximum(np.abs(radius - 0.15 - 0.1 * (angle + np.pi)) - 0.06, np.abs(Y) - 0.4).astype(np.float32)
    plane = mirror_plane(spiral, _outline(spiral), 0.0, near_deg=40.0)
    assert plane is not None and abs(plane.turn_deg - 40) <= 8
    assert plane.numbers[0] == pytest.approx(np.cos(np.radians(plane.turn_deg)))


def test_what_the_photo_says_decides_between_planes_that_fit_alike():
    box = np.maximum.reduce([np.abs(X) - 0.4, np.abs(Z) - 0.25, np.abs(Y) - 0.3]).astype(np.float32)
    for chosen in (0, 15):  # across and along
        chances = np.full(30, 0.05)
        chances[chosen] = 0.9
        plane = mirror_plane(box, _outline(box), 0.0, chances=chances)
        assert plane is not None
        assert abs((plane.turn_deg - 6 * chosen + 90) % 180 - 90) <= 3

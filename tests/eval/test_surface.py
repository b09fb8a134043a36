"""Surfaces are compared by what can be seen of them."""

import numpy as np
import pytest
import trimesh

from img2mv3d.eval.surface import compare_meshes, seen_by, surface_score, visible_points, visible_surface
from img2mv3d.geometry.cameras import Rig


def _sphere(radius: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return mesh.vertices.copy(), mesh.faces.copy()


def test_a_surface_equals_itself_up_to_sampling():
    score = compare_meshes(_sphere(), _sphere(), np.random.default_rng(0), samples=8000)
    assert score.f_score[0.01] > 0.9 and score.f_score[0.02] > 0.999  # the points are 0.01 of the diagonal apart
    assert score.chamfer < 0.006 and score.diagonal == pytest.approx(3**0.5, rel=0.01)


def test_the_distance_of_two_spheres_is_that_of_their_radii():
    score = compare_meshes(_sphere(0.52), _sphere(0.5), np.random.default_rng(0), samples=8000)
    assert score.chamfer == pytest.approx(0.02 / 3**0.5, rel=0.15)
    assert score.f_score[0.01] == 0 and score.f_score[0.02] > 0.97


def test_what_nobody_sees_does_not_count():
    (v1, f1), (v2, f2) = _sphere(0.5), _sphere(0.3)
    nested = np.concatenate([v1, v2]), np.concatenate([f1, f2 + len(v1)])
    points = visible_points(*nested, np.random.default_rng(0), samples=8000)
    assert np.linalg.norm(points, axis=1).min() > 0.49
    assert compare_meshes(nested, _sphere(), np.random.default_rng(1), samples=8000).f_score[0.02] > 0.998


def test_winding_and_scale_do_not_matter():
    vertices, faces = _sphere()
    flipped = faces.copy()
    flipped[::2] = flipped[::2, ::-1]
    points = visible_points(vertices * 200, flipped, np.random.default_rng(0), samples=4000)
    assert len(points) == 4000
    assert np.linalg.norm(points, axis=1) == pytest.approx(100, rel=0.01)


def test_missing_half_costs_recall_and_not_precision():
    vertices, faces = _sphere()
    half = faces[(vertices[faces][..., 0] < 0).all(1)]
    score = compare_meshes((vertices, half), (vertices, faces), np.random.default_rng(0), samples=8000)
    assert score.precision[0.02] > 0.99 and 0.4 < score.recall[0.02] < 0.6


def test_a_part_is_judged_by_its_own_points_and_by_those_found_next_to_it():
    """The right half is found 0.02 of the diagonal too far out, the left half exactly."""
    points = visible_points(*_sphere(0.5), np.random.default_rng(0), samples=8000)
    right = points[:, 0] > 0
    moved = points * np.where(right, 1 + 0.02 * 3**0.5 / 0.5, 1.0)[:, None]
    wrong, sound = (surface_score(moved, points, part=part) for part in (right, ~right))
    assert sound.f_score[0.01] == 1 and sound.missing < 1e-9
    assert wrong.f_score[0.01] < 0.1 and wrong.missing == pytest.approx(0.02, rel=0.1)
    assert surface_score(moved, points).missing == pytest.approx(right.mean() * wrong.missing, rel=1e-6)


def test_a_part_that_nothing_was_found_of_scores_nothing():
    points = visible_points(*_sphere(0.5), np.random.default_rng(0), samples=4000)
    right = points[:, 0] > 0
    score = surface_score(points[~right & (points[:, 0] < -0.1)], points, part=right)
    assert score.f_score[0.01] == 0 and score.missing > 0.05
    with pytest.raises(ValueError):
        surface_score(points, points, part=np.zeros(len(points), bool))


def test_points_know_the_face_that_they_lie_on():
    surface = visible_surface(*_sphere(), np.random.default_rng(0), samples=2000)
    out = surface.points / np.linalg.norm(surface.points, axis=1, keepdims=True)
    assert (surface.normals * out).sum(1) == pytest.approx(1, abs=5e-3)


def test_a_camera_sees_its_own_side_only():
    vertices, faces = _sphere()
    surface = visible_surface(vertices, faces, np.random.default_rng(0), samples=2000)
    front = Rig(("front",), (0.0,), (0.0,))
    seen = seen_by(surface, vertices, faces, front)
    assert (seen == (surface.normals[:, 2] > 0.05)).mean() > 0.99
    with pytest.raises(ValueError, match="orthographic"):
        seen_by(surface, vertices, faces, Rig(("one",), (0.0,), (0.0,), "perspective", 2.0, 3.0))


def test_nothing_found_scores_nothing():
    empty = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    score = compare_meshes(empty, _sphere(), np.random.default_rng(0), samples=8000)
    assert score.f_score == {0.01: 0.0, 0.02: 0.0, 0.05: 0.0} and score.chamfer == float("inf")
    with pytest.raises(ValueError):
        surface_score(np.zeros((0, 3)), np.zeros((0, 3)))

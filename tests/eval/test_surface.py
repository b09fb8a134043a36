"""Surfaces are compared by what can be seen of them."""

import numpy as np
import pytest
import trimesh

from img2mv3d.eval.surface import (
    SurfaceScore,
    surface_score,
    visible_points,
    visible_surface,
    volume_iou,
)


def _sphere(radius: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return mesh.vertices.copy(), mesh.faces.copy()


def compare(found: tuple, truth: tuple, seed: int = 0) -> SurfaceScore:
    rng = np.random.default_rng(seed)
    points = visible_points(*truth, rng, 8000)
    return surface_score(visible_points(*found, rng, 8000), points)


def test_a_surface_equals_itself_up_to_sampling():
    score = compare(_sphere(), _sphere())
    assert score.f_score[0.01] > 0.9 and score.f_score[0.02] > 0.999  # the points are 0.01 of the diagonal apart
    assert score.chamfer < 0.006 and score.diagonal == pytest.approx(3**0.5, rel=0.01)


def test_the_distance_of_two_spheres_is_that_of_their_radii():
    score = compare(_sphere(0.52), _sphere(0.5))
    assert score.chamfer == pytest.approx(0.02 / 3**0.5, rel=0.15)
    assert score.f_score[0.01] == 0 and score.f_score[0.02] > 0.97


def test_what_nobody_sees_does_not_count():
    (v1, f1), (v2, f2) = _sphere(0.5), _sphere(0.3)
    nested = np.concatenate([v1, v2]), np.concatenate([f1, f2 + len(v1)])
    points = visible_points(*nested, np.random.default_rng(0), samples=8000)
    assert np.linalg.norm(points, axis=1).min() > 0.49
    assert compare(nested, _sphere()).f_score[0.02] > 0.998


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
    score = compare((vertices, half), (vertices, faces))
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


def test_nothing_found_scores_nothing():
    empty = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    score = compare(empty, _sphere())
    assert score.f_score == {0.01: 0.0, 0.02: 0.0, 0.05: 0.0} and score.chamfer == float("inf")
    with pytest.raises(ValueError):
        surface_score(np.zeros((0, 3)), np.zeros((0, 3)))


def test_the_volumes_of_two_spheres_overlap_as_computed():
    small, large = _sphere(0.4), _sphere(0.5)
    assert volume_iou(large, large) == 1
    assert volume_iou(small, large) == pytest.approx(0.8**3, abs=0.02)
    flipped = large[0], large[1][:, ::-1]
    assert volume_iou(flipped, large) == 1
    assert volume_iou((np.zeros((0, 3)), np.zeros((0, 3), np.int64)), large) == 0

"""Surfaces are compared by what can be seen of them."""

import numpy as np
import pytest
import trimesh

from img2mv3d.eval.surface import compare_meshes, surface_score, visible_points


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


def test_nothing_found_scores_nothing():
    empty = np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    score = compare_meshes(empty, _sphere(), np.random.default_rng(0), samples=8000)
    assert score.f_score == {0.01: 0.0, 0.02: 0.0} and score.chamfer == float("inf")
    with pytest.raises(ValueError):
        surface_score(np.zeros((0, 3)), np.zeros((0, 3)))

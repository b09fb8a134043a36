"""Rays meet faces where geometry says, from either side."""

import numpy as np
import pytest

from img2mv3d.data.raycast import Raycaster, sphere_directions

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32), np.array([[0, 1, 2]], np.int32)


def test_first_hits_have_length_and_corner_weights():
    origin = np.array([[0.2, 0.3, 2.0], [0.2, 0.3, -1.0], [0.9, 0.9, 1.0]])
    direction = np.array([[0, 0, -1.0], [0, 0, 1.0], [0, 0, -1.0]])
    hits = Raycaster(*TRIANGLE).first(origin, direction)
    assert hits.face.tolist() == [0, 0, -1]
    assert hits.t[:2] == pytest.approx([2, 1], abs=1e-5) and np.isinf(hits.t[2])
    assert hits.u[0] == pytest.approx(0.2, abs=1e-5) and hits.v[0] == pytest.approx(0.3, abs=1e-5)


def test_blocked_says_whether_anything_was_hit():
    origin = np.array([[0.2, 0.3, 2.0], [0.2, 0.3, 2.0]])
    direction = np.array([[0, 0, -1.0], [0, 0, 1.0]])
    assert Raycaster(*TRIANGLE).blocked(origin, direction).tolist() == [True, False]


def test_no_rays_give_no_hits():
    none = np.zeros((0, 3))
    world = Raycaster(*TRIANGLE)
    assert len(world.first(none, none).face) == 0 and len(world.blocked(none, none)) == 0


def test_directions_are_unit_and_balanced():
    directions = sphere_directions(48)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    assert np.abs(directions.mean(0)).max() < 0.03

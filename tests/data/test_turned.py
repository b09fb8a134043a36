"""Turned bodies: round, closed or open at the top, and as the outline's revolution says."""

import numpy as np

from img2mv3d.data.turned import random_profile, turned_part


def test_a_turned_body_looks_the_same_from_every_side():
    for seed in range(3):
        part = turned_part(np.random.default_rng(seed))
        radius = np.hypot(part.mesh.vertices[:, 0], part.mesh.vertices[:, 2]).reshape(-1, 40)
        assert np.ptp(radius, axis=1).max() < 1e-5
        assert np.linalg.norm(part.mesh.vertices, axis=1).max() < 0.5001
        turned = part.solid.transpose(2, 1, 0)[:, :, ::-1]  # by a quarter
        assert (part.solid & turned).sum() / (part.solid | turned).sum() > 0.9


def test_outlines_begin_and_end_on_the_axis_and_some_are_hollow():
    hollow = 0
    for seed in range(40):
        radius, height = random_profile(np.random.default_rng(seed))
        assert radius[0] == radius[-1] == 0 and (radius[1:-1] > 0).all()
        hollow += height[-1] < height.max() - 1e-6
    assert 5 < hollow < 25

"""The depth's confidence: its signs mean what they say, and it falls where the depth is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world, sample_grid
from img2mv3d.neus.confidence import NAMES, WEIGHTS, confidence, features
from img2mv3d.neus.render import render_views

SIZE = 128
BALL = Sphere(radius=0.6)


@pytest.fixture(scope="module")
def ball():
    """(rendering, normals, masks) that agree."""
    _, normal, mask, _ = render_world(BALL, SIX_VIEWS, SIZE)
    return render_views(sample_grid(BALL, 96), SIX_VIEWS, SIZE), normal, mask


def _sign(name, seen, normal, mask):
    return features(seen, normal, mask, SIX_VIEWS)[..., NAMES.index(name)]


def test_there_is_a_weight_for_every_sign_and_a_constant():
    assert len(WEIGHTS) == len(NAMES) + 1


def test_where_everything_agrees_no_sign_shows(ball):
    _seen, _normal, _mask = ball
    centre = np.s_[:, 54:74, 54:74]
    assert _sign("normal", *ball)[centre].max() < 0.01
    assert _sign("normals of the view", *ball).max() < 0.01
    assert _sign("grazing", *ball)[centre].max() < 0.1
    assert _sign("outline", *ball)[centre].max() < 0.01
    assert not _sign("no normal", *ball)[centre].any()


def test_a_point_on_the_equator_is_seen_by_its_neighbours_and_one_behind_all_by_none(ball):
    _seen, _normal, _mask = ball
    others = _sign("seen by others", *ball)
    assert others[0, 64, 64] == 1  # front: both diagonal views see it
    assert others[3, 64, 64] == 0  # back: no other view of the six reaches it
    assert others[3, 64, 30] > 0  # the back's rim: a side view does


def test_normals_that_disagree_are_noticed_there_and_around(ball):
    seen, normal, mask = ball
    turned = normal.copy()
    turned[0, 40:60, 40:60] = (1, 0, 0)
    there, around = _sign("normal", seen, turned, mask)[0], _sign("normals around", seen, turned, mask)[0]
    assert there[50, 50] > 0.3 and there[90, 90] < 0.01
    assert around[50, 62] > 5 * around[92, 64]
    assert confidence(seen, turned, mask, SIX_VIEWS)[0, 50, 50] < confidence(seen, normal, mask, SIX_VIEWS)[0, 50, 50]


def test_confidence_is_a_probability_and_nothing_where_nothing_is_hit(ball):
    seen, normal, mask = ball
    chance = confidence(seen, normal, mask, SIX_VIEWS)
    assert chance.dtype == np.float32 and chance.shape == mask.shape
    assert (chance[seen.opacity == 0] == 0).all() and 0 < chance[seen.opacity > 0].min() <= chance.max() <= 1


def test_an_exact_ball_is_trusted_and_wrong_outlines_are_not(ball):
    seen, normal, mask = ball
    good = confidence(seen, normal, mask, SIX_VIEWS)[0]
    bad = confidence(seen, normal, np.roll(mask, 12, axis=2), SIX_VIEWS)[0]
    assert good[64, 64] > 0.7
    assert bad[mask[0] > 0.5].mean() < good[mask[0] > 0.5].mean()

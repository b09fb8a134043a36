"""Opposite views: which they are, how their outlines agree, and what colour fills what agreement adds."""

from __future__ import annotations

import numpy as np

from img2mv3d.geometry.antipodal import antipodal_views, inpaint_nearest, symmetrised_silhouettes
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.sdf import Box, Capsule, render_world

SIZE = 96
CHAIR = Box((0.05, -0.1, 0), (0.3, 0.05, 0.35), 30) | Capsule((0.2, 0.1, -0.3), (0.1, 0.6, -0.3), 0.08)


def _masks():
    return render_world(CHAIR, SIX_VIEWS, SIZE)[2]


def test_front_and_back_and_the_two_sides_are_opposite():
    names = [(SIX_VIEWS.names[i], SIX_VIEWS.names[j]) for i, j in antipodal_views(SIX_VIEWS)]
    assert names == [("front", "back"), ("right", "left")]


def test_neither_perspective_nor_tilted_views_are():
    two = ("front", "back")
    assert antipodal_views(Rig(two, (0.0, 180.0), (0.0, 0.0), kind="perspective", distance=3.0)) == []
    assert antipodal_views(Rig(two, (0.0, 180.0), (20.0, 20.0))) == []


def test_true_silhouettes_stay_as_they_are():
    masks = _masks()
    assert np.abs(symmetrised_silhouettes(masks, SIX_VIEWS, known=True) - masks)[masks > 0.5].max() < 0.02
    assert ((symmetrised_silhouettes(masks, SIX_VIEWS, known=False) > 0.5) == (masks > 0.5)).all()


def test_the_back_takes_over_the_photos_outline():
    masks, wrong = _masks(), _masks()
    wrong[3] = np.roll(wrong[3], 9, axis=1) * (np.arange(SIZE) < 60)
    agreed = symmetrised_silhouettes(wrong, SIX_VIEWS, known=True)
    assert (agreed[3] == masks[0][:, ::-1]).all()
    assert (agreed[0] == masks[0]).all()


def test_the_sides_meet_half_way():
    masks = _masks()
    masks[2], masks[4] = 0, 0
    masks[2, 20:60, 30:50] = 1
    masks[4, 20:60, SIZE - 46 : SIZE - 30] = 1  # seen from the right: columns 30 to 46
    agreed = symmetrised_silhouettes(masks, SIX_VIEWS, known=True)
    columns = np.flatnonzero(agreed[2, 40] > 0.5)
    assert (columns[0], columns[-1] + 1) == (30, 48)
    assert (agreed[4] == agreed[2][:, ::-1]).all()
    assert (agreed[[1, 5]] == masks[[1, 5]]).all()


def test_a_view_that_shows_nothing_has_no_say():
    masks = _masks()
    masks[4] = 0
    agreed = symmetrised_silhouettes(masks, SIX_VIEWS, known=True)
    assert (agreed[2] == masks[2]).all()
    assert not agreed[4].any()


def test_what_is_added_takes_the_nearest_colour():
    color = np.ones((1, 4, 6, 3))
    color[0, :, :2], color[0, :, 2] = (1, 0, 0), (0, 0, 1)
    shown = np.zeros((1, 4, 6), bool)
    shown[0, :, :3] = True
    wanted = np.zeros_like(shown)
    wanted[0, :, :5] = True
    filled = inpaint_nearest(color, shown, wanted)
    assert (filled[0, :, 3:5] == (0, 0, 1)).all()
    assert (filled[0, :, 5] == 1).all()
    assert (filled[0, :, :3] == color[0, :, :3]).all()


def test_without_anything_shown_nothing_is_invented():
    color = np.full((1, 4, 4, 3), 0.3)
    nothing, everything = np.zeros((1, 4, 4), bool), np.ones((1, 4, 4), bool)
    assert (inpaint_nearest(color, nothing, everything) == color).all()

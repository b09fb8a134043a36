"""Views that were moved or scaled are found out by what the others show; exact ones stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.fit.alignment import Placement, placements, realigned, realigned_normals
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.sdf import Box, Sphere, render_world

SIZE = 256
EXACT = [Placement()] * 6
STOOL = Box((0, -0.3, 0.05), (0.4, 0.1, 0.25)) | Box((-0.2, 0.1, 0), (0.05, 0.4, 0.1)) | Sphere((0.1, -0.1, 0.2), 0.25)


@pytest.fixture(scope="module")
def exact():
    _, normal, mask, _ = render_world(STOOL, SIX_VIEWS, SIZE)
    return mask, normal


def _rolled(mask, view, down, right):
    out = mask.copy()
    out[view] = np.roll(mask[view], (down, right), (0, 1))
    return out


def test_exact_views_stay_bit_for_bit(exact):
    mask, normal = exact
    assert placements(mask, SIX_VIEWS) == EXACT
    assert np.array_equal(realigned(mask, EXACT), mask) and np.array_equal(realigned_normals(normal, EXACT), normal)


@pytest.mark.parametrize("view", range(1, 6))
def test_a_view_that_was_moved_up_or_down_is_found(exact, view):
    found = placements(_rolled(exact[0], view, 3, 0), SIX_VIEWS)
    assert found[view] == Placement(1.0, 0.0, 3.0)
    assert all(p == Placement() for i, p in enumerate(found) if i != view)


def test_the_back_is_laid_on_the_fronts_mirror_image(exact):
    worse = _rolled(exact[0], 3, -2, 2)
    found = placements(worse, SIX_VIEWS)
    assert found[3] == Placement(1.0, 2.0, -2.0)
    assert np.array_equal(realigned(worse, found), exact[0])


def test_a_pair_of_side_views_meets_half_way(exact):
    found = placements(_rolled(exact[0], 2, 0, 4), SIX_VIEWS)
    assert found[2].right == found[4].right == 2.0  # seen from behind, to the right is to the left: they part by four


def test_a_diagonal_view_is_brought_to_where_the_others_leave_room():
    mask = render_world(Box((0, 0, 0), (0.4, 0.5, 0.4)), SIX_VIEWS, SIZE)[2]
    found = placements(_rolled(mask, 1, 0, 3), SIX_VIEWS)
    assert abs(found[1].right - 3) <= 1 and found[1].down == 0


def test_a_view_that_is_too_large_is_made_smaller(exact):
    mask, normal = exact
    worse, turned = realigned(mask, [Placement()] * 5 + [Placement(1 / 1.03)]), normal.copy()
    found = placements(worse, SIX_VIEWS)[5]
    assert found.scale == pytest.approx(1.03, abs=0.005)
    mended = realigned(worse, [Placement()] * 5 + [found])
    assert np.abs(mended[5] - mask[5]).mean() < 0.5 * np.abs(worse[5] - mask[5]).mean()
    length = np.linalg.norm(realigned_normals(turned, [Placement()] * 5 + [found]), axis=-1)
    assert np.all((np.abs(length - 1) < 1e-5) | (length == 0))


def test_a_view_that_shows_less_than_the_front_is_not_stretched(exact):
    worse = exact[0].copy()
    worse[1, SIZE // 2 :] = 0
    worse[5] = 0
    found = placements(worse, SIX_VIEWS)
    assert found[1].scale == 1 and found[1].down == 0 and found[5] == Placement()


def test_a_sheet_seen_edge_on_stays_as_strong_as_it_was():
    mask = np.zeros((6, SIZE, SIZE), np.float32)
    mask[[0, 3], 60:200, 70:186], mask[[1, 5], 60:200, 87:169] = 1, 1
    mask[[2, 4], 60:200, 127:129] = 0.2
    worse = _rolled(mask, 2, 2, 0)
    found = placements(worse, SIX_VIEWS)
    assert found[2] == Placement(1.0, 0.0, 2.0)
    assert np.array_equal(realigned(worse, found), mask)


def test_other_rigs_are_left_alone(exact):
    tilted = Rig(elevation_deg=(10.0,) * 6)
    odd = Rig(azimuth_deg=(0.0, 40.0, 90.0, 180.0, -90.0, -45.0))
    worse = _rolled(exact[0], 3, 0, 3)
    assert placements(worse, tilted) == placements(worse, odd) == EXACT

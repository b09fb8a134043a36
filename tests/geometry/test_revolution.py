"""Outlines from the side by the front's alone: a ball is met exactly, thin parts stay, what is told is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.hull import carve
from img2mv3d.geometry.revolution import apply_revolution_prior, revolved_silhouette
from img2mv3d.geometry.sdf import Box, Capsule, Sphere, render_world

SIZE = 96
SIDES = (1, 2, 4, 5)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a > 0.5) & (b > 0.5)).sum() / ((a > 0.5) | (b > 0.5)).sum())


def test_a_ball_is_round_from_every_side() -> None:
    mask = render_world(Sphere((0, 0.1, 0), 0.5), SIX_VIEWS, SIZE)[2]
    for view in SIDES:
        assert iou(revolved_silhouette(mask[0], SIX_VIEWS.azimuth_deg[view]), mask[view]) > 0.97


def test_an_upright_tube_beside_the_middle_moves_with_the_angle() -> None:
    mask = render_world(Capsule((0.4, -0.5, 0), (0.4, 0.5, 0), 0.1), SIX_VIEWS, SIZE)[2]
    for view in SIDES:
        assert iou(revolved_silhouette(mask[0], SIX_VIEWS.azimuth_deg[view]), mask[view]) > 0.85  # half a pixel of ten


def test_share_0_changes_nothing_and_share_1_asks_no_generator() -> None:
    mask = render_world(Box((0, 0, 0), (0.3, 0.4, 0.1), 20), SIX_VIEWS, SIZE)[2]
    assert (apply_revolution_prior(mask, SIX_VIEWS, 0.0) == mask).all()
    found = apply_revolution_prior(mask, SIX_VIEWS, 1.0)
    for view in SIDES:
        assert iou(found[view], revolved_silhouette(mask[0], SIX_VIEWS.azimuth_deg[view])) > 0.97


@given(share=st.floats(0, 1))
def test_the_photos_outline_and_its_back_are_never_touched(share: float) -> None:
    mask = np.random.default_rng(0).random((6, 16, 16)).astype(np.float32)
    found = apply_revolution_prior(mask, SIX_VIEWS, share)
    assert (found[0] == mask[0]).all() and (found[3] == mask[3]).all()
    assert found.min() >= 0 and found.max() <= 1


def test_half_way_lies_between_the_two() -> None:
    mask = render_world(Box((0, 0, 0), (0.2, 0.4, 0.5)), SIX_VIEWS, SIZE)[2]
    width = [
        int((apply_revolution_prior(mask, SIX_VIEWS, share)[2] > 0.5)[SIZE // 2].sum()) for share in (0.0, 0.5, 1.0)
    ]
    assert width[0] > width[1] > width[2] and width[1] == pytest.approx((width[0] + width[2]) / 2, abs=2)


def test_rows_that_a_view_leaves_empty_are_filled_by_the_guess_at_any_share() -> None:
    mask = render_world(Sphere((0, 0, 0), 0.5), SIX_VIEWS, SIZE)[2]
    low = mask.copy()
    low[2, : SIZE * 3 // 8] = 0
    found = apply_revolution_prior(low, SIX_VIEWS, 0.1)[2, : SIZE * 3 // 8]
    assert iou(found, mask[2, : SIZE * 3 // 8]) > 0.95


def test_a_handle_that_the_side_views_leave_out_is_no_longer_carved_off() -> None:
    cup, handle = Capsule((0, -0.3, 0), (0, 0.2, 0), 0.25), Capsule((0.45, 0.25, 0), (0.45, 0.6, 0), 0.06)
    whole = render_world(cup | handle, SIX_VIEWS, SIZE)[2]
    given_views = render_world(cup, SIX_VIEWS, SIZE)[2]
    given_views[[0, 3]] = whole[[0, 3]]

    def handle_nodes(mask: np.ndarray) -> int:
        return int((carve(mask, SIX_VIEWS, 64)[44:, 42:48] < 0).sum())  # x above 0.39, y from 0.33 to 0.5

    assert handle_nodes(given_views) == 0
    assert handle_nodes(apply_revolution_prior(given_views, SIX_VIEWS, 1.0)) > 0


def test_views_that_show_nothing_and_other_rigs_are_left_alone() -> None:
    mask = render_world(Sphere((0, 0, 0), 0.5), SIX_VIEWS, SIZE)[2]
    mask[2] = 0
    assert (apply_revolution_prior(mask, SIX_VIEWS, 1.0)[2] == 0).all()
    tilted = Rig(("front", "right"), (0.0, 90.0), (20.0, 20.0))
    assert (apply_revolution_prior(mask[:2], tilted, 1.0) == mask[:2]).all()


def test_a_share_outside_of_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match=r"share 1\.5"):
        apply_revolution_prior(np.ones((6, 8, 8), np.float32), SIX_VIEWS, 1.5)

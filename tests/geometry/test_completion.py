"""What the photo shows is kept: side views that leave a part out give room for it, others stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from img2mv3d.geometry.antipodal import symmetrised_silhouettes
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.completion import complete_silhouettes
from img2mv3d.geometry.hull import carve
from img2mv3d.geometry.sdf import Box, Capsule, render_world

SIZE = 256
BODY = Box((0, -0.2, 0), (0.3, 0.2, 0.25), 30)
KETTLE = BODY | Capsule((-0.2, 0.0, 0), (-0.2, 0.4, 0), 0.05) | Capsule((-0.2, 0.4, 0), (0.2, 0.4, 0), 0.05)


@pytest.fixture(scope="module")
def exact():
    return render_world(KETTLE, SIX_VIEWS, SIZE)[2]


@pytest.fixture(scope="module")
def without_handle():
    """Only front and back show the handle."""
    masks, bare = (render_world(solid, SIX_VIEWS, SIZE)[2] for solid in (KETTLE, BODY))
    return np.stack([masks[i] if i in (0, 3) else bare[i] for i in range(6)])


def _share_filled(masks: np.ndarray) -> float:
    """Of the front silhouette, the share that the hull of all masks fills, on a grid of 64 nodes."""
    wanted = masks[0].reshape(64, 4, 64, 4).mean((1, 3)) > 0.5
    filled = (carve(masks, SIX_VIEWS, 64) < 0).any(axis=2).T[::-1]
    return float((filled & wanted).sum() / wanted.sum())


def test_exact_silhouettes_hardly_change(exact):
    assert ((complete_silhouettes(exact, SIX_VIEWS) > 0.5) != (exact > 0.5)).mean() < 2e-3


def test_a_part_that_the_sides_leave_out_comes_back(without_handle, exact):
    assert _share_filled(without_handle) < _share_filled(exact) - 0.1
    assert _share_filled(complete_silhouettes(without_handle, SIX_VIEWS)) > _share_filled(exact) - 0.01


def test_front_and_back_stay_and_no_view_loses_anything(without_handle):
    kept = complete_silhouettes(without_handle, SIX_VIEWS)
    assert (kept[0] == without_handle[0]).all()
    assert (kept >= without_handle).all()


def test_views_that_agreed_still_do(without_handle):
    kept = complete_silhouettes(symmetrised_silhouettes(without_handle, SIX_VIEWS, known=True), SIX_VIEWS)
    assert ((kept[2] > 0.5) != (kept[4][:, ::-1] > 0.5)).mean() < 2e-3


def test_one_view_that_lacks_it_is_overruled_where_the_others_show_it(exact):
    wrong = exact.copy()
    wrong[1, : SIZE // 2] = 0  # front right shows no handle
    grown = complete_silhouettes(wrong, SIX_VIEWS)[1]
    strange = (grown > 0.5) & (exact[1] < 0.5)
    assert _share_filled(complete_silhouettes(wrong, SIX_VIEWS)) > _share_filled(exact) - 0.01
    assert strange.sum() < 0.25 * (exact[1] > 0.5).sum()


@pytest.mark.parametrize(
    "rig",
    [
        Rig(("front", "right"), (0.0, 90.0), (0.0, 0.0), kind="perspective", distance=3.0),
        Rig(("front", "right"), (0.0, 90.0), (0.0, 20.0)),
    ],
)
def test_rigs_whose_rows_are_no_rays_are_left_alone(rig, exact):
    masks = np.stack([exact[0], np.zeros_like(exact[0])])
    assert (complete_silhouettes(masks, rig) == masks).all()


def test_an_empty_photo_or_no_sides_change_nothing(exact):
    assert not complete_silhouettes(np.zeros_like(exact), SIX_VIEWS).any()
    alone = Rig(("front",), (0.0,), (0.0,))
    assert (complete_silhouettes(exact[:1], alone) == exact[:1]).all()


def test_a_sheet_that_fills_no_pixel_of_a_side_view_is_nothing_left_out():
    """The side views are right, and room of six nodes would make a slab of a shower door."""
    mask = np.zeros((6, SIZE, SIZE), np.float32)
    mask[[0, 3], 60:200, 70:186], mask[[1, 5], 60:200, 87:169] = 1, 1
    mask[[2, 4], 60:200, 127:129] = 0.2
    assert np.array_equal(complete_silhouettes(mask, SIX_VIEWS), mask)


def test_views_a_pixel_off_get_no_room(exact):
    moved = np.stack([exact[0], *(np.roll(m, 1, 0) for m in exact[1:])])
    assert ((complete_silhouettes(moved, SIX_VIEWS) > 0.5) != (moved > 0.5)).mean() < 2e-3

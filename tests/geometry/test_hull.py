"""Silhouettes' distances and hulls."""

import numpy as np
import pytest
import torch

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.hull import carve, mask_distance
from img2mv3d.geometry.sdf import Sphere, render_world, sample_grid
from img2mv3d.neus.targets import block_of, hull_field, view_targets


@pytest.mark.parametrize("edge", [10.0, 10.25, 10.5, 10.9])
def test_a_straight_edge_is_found_between_pixels(edge):
    cover = np.clip(edge - np.arange(32), 0, 1).astype(np.float32)
    found = mask_distance(np.broadcast_to(cover, (32, 32)).copy())[16]
    wanted = np.arange(32) + 0.5 - edge
    assert np.abs(found - wanted).max() <= 0.5 + 1e-6
    assert found[int(edge)] == pytest.approx(wanted[int(edge)], abs=1e-5)


def test_masks_without_inside_or_outside_are_far_from_any_edge():
    assert (mask_distance(np.zeros((8, 8), np.float32)) > 8).all()
    assert (mask_distance(np.ones((8, 8), np.float32)) < -8).all()


def test_the_hull_holds_the_solid_and_little_more():
    solid = Sphere((0.1, 0.0, -0.1), 0.5)
    _, _, mask, _ = render_world(solid, SIX_VIEWS, 64)
    found, truth = carve(mask, SIX_VIEWS, 33), sample_grid(solid, 33)
    assert (found[truth < -0.03] < 0).all()
    assert (found < 0).sum() < 1.2 * (truth < 0).sum()


def test_both_ways_to_the_hull_agree():
    _, _, mask, _ = render_world(Sphere((0.1, 0.2, -0.1), 0.45), SIX_VIEWS, 64)
    block = block_of(mask, SIX_VIEWS, 32)
    views = view_targets(np.zeros((*mask.shape, 3), np.float32), mask, SIX_VIEWS, 32)
    for missing in (0, 1):
        fast = hull_field(views, block, missing) * (2 / 31)
        slow = torch.from_numpy(carve(mask, SIX_VIEWS, 32, missing=missing)).permute(1, 0, 2)[block.slices]
        near = slow.abs() < 3 * 2 / 31
        assert (fast - slow)[near].abs().max() < 1e-3


def test_outside_of_a_frame_nothing_is_carved():
    rig = Rig(("near",), (0.0,), (0.0,), width=1.0)
    found = carve(np.ones((1, 16, 16), np.float32), rig, 9)
    assert (found < 0).all()


def test_a_view_that_contradicts_is_overruled_when_one_may_be_missing():
    _, _, mask, _ = render_world(Sphere(radius=0.4), SIX_VIEWS, 48)
    mask = mask.copy()
    mask[1] = 0
    assert not (carve(mask, SIX_VIEWS, 17) < 0).any()
    assert (carve(mask, SIX_VIEWS, 17, missing=1) < 0).any()

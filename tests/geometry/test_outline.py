"""Outline maps: runs, revolution and distances are what a ruler says."""

import numpy as np
import pytest

from img2mv3d.geometry.outline import CHANNELS, FRONTAL, SURELY_FRONTAL, outline_maps, revolved, runs, self_overlap


def _disc(size: int, radius: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    return np.hypot(x, y) <= radius


def test_every_run_of_a_row_has_its_own_middle_and_half_width():
    mask = np.zeros((2, 12), bool)
    mask[0, 2:5] = mask[0, 7:12] = True
    middle, half = runs(mask)
    assert np.allclose(middle[0, 2:5], 3.5) and np.allclose(half[0, 2:5], 1.5)
    assert np.allclose(middle[0, 7:12], 9.5) and np.allclose(half[0, 7:12], 2.5)
    assert not middle[1].any() and not half[1].any()


def test_turning_a_disc_gives_a_ball():
    size, radius = 128, 50.0
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    inside = np.hypot(x, y) < radius - 2
    exact = np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    assert np.abs(revolved(_disc(size, radius)) - exact)[inside].max() < 2.5


def test_maps_are_in_world_units_and_mirror_with_the_picture():
    mask = _disc(64, 20).astype(np.float32)
    mask[:, :20] = 0
    maps, turned = outline_maps(mask, 1.28), outline_maps(np.ascontiguousarray(mask[:, ::-1]), 1.28)
    assert maps.shape == (CHANNELS, 64, 64)
    sign = np.ones(CHANNELS)
    sign[1] = -1  # x
    assert np.allclose(maps[:, :, ::-1], turned * sign[:, None, None], atol=1e-6)
    assert maps[1].max() == pytest.approx(0.63) and maps[2, 0, 0] == pytest.approx(0.63)


def test_an_empty_picture_has_no_runs():
    assert not outline_maps(np.zeros((8, 8), np.float32), 1.0)[4:].any()


def test_an_outline_that_is_its_own_mirror_image_is_a_fronts():
    disc = np.roll(_disc(256, 60.0), 30, axis=1).astype(np.float32)  # wherever it stands
    assert self_overlap(disc) > SURELY_FRONTAL
    side = disc.copy()
    side[:, 158:] = 0
    side[100:110, 158:250] = 1  # a beak, or a tail
    for shape, answer in ((disc, True), (side, False)):  # as large as a photo is, and small in it
        large = np.kron(np.pad(shape, (0, 256)), np.ones((3, 3), np.float32))
        assert (self_overlap(large) >= FRONTAL) == answer
    assert self_overlap(side) < FRONTAL and self_overlap(np.zeros_like(disc)) == 0

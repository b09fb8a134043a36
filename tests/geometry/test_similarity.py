"""PSNR and intersection over union by hand."""

import numpy as np
import pytest

from img2mv3d.geometry.similarity import decibels, mask_iou, pixel_iou, psnr


def test_decibels_of_a_tenth_squared_and_of_nothing() -> None:
    assert decibels(0.01) == pytest.approx(20) and decibels(0.0) == float("inf") and decibels(0.0, 100.0) == 100


def test_psnr_counts_the_mask_alone() -> None:
    truth = np.zeros((2, 2, 3), np.float32)
    image = truth.copy()
    image[0, 0] = 0.1
    assert psnr(image, truth, np.eye(2, dtype=np.float32)) == pytest.approx(23.01, abs=0.01)
    with pytest.raises(ValueError, match="empty"):
        psnr(image, truth, np.zeros((2, 2), np.float32))


def test_two_empty_sets_are_one() -> None:
    nothing, half = np.zeros((2, 2), bool), np.eye(2, dtype=bool)
    assert pixel_iou(nothing, nothing) == 1 and pixel_iou(nothing, nothing, empty=0.0) == 0
    assert pixel_iou(half, ~nothing) == 0.5 and mask_iou(half.astype(float), nothing.astype(float)) == 0

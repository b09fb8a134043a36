"""Blurred to another's sharpness: exactly that soft, nothing from outside of the object, and blur does lower warp."""

import numpy as np
import pytest
import torch

from img2mv3d.eval.arms import true_arm
from img2mv3d.eval.cases import Case
from img2mv3d.eval.consistency import measure
from img2mv3d.eval.softened import as_soft_as, sharpness, softened
from tests.patterned import patterned_ball


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def test_the_asked_sharpness_is_reached(ball: Case):
    full = sharpness(ball.truth, ball.mask)
    for share in (0.9, 0.5, 0.1):
        soft = as_soft_as(ball.truth, ball.mask, share * full)
        assert sharpness(soft, ball.mask) == pytest.approx(share * full, rel=0.02)


def test_what_is_soft_enough_stays_as_it_is(ball: Case):
    assert as_soft_as(ball.truth, ball.mask, 2 * sharpness(ball.truth, ball.mask)) is ball.truth


def test_the_background_neither_changes_nor_enters(ball: Case):
    red = np.where(ball.mask[..., None] > 0, np.float32([0.8, 0.1, 0.1]), np.float32(1))
    soft = softened(red, ball.mask, 5.0)
    np.testing.assert_allclose(soft, red, atol=1e-5)


def test_blurred_noise_disagrees_less_though_it_is_in_no_better_place(ball: Case):
    noise = 0.2 * torch.randn(6, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    spoilt = (true_arm(ball) + noise).clamp(0, 1)
    views = spoilt.movedim(1, -1).contiguous().numpy()
    soft = as_soft_as(views, ball.mask, 0.5 * sharpness(views, ball.mask))
    softer = measure(ball, "softer", torch.from_numpy(soft).movedim(-1, 1))
    sharp = measure(ball, "sharp", spoilt)
    assert softer.sharpness == pytest.approx(0.5 * sharp.sharpness, rel=0.02)
    assert softer.warp < 0.7 * sharp.warp

"""Blurred to another's sharpness: exactly that soft, nothing from outside of the object, and blur does lower warp."""

import numpy as np
import pytest
import torch

from img2mv3d.eval.arms import true_arm
from img2mv3d.eval.cases import Case
from img2mv3d.eval.consistency import measure
from experiments.decoder.equal_sharpness import as_soft_as, sharpness, sharpness_by_view, softened
from tests.patterned import patterned_ball


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def test_every_view_reaches_the_sharpness_that_is_asked_of_it(ball: Case):
    asked = sharpness_by_view(ball.truth, ball.mask) * [0.9, 0.7, 0.5, 0.3, 0.1, 0.05]
    soft = as_soft_as(ball.truth, ball.mask, asked)
    np.testing.assert_allclose(sharpness_by_view(soft, ball.mask), asked, rtol=0.02)
    assert sharpness(soft, ball.mask) == pytest.approx(asked.sum(), rel=0.02)


def test_what_is_soft_enough_stays_as_it_is(ball: Case):
    asked = sharpness_by_view(ball.truth, ball.mask) * [2, 0.5, 1, 2, 2, 2]
    soft = as_soft_as(ball.truth, ball.mask, asked)
    same = [np.array_equal(one, other) for one, other in zip(soft, ball.truth, strict=True)]
    assert same == [True, False, True, True, True, True]


def test_the_background_neither_changes_nor_enters(ball: Case):
    red = np.where(ball.mask[..., None] > 0, np.float32([0.8, 0.1, 0.1]), np.float32(1))
    soft = softened(red, ball.mask, 5.0)
    np.testing.assert_allclose(soft, red, atol=1e-5)


def test_blurred_noise_disagrees_less_though_it_is_in_no_better_place(ball: Case):
    noise = 0.2 * torch.randn(6, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    spoilt = (true_arm(ball) + noise).clamp(0, 1)
    views = spoilt.movedim(1, -1).contiguous().numpy()
    soft = as_soft_as(views, ball.mask, 0.5 * sharpness_by_view(views, ball.mask))
    softer = measure(ball, "softer", torch.from_numpy(soft).movedim(-1, 1))
    sharp = measure(ball, "sharp", spoilt)
    assert softer.sharpness == pytest.approx(0.5 * sharp.sharpness, rel=0.02)
    assert softer.warp < 0.7 * sharp.warp

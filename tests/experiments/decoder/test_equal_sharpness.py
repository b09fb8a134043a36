"""Blurred to another's sharpness: exactly that soft, nothing from outside of the object, and blur does lower warp."""

import numpy as np
import pytest

from experiments.decoder.equal_sharpness import as_soft_as, sharpness, sharpness_by_view, softened
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Views
from tests.patterned import patterned_ball


@pytest.fixture(scope="module")
def ball() -> Views:
    return patterned_ball().truth


def test_every_view_reaches_the_sharpness_that_is_asked_of_it(ball: Views):
    asked = sharpness_by_view(ball.color, ball.mask) * [0.9, 0.7, 0.5, 0.3, 0.1, 0.05]
    soft = as_soft_as(ball.color, ball.mask, asked)
    np.testing.assert_allclose(sharpness_by_view(soft, ball.mask), asked, rtol=0.02)
    assert sharpness(soft, ball.mask) == pytest.approx(asked.sum(), rel=0.02)


def test_what_is_soft_enough_stays_as_it_is(ball: Views):
    asked = sharpness_by_view(ball.color, ball.mask) * [2, 0.5, 1, 2, 2, 2]
    soft = as_soft_as(ball.color, ball.mask, asked)
    same = [np.array_equal(one, other) for one, other in zip(soft, ball.color, strict=True)]
    assert same == [True, False, True, True, True, True]


def test_the_background_neither_changes_nor_enters(ball: Views):
    red = np.where(ball.mask[..., None] > 0, np.float32([0.8, 0.1, 0.1]), np.float32(1))
    soft = softened(red, ball.mask, 5.0)
    np.testing.assert_allclose(soft, red, atol=1e-5)


def test_blurred_noise_disagrees_less_though_it_is_in_no_better_place(ball: Views):
    rng, z = np.random.default_rng(0), patterned_ball().z
    sharp = (ball.color + 0.2 * rng.standard_normal(ball.color.shape, np.float32)).clip(0, 1)
    soft = as_soft_as(sharp, ball.mask, 0.5 * sharpness_by_view(sharp, ball.mask))
    errors = [reprojection_error(views, z, ball.mask, SIX_VIEWS) for views in (soft, sharp)]
    assert errors[0] < 0.7 * errors[1]

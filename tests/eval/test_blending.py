"""Views of one body survive being fitted and seen again; views that contradict each other do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from img2mv3d.eval.blending import Fits, multi_view_blending, rerendered
from img2mv3d.eval.methods import surface_of
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world
from img2mv3d.geometry.similarity import mask_iou, psnr
from img2mv3d.neus.options import FitOptions, Level
from img2mv3d.values import Views
from tests.patterned import patterned_ball

LIGHT = FitOptions((Level(32, 40),))  # enough for a ball


@pytest.fixture(scope="module")
def ball() -> Views:
    color, normal, mask, _ = render_world(Sphere(radius=0.5), SIX_VIEWS, 64)
    return Views(color, normal, mask, SIX_VIEWS)


@pytest.fixture(scope="module")
def fits() -> Fits:
    return Fits()


def test_noise_that_differs_from_view_to_view_is_blended_away():
    case = patterned_ball()
    rng = np.random.default_rng(0)
    noisy = (case.truth.color + 0.2 * rng.standard_normal(case.truth.color.shape, np.float32)).clip(0, 1)
    blended = multi_view_blending(torch.from_numpy(noisy).movedim(-1, 1), *surface_of(case), SIX_VIEWS)
    shown = blended.movedim(1, -1).numpy()
    bad, good = (reprojection_error(c, case.z, case.truth.mask, SIX_VIEWS) for c in (noisy, shown))
    assert bad > 0.05 and good < 0.6 * bad
    assert psnr(shown[0], case.truth.color[0], case.truth.mask[0]) > 45  # the photo itself


def test_a_body_comes_back_from_its_own_surface(ball: Views, fits: Fits):
    sdf = fits(ball, LIGHT)
    assert sdf is not None
    color, opacity = rerendered(ball, sdf)
    assert mask_iou(opacity, ball.mask) > 0.93 and psnr(color, ball.color, ball.mask) > 18
    assert (color[opacity == 0] == 1).all()


def test_methods_that_differ_in_colours_alone_share_their_surface(ball: Views, fits: Fits):
    assert fits(replace(ball, color=1 - ball.color), LIGHT) is fits(ball, LIGHT)


def test_views_that_show_nothing_have_no_surface(ball: Views):
    assert Fits()(replace(ball, mask=np.zeros_like(ball.mask)), LIGHT) is None

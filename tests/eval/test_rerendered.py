"""Views of one body survive being fitted and seen again; views that contradict each other do not."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.eval.rerendered import Fits, rerender_score, rerendered
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world
from img2mv3d.neus.options import FitOptions, Level
from img2mv3d.values import Views

LIGHT = FitOptions((Level(32, 40), Level(64, 20)))  # enough for a ball


@pytest.fixture(scope="module")
def ball() -> Views:
    color, normal, mask, _ = render_world(Sphere(radius=0.5), SIX_VIEWS, 64)
    return Views(color, normal, mask, SIX_VIEWS)


@pytest.fixture(scope="module")
def fits() -> Fits:
    return Fits()


def test_a_body_comes_back_from_its_own_surface(ball: Views, fits: Fits):
    again = rerender_score(ball, fits(ball, LIGHT))
    assert again.iou > 0.95 and again.psnr > 20 and again.ssim > 0.9


def test_views_painted_differently_come_back_worse_the_more_they_differ(ball: Views, fits: Fits):
    noise = np.random.default_rng(0).normal(size=(6, 1, 1, 3)).astype(np.float32)
    found = []
    for much in (0.0, 0.05, 0.15):
        tinted = np.where(ball.mask[..., None] > 0, (ball.color + much * noise).clip(0, 1), 1).astype(np.float32)
        found.append(rerender_score(replace(ball, color=tinted), fits(ball, LIGHT)).psnr)
    assert found[0] > found[1] > found[2]


def test_arms_that_differ_in_colours_alone_share_their_surface(ball: Views, fits: Fits):
    other = replace(ball, color=1 - ball.color)
    assert fits(other, LIGHT) is fits(ball, LIGHT)


def test_a_surface_that_is_not_there_scores_zero(ball: Views):
    nothing = replace(ball, mask=np.zeros_like(ball.mask))
    assert Fits()(nothing, LIGHT) is None
    assert rerender_score(nothing, None) == (0, 0, 0)


def test_what_is_seen_again_is_white_where_the_surface_is_not(ball: Views, fits: Fits):
    sdf = fits(ball, LIGHT)
    assert sdf is not None
    color, opacity = rerendered(ball, sdf)
    assert color.shape == ball.color.shape and (color[opacity == 0] == 1).all()

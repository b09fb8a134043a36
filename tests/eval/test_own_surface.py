"""Views of one body survive being fitted and seen again; views that contradict each other do not."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.eval import own_surface
from img2mv3d.eval.comparison import Case, Result
from img2mv3d.eval.own_surface import Fits, OwnSurface, rerendered
from img2mv3d.files.contents import to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world, sample_grid
from img2mv3d.geometry.similarity import mask_iou, psnr
from img2mv3d.neus.options import FitOptions, Level
from img2mv3d.values import Body, Views
from tests.patterned import noisy, patterned_ball

LIGHT = FitOptions((Level(32, 40),))  # enough for a ball


@pytest.fixture(scope="module")
def ball() -> Views:
    color, normal, mask, _ = render_world(Sphere(radius=0.5), SIX_VIEWS, 64)
    return Views(color, normal, mask, SIX_VIEWS)


@pytest.fixture(scope="module")
def fits() -> Fits:
    return Fits()


def test_a_body_comes_back_from_its_own_surface(ball: Views, fits: Fits):
    sdf = fits(ball, LIGHT)
    assert sdf is not None
    color, opacity = rerendered(ball, sdf)
    assert mask_iou(opacity, ball.mask) > 0.93 and psnr(color, ball.color, ball.mask) > 18
    assert (color[opacity == 0] == 1).all()


def test_methods_that_differ_in_colours_alone_share_their_surface(ball: Views, fits: Fits):
    assert fits(replace(ball, color=1 - ball.color), LIGHT) is fits(ball, LIGHT)


def test_where_the_fit_reads_colours_they_do_not(ball: Views, fits: Fits):
    reads = replace(LIGHT, color_weight=1.0)
    assert fits(replace(ball, color=1 - ball.color), reads) is not fits(ball, reads)


def test_a_surface_begins_with_the_body_that_a_result_has(ball: Views, fits: Fits):
    empty = np.zeros((4, 4, 3), np.float32)
    shell = sample_grid(Sphere(radius=0.5) - Sphere(radius=0.25), 32).astype(np.float32)
    body = Body(shell, empty, empty, 1.0, np.zeros((1, 2), np.float32), 0.0, 1.0)
    plain, kept = fits(ball, LIGHT), fits(ball, LIGHT, body)
    assert plain is not None and kept is not None
    assert plain[16, 16, 16] < 0 < kept[16, 16, 16]


def test_views_that_show_nothing_have_no_surface(ball: Views):
    assert Fits()(replace(ball, mask=np.zeros_like(ball.mask)), LIGHT) is None


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUICK", "FINAL"):
        monkeypatch.setattr(own_surface, name, FitOptions((Level(32, 30),)))


def painted_ball(size: int = 128) -> Case:
    """A ball with exact normals and a pattern that nowhere repeats."""
    color, normal, mask, z = render_world(Sphere(radius=0.5), SIX_VIEWS, size)
    rng = np.random.default_rng(0)
    waves, phases = rng.normal(size=(24, 3)) * 18, rng.uniform(0, 6, (24, 3))
    painted = 0.5 + 0.1 * np.sin((normal @ waves.T)[..., None] + phases).sum(-2)
    color = np.where(mask[..., None] > 0, painted.clip(0, 1), 1).astype(np.float32)
    photo = to_bytes(np.concatenate([color[0], mask[0][..., None]], axis=-1))
    return Case("ball", "clean", photo, Views(color, normal, mask, SIX_VIEWS), z)


def test_views_of_one_body_agree_by_their_own_surface_and_noise_does_not(light: None):
    own, ball = OwnSurface(), painted_ball()
    good, bad = (own.consistency().measure(ball, result) for result in (Result(ball.truth), noisy(ball)))
    assert good["own_reprojection"] < bad["own_reprojection"]
    assert good["own_epipolar"] >= good["own_inliers"] > 2 * bad["own_inliers"]
    again = own.rerendering().measure(ball, Result(ball.truth))
    assert again["re_iou"] > 0.9 and again["re_psnr"] > 10


def test_views_that_show_nothing_agree_in_nothing(light: None):
    ball = patterned_ball()
    nothing = Result(replace(ball.truth, mask=np.zeros_like(ball.truth.mask)))
    own = OwnSurface()
    found = own.consistency().measure(ball, nothing) | own.rerendering().measure(ball, nothing)
    assert (found["own_reprojection"], found["own_matches"], found["re_psnr"]) == (1, 0, 0)


def test_what_has_no_true_surface_has_no_figures_of_shape():
    ball = patterned_ball()
    assert OwnSurface().shape().measure(ball, Result(ball.truth)) == {}


def test_a_method_without_views_has_no_figures_of_them():
    """A body of revolution stands in the same table as bundles, and is a mesh alone."""
    ball, own = patterned_ball(), OwnSurface()
    alone = Result(mesh=(np.zeros((0, 3)), np.zeros((0, 3), int)))
    assert own.consistency().measure(ball, alone) == own.rerendering().measure(ball, alone) == {}

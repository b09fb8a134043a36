"""The truth is the best that there is, damage costs, and what cannot be measured is no figure."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.eval import scores
from img2mv3d.eval.comparison import Case, Result
from img2mv3d.eval.scores import OwnSurface, consistency_figures, depth_shift, view_figures
from img2mv3d.files.formats import to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.sdf import Sphere, render_world
from img2mv3d.neus.options import FitOptions, Level
from img2mv3d.values import Views
from tests.patterned import patterned_ball


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


@pytest.fixture(autouse=True)
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    options = FitOptions((Level(32, 30),))
    monkeypatch.setattr(scores, "QUICK", options)
    monkeypatch.setattr(scores, "FINAL", options)
    monkeypatch.setattr(scores, "_feature_distance", lambda picture, truth: float(np.abs(picture - truth).mean()))


def noisy(case: Case) -> Result:
    rng = np.random.default_rng(0)
    shown = case.truth.color + 0.2 * rng.standard_normal(case.truth.color.shape, np.float32)
    return Result(replace(case.truth, color=shown.clip(0, 1)))


def test_true_views_are_the_floor(ball: Case):
    found = view_figures(ball, Result(ball.truth)) | consistency_figures(ball, Result(ball.truth))
    assert found["psnr"] == found["psnr_mask"] == found["psnr_back"] == 100 and found["iou"] == 1
    assert found["ssim"] == pytest.approx(1) and found["sharpness"] == 1 and found["normal_deg"] < 0.1
    assert found["features"] == found["reprojection"] == 0 and found["inliers"] > found["inliers_beside"] > 10


def test_noise_that_differs_from_view_to_view_costs(ball: Case):
    found = view_figures(ball, noisy(ball)) | consistency_figures(ball, noisy(ball))
    assert found["psnr_mask"] < 25 and found["reprojection"] > 0.05 and found["sharpness"] > 1.1


def test_pictures_are_judged_before_they_are_cut_out(ball: Case):
    blank = replace(ball.truth, color=np.ones_like(ball.truth.color))
    assert view_figures(ball, Result(blank, ball.truth.color))["psnr"] == 100


def test_other_cameras_have_no_figures_by_the_true_views(ball: Case):
    rig = Rig(ball.truth.rig.names, (0.0, 60.0, 120.0, 180.0, -120.0, -60.0), (0.0,) * 6)
    other = Result(replace(ball.truth, rig=rig))
    assert view_figures(ball, other) == consistency_figures(ball, other) == {}


def painted_ball(size: int = 128) -> Case:
    """A ball with exact normals and a pattern that nowhere repeats."""
    color, normal, mask, z = render_world(Sphere(radius=0.5), SIX_VIEWS, size)
    rng = np.random.default_rng(0)
    waves, phases = rng.normal(size=(24, 3)) * 18, rng.uniform(0, 6, (24, 3))
    painted = 0.5 + 0.1 * np.sin((normal @ waves.T)[..., None] + phases).sum(-2)
    color = np.where(mask[..., None] > 0, painted.clip(0, 1), 1).astype(np.float32)
    photo = to_bytes(np.concatenate([color[0], mask[0][..., None]], axis=-1))
    return Case("ball", "clean", photo, Views(color, normal, mask, SIX_VIEWS), z)


def test_views_of_one_body_agree_by_their_own_surface_and_noise_does_not():
    own, ball = OwnSurface(), painted_ball()
    good, bad = (own.consistency().measure(ball, result) for result in (Result(ball.truth), noisy(ball)))
    assert good["own_reprojection"] < bad["own_reprojection"]
    assert good["own_epipolar"] >= good["own_inliers"] > 2 * bad["own_inliers"]
    again = own.rerendering().measure(ball, Result(ball.truth))
    assert again["re_iou"] > 0.9 and again["re_psnr"] > 10


def test_views_that_show_nothing_agree_in_nothing(ball: Case):
    nothing = Result(replace(ball.truth, mask=np.zeros_like(ball.truth.mask)))
    own = OwnSurface()
    found = own.consistency().measure(ball, nothing) | own.rerendering().measure(ball, nothing)
    assert (found["own_reprojection"], found["own_matches"], found["re_psnr"]) == (1, 0, 0)


def test_a_surface_is_found_again_along_the_line_of_sight():
    line = np.random.default_rng(0).normal(size=(3000, 3))
    ball = line / np.linalg.norm(line, axis=1, keepdims=True)
    assert depth_shift(ball - [0, 0, 0.4], ball) == pytest.approx(0.4, abs=0.02)


def test_what_has_no_true_surface_has_no_figures_of_shape(ball: Case):
    assert OwnSurface().shape().measure(ball, Result(ball.truth)) == {}

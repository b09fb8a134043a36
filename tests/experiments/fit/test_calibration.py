"""The calibration of the confidence: the regression finds what was put in, the table tells truth from boast."""

from __future__ import annotations

import numpy as np

from experiments.fit.calibration import regression, table
from img2mv3d.neus.confidence import RIGHT


def test_the_regression_finds_the_weights_that_made_the_data():
    rng = np.random.default_rng(0)
    signs = rng.normal(size=(40_000, 2))
    truth = np.array([1.5, -0.7, 0.4])
    right = rng.random(len(signs)) < 1 / (1 + np.exp(-(signs @ truth[:2] + truth[2])))
    assert np.abs(regression(signs, right) - truth).max() < 0.06


def test_an_honest_confidence_has_no_calibration_error_and_a_boast_has():
    error = np.where(np.arange(1000) % 10 < 7, 0.0, 1.0)  # 70 % are right
    assert error[0] < RIGHT
    assert "error 0.000" in table(np.full(1000, 0.7), error)
    assert "error 0.290" in table(np.full(1000, 0.99), error)


def test_pixels_are_sorted_by_what_was_said():
    said = np.array([0.05] * 4 + [0.95] * 4)
    error = np.array([1.0] * 4 + [0.0] * 4)
    lines = table(said, error).splitlines()
    assert lines[2].startswith("| 0.05 | 4 | 0.00 |") and lines[3].startswith("| 0.95 | 4 | 1.00 |")

"""The benchmark of the fit: its truth is right and its table says what the records say."""

import numpy as np
import pytest

from img2mv3d.data.corpus import Solid
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval import reconstruction
from img2mv3d.eval.reconstruction import Record, exact_views, measure, table
from img2mv3d.geometry.sdf import Box, sample_grid

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * np.float32(0.28)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([f for a, b, c, d in QUADS for f in ((a, b, c), (a, c, d))], np.int32)
CUBE = Solid(CORNERS, FACES, face_rgb=np.full((12, 3), 128, np.uint8))


def record(method, f_01, z=0.02):
    return Record("a", method, 0.99, z, 0.004, 5.0, f_01, 0.9, True, "neus", 4.0, 5.0)


def test_the_truth_scores_itself_perfectly(monkeypatch):
    half = float(exact_views(CUBE)[2].max())
    field = sample_grid(Box(half=(half, half, half)), 128)
    monkeypatch.setitem(reconstruction.METHODS, "truth", lambda views: (field, "neus"))
    found = measure("cube", CUBE, ["truth"])[0]
    assert found.iou > 0.99 and found.z_mean < 0.01 and found.f_01 > 0.93 and found.closed and found.normal_deg < 2


def test_the_table_holds_means_medians_and_paired_gains():
    text = table([record("hull", 0.6, 0.04), record("quick", 0.8)])
    assert "| hull | 1 | 0.990 / 0.990 | 0.0400 / 0.0400" in text
    assert "f_01 +0.200" in text and "ratio of z_mean 0.50" in text


def test_a_method_that_finds_nothing_scores_zero(monkeypatch):
    def nothing(views):
        raise NothingFoundError("nothing")

    monkeypatch.setitem(reconstruction.METHODS, "nothing", nothing)
    found = measure("cube", CUBE, ["nothing"])[0]
    assert found.f_01 == 0 and not found.closed and found.source == "nothing"
    assert found.iou == pytest.approx(0)

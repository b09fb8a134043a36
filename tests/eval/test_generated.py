"""The benchmark of generated views: its tricks are what they say, the truth wins, the table says what records say."""

from __future__ import annotations

import numpy as np
import pytest

from img2mv3d.data.corpus import Solid
from img2mv3d.data.renders import RenderSet
from img2mv3d.eval import generated
from img2mv3d.eval.generated import BACK, Record, average, case_of, copied, measure, nearest, table
from img2mv3d.files.formats import encode_normals, to_bytes

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * np.float32(0.28)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([f for a, b, c, d in QUADS for f in ((a, b, c), (a, c, d))], np.int32)
CUBE = Solid(CORNERS, FACES, face_rgb=np.full((12, 3), 128, np.uint8))


@pytest.fixture(scope="module")
def case():
    return case_of("cube", CUBE, 144)


class Sets(RenderSet):
    """Two training sets without a disk: the truth of the case, and its negative image."""

    def __init__(self, case):
        self.case = case

    def load(self, name):
        views, photo = self.case.views, self.case.photo
        if name == "other":
            photo = np.concatenate([255 - photo[..., :3], photo[..., 3:]], -1)
        from img2mv3d.data.renders import Sample

        coded = encode_normals(views.normal, views.mask)
        color = to_bytes(views.color if name == "same" else 1 - views.color)
        return Sample(color, to_bytes(views.mask), coded, np.zeros(views.mask.shape, np.float16), photo, 144)


def test_the_truth_itself_wins(case):
    found = measure(case, "truth", case.views)
    assert found.iou == 1 and found.ssim > 0.999 and found.psnr > 60 and found.normal_deg < 0.5
    assert found.f_05 > 0.95 and found.f_10 > 0.95 and found.chamfer < 0.02


def test_the_photo_copied_has_the_true_outline_behind_and_no_normals(case):
    views = copied(case.photo)
    assert views.normal is None
    assert (views.mask[BACK] == views.mask[0][:, ::-1]).all() and (views.mask[1] == views.mask[0]).all()
    assert np.isnan(measure(case, "copied", views).normal_deg)


def test_the_nearest_is_the_one_that_looks_the_same(case):
    sets = Sets(case)
    views = nearest(sets, ["other", "same"])(case.photo)
    assert np.abs(views.color - case.views.color).max() < 0.003


def test_the_average_of_one_is_that_one_and_of_opposites_is_grey(case):
    sets = Sets(case)
    assert np.abs(average(sets, ["same"])(case.photo).color - case.views.color).max() < 0.003
    assert np.abs(average(sets, ["same", "other"])(case.photo).color - 0.5).max() < 0.003


def test_views_that_show_nothing_score_zero(case):
    from dataclasses import replace

    nothing = replace(case.views, mask=np.zeros_like(case.views.mask))
    found = measure(case, "nothing", nothing)
    assert (found.iou, found.f_02, found.f_10, found.chamfer) == (0, 0, 0, 1)


def test_the_table_pairs_objects():
    rows = [Record(i, arm, 10 + g, 0.5, 0.5 + g / 10, 20.0, 0.1, 0.2, 0.3, 0.1) for i in "ab" for arm, g in _ARMS]
    text = table(rows)
    assert "| mini | 2 | 12.000 / 12.000" in text
    assert "mini - copied, paired: psnr +2.000 +- 0.000" in text and "iou +0.200 +- 0.000" in text


_ARMS = (("mini", 2.0), ("copied", 0.0))


def test_an_arm_makes_views_of_the_photo_alone(case, tmp_path):
    from img2mv3d.bundles.weights import load_bundle

    views = generated.generated(load_bundle("mini"))(case.photo)
    assert views.color.shape == case.views.color.shape
    assert (views.mask[0] == case.photo[..., 3].astype(np.float32) / 255).all()

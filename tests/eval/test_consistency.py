"""Agreement of decoded views: the truth is the floor, noise that differs by view is above it, a blend agrees again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from img2mv3d.eval.blended import blend
from img2mv3d.eval.consistency import Case, Record, held_out, load_records, measure, save_records, table, true_arm
from img2mv3d.geometry.cameras import SIX_VIEWS
from tests.patterned import patterned_ball


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def test_true_views_are_the_floor(ball: Case):
    found = measure(ball, "true views", true_arm(ball))
    assert found.warp == 0 and found.psnr_others == pytest.approx(100) and found.ssim == pytest.approx(1)
    assert found.agreeing > 10 and found.sharpness == pytest.approx(1)


def test_noise_that_differs_from_view_to_view_disagrees_and_a_blend_agrees_again(ball: Case):
    noise = 0.2 * torch.randn(6, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    spoilt = (true_arm(ball) + noise).clamp(0, 1)
    bad = measure(ball, "spoilt", spoilt)
    good = measure(ball, "blended", blend(spoilt, ball.z, ball.hit, ball.front, SIX_VIEWS))
    assert bad.warp > 0.05 and good.warp < 0.6 * bad.warp and good.psnr_others > bad.psnr_others + 2
    assert good.psnr_front > 60  # the photo itself


def test_the_table_compares_arms_on_the_objects_that_all_have():
    def record(name: str, arm: str, value: float) -> Record:
        return Record(name, "exact", arm, *[float(value)] * 10)

    rows = [record("a", "plain", 1), record("b", "plain", 2), record("c", "plain", 9)]
    rows += [record("a", "new", 2), record("b", "new", 3)]
    text = table(rows, "plain")
    assert "exact, 2 objects" in text and "2.50 (+1.00 +- 0.00)" in text


def test_held_out_objects_come_once_each_and_everyday_ones_first(tmp_path: Path):
    lines = ["id\tpose\tsplit\tsource\tlicence\tweight"]
    lines += ["ship\t0\tval\tx\tCC0\t0.3", "cup\t0\tval\tx\tCC0\t3"]
    lines += ["cup\t1\tval\tx\tCC0\t3", "hat\t0\ttrain\tx\tCC0\t3"]
    (tmp_path / "index.tsv").write_text("\n".join(lines) + "\n")
    from img2mv3d.data.renders import RenderSet

    assert held_out(RenderSet(tmp_path), 5) == ["cup.0", "ship.0"]


def test_records_survive_a_file(tmp_path: Path):
    one = Record("a", "exact", "plain", *np.arange(10.0).tolist())
    save_records(tmp_path / "consistency.tsv", [one])
    assert load_records(tmp_path / "consistency.tsv") == [one]

"""Agreement of decoded views: the truth is the floor, noise that differs by view is above it, a blend agrees again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from img2mv3d.data.renders import RenderSet
from img2mv3d.eval import consistency
from img2mv3d.eval.arms import true_arm
from img2mv3d.eval.blended import blend
from img2mv3d.eval.cases import Case
from img2mv3d.eval.consistency import Record, load_records, measure, run, save_records, table
from experiments.decoder.equal_sharpness import softened
from img2mv3d.files.formats import encode_normals
from img2mv3d.geometry.cameras import SIX_VIEWS
from tests.patterned import patterned_ball
from tests.toys import toy_bundle


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def test_true_views_are_the_floor(ball: Case):
    coded = encode_normals(np.where(ball.mask[..., None] > 0, [0, 0, 1.0], 0), ball.mask) / np.float32(255)
    found = measure(ball, "true views", true_arm(ball), coded)
    assert found.psnr_whole == 100 and found.iou > 0.98 and not found.features > 1e-6
    assert found.warp == 0 and found.psnr_others == pytest.approx(100) and found.ssim == pytest.approx(1)
    assert found.agreeing > 10 and found.sharpness == pytest.approx(1)


def test_noise_that_differs_from_view_to_view_disagrees_and_a_blend_agrees_again(ball: Case):
    noise = 0.2 * torch.randn(6, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    spoilt = (true_arm(ball) + noise).clamp(0, 1)
    bad = measure(ball, "spoilt", spoilt)
    good = measure(ball, "blended", blend(spoilt, ball.z, ball.hit, ball.front, SIX_VIEWS))
    assert bad.warp > 0.05 and good.warp < 0.6 * bad.warp and good.psnr_others > bad.psnr_others + 2
    assert good.psnr_whole > bad.psnr_whole and not good.features >= bad.features  # NaN without the package
    assert good.psnr_front > 60  # the photo itself


def test_the_table_compares_arms_on_the_objects_that_all_have():
    def record(name: str, arm: str, value: float) -> Record:
        return Record(name, "exact", arm, *[float(value)] * 10)

    rows = [record("a", "plain", 1), record("b", "plain", 2), record("c", "plain", 9)]
    rows += [record("a", "new", 2), record("b", "new", 3)]
    text = table(rows, "plain")
    assert "exact, 2 objects" in text and "2.50 (+1.00 +- 0.00)" in text


def test_a_column_compares_objects_of_which_all_arms_that_know_it_have_it():
    def record(name: str, arm: str, value: float, late: float) -> Record:
        return Record(name, "exact", arm, *[float(value)] * 10, psnr_whole=float(late))

    nan = float("nan")
    rows = [
        record("a", "plain", 1, 1),
        record("b", "plain", 2, 5),
        record("a", "new", 2, nan),
        record("b", "new", 3, 6),
    ]
    text = table([*rows, record("a", "old", 4, nan), record("b", "old", 4, nan)], "plain")
    cells = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    lines = {row[1].strip(): row[-2].strip() for row in cells}
    assert (lines["plain"], lines["old"]) == ("5.00", "-") and lines["new"] == "6.00"


def test_records_survive_a_file(tmp_path: Path):
    one = Record("a", "exact", "plain", *np.arange(14.0).tolist())
    save_records(tmp_path / "consistency.tsv", [one])
    assert load_records(tmp_path / "consistency.tsv") == [one]


def test_an_arm_is_softened_to_each_other_and_what_is_there_is_not_made_again(tmp_path: Path, ball, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    (data / "index.tsv").write_text("id\tpose\tsplit\tsource\tlicence\tweight\nball\t0\tval\tx\tCC0-1.0\t1\n")
    case = replace(ball, id="ball.0")
    monkeypatch.setattr(consistency, "cases", lambda *told: iter([case]))
    monkeypatch.setattr(RenderSet, "load", lambda self, name: None)
    asked = []

    def arm(name: str, sigma: float):
        def show(case: Case) -> torch.Tensor:
            asked.append(name)
            views = softened(case.truth, case.mask, sigma)
            return torch.from_numpy(views).movedim(-1, 1).contiguous()

        return name, show

    arms = dict([("true views", true_arm), arm("plain", 1.0), arm("sharp", 0.0), arm("soft", 2.0)])
    told = (toy_bundle(tmp_path / "toy"), data, arms, tmp_path, 1, lambda line: None, ["exact"])
    found = {r.arm: r for r in run(*told, soften="sharp")}
    assert asked == ["plain", "sharp", "soft"]
    assert len(found) == len(arms) + 4
    for other in ("plain", "soft"):
        ours, theirs = found[f"sharp, as soft as {other}"], found[f"{other}, as soft as sharp"]
        assert ours.sharpness == pytest.approx(theirs.sharpness, rel=0.02)
        assert ours.warp == pytest.approx(theirs.warp, abs=2e-3) and theirs.warp == found[other].warp
    run(*told, soften="sharp")
    assert asked == ["plain", "sharp", "soft"]
    run(*told, kept=lambda name: name != "soft")
    assert asked == ["plain", "sharp", "soft", "soft"]


def test_the_tables_of_the_docs_are_those_of_the_records():
    docs = Path(__file__).parents[2] / "docs"
    assert table(load_records(docs / "ablation.tsv"), "plain").strip() in (docs / "ablation.md").read_text()

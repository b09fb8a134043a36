"""Arms without a truth: the surface of their own views judges them; what stands in a file is not made again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from img2mv3d.data.renders import RenderSet, Sample
from img2mv3d.eval import ownfit
from img2mv3d.eval.arms import true_arm
from img2mv3d.eval.cases import Case
from img2mv3d.eval.ownfit import Record, generated_case, measure, true_views
from img2mv3d.eval.rerendered import Fits
from img2mv3d.files.formats import encode_normals, to_bytes, write_npz
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world
from img2mv3d.neus.options import FitOptions, Level
from img2mv3d.values import Depth
from tests.toys import toy_bundle

LIGHT = FitOptions((Level(32, 30),))


def painted_ball(size: int) -> Sample:
    """A ball with a pattern that nowhere repeats."""
    color, normal, mask, z = render_world(Sphere(radius=0.5), SIX_VIEWS, size)
    rng = np.random.default_rng(0)
    waves, phases = rng.normal(size=(24, 3)) * 18, rng.uniform(0, 6, (24, 3))
    painted = 0.5 + 0.1 * np.sin((normal @ waves.T)[..., None] + phases).sum(-2)
    color = np.where(mask[..., None] > 0, painted.clip(0, 1), 1).astype(np.float32)
    photo = np.concatenate([to_bytes(color[0]), to_bytes(mask[0])[..., None]], -1)
    return Sample(to_bytes(color), to_bytes(mask), encode_normals(normal, mask), z.astype(np.float16), photo, 128)


@pytest.fixture(scope="module")
def ball() -> Sample:
    return painted_ball(128)


@pytest.fixture(autouse=True)
def light_fits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ownfit, "QUICK", LIGHT)
    monkeypatch.setattr(ownfit, "FINAL", LIGHT)


def test_views_of_one_body_agree_by_their_own_surface_and_noise_does_not(ball: Sample):
    views, fits = true_views(ball), Fits()
    good = measure("ball", "generated", "true views", views, fits)
    noise = np.random.default_rng(1).normal(size=views.color.shape).astype(np.float32) * 0.2
    bad = measure("ball", "generated", "noisy", type(views)((views.color + noise).clip(0, 1), *_rest(views)), fits)
    assert good.warp < 0.05 < 0.1 < bad.warp and good.agreeing > max(10, 2 * bad.agreeing)
    assert good.epipolar >= good.agreeing and np.isnan(good.re_psnr)


def test_rerendering_and_the_true_surface_are_told_when_asked_for(ball: Sample):
    line = np.random.default_rng(0).normal(size=(5000, 3))
    points = 0.5 * line / np.linalg.norm(line, axis=1, keepdims=True)
    found = measure("ball", "spoilt", "true views", true_views(ball), Fits(), True, points)
    assert found.re_iou > 0.9 and found.re_psnr > 15 and found.f_05 > 0.9


def test_views_that_show_nothing_agree_in_nothing(ball: Sample):
    views = true_views(ball)
    nothing = type(views)(views.color, views.normal, np.zeros_like(views.mask), views.rig)
    found = measure("ball", "generated", "nothing", nothing, Fits(), True, np.zeros((3, 3)) + np.eye(3))
    assert (found.warp, found.matches, found.re_psnr, found.f_05) == (1, 0, 0, 0)


def test_the_generator_sees_the_photo_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ownfit, "fit_depth", lambda views, options: Depth(views.mask, views.mask, views))
    bundle, small = toy_bundle(tmp_path), painted_ball(64)
    blind = replace(small, color=255 - small.color)
    one, two = (generated_case(bundle, "ball", sample) for sample in (small, blind))
    assert torch.equal(one.latents, two.latents) and torch.equal(one.z, two.z)
    assert one.normals is not None and one.front[3].equal(torch.from_numpy(small.photo[..., 3] / np.float32(255)))


def test_a_table_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ball, data = painted_ball(64), tmp_path / "data"
    (data / "sets").mkdir(parents=True)
    (data / "index.tsv").write_text("id\tpose\tsplit\tsource\tlicence\tweight\nball\t0\tval\tx\tCC0-1.0\t1\n")
    keys = ("color", "mask", "normal", "z", "photo")
    write_npz(RenderSet(data).set_path("ball.0"), **{k: getattr(ball, k) for k in keys}, framing_px=np.array(128))
    color, alpha = (torch.from_numpy(a.astype(np.float32) / 255) for a in (ball.color, ball.mask))
    front = torch.cat([color[0].movedim(-1, 0), alpha[:1]])

    def case(setting: str) -> Case:
        empty = torch.zeros(6, 4, 8, 8)
        return Case("ball.0", setting, empty, alpha, alpha, front, color.numpy(), alpha.numpy(), alpha.numpy(), empty)

    monkeypatch.setattr(ownfit, "cases", lambda *told: iter([case("exact"), case("spoilt")]))
    monkeypatch.setattr(ownfit, "generated_case", lambda *told: case("generated"))
    codes = ball.normal.astype(np.float32) / 255
    monkeypatch.setattr(ownfit, "normals_of", lambda case, decoder: codes)
    asked: list[str] = []

    def arm(case: Case) -> torch.Tensor:
        asked.append(case.setting)
        return true_arm(case)

    bundle, told = toy_bundle(tmp_path / "toy"), {"report": lambda line: None}
    arms = {"true views": true_arm, "plain": arm}
    records = ownfit.run(bundle, data, arms, tmp_path, 1, ["generated"], **told)
    assert asked == ["generated"] and [r.arm for r in records] == ["true views", "plain"]
    assert len(ownfit.run(bundle, data, arms, tmp_path, 1, ["generated"], **told)) == 2 and len(asked) == 1
    more = ownfit.run(bundle, data, arms, tmp_path, 1, ["generated", "spoilt"], rerender=True, **told)
    assert asked == ["generated", "spoilt", "generated"] and len(more) == 4  # what lacked a figure is made again
    kept = [Record(**r) for r in json.loads((tmp_path / "ownfit.json").read_text())]
    assert [repr(r) for r in kept] == [repr(r) for r in more]
    table = (tmp_path / "ownfit.md").read_text()
    assert "generated, 1 objects" in table and "re_iou" in table and "f_02" not in table


def test_a_line_without_the_scores_that_are_asked_for_is_made_again(tmp_path: Path):
    bare = Record("ball.0", "generated", "plain", 0.1, 3.0, 2.0, 9.0)
    seen = replace(bare, re_psnr=20.0, re_ssim=0.9, re_iou=0.9)
    assert ownfit._lacking(bare, None) and not ownfit._lacking(seen, None)
    assert not ownfit._lacking(seen, tmp_path)  # there is no such mesh
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "ball.npz").touch()
    assert ownfit._lacking(seen, tmp_path) and not ownfit._lacking(replace(seen, f_02=0.5), tmp_path)


def _rest(views):
    return views.normal, views.mask, views.rig

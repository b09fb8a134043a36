"""Arms: one name, one way to views; and figures count as long as the weights behind them are the same."""

from pathlib import Path

import pytest
import torch

from img2mv3d.eval import arms
from img2mv3d.eval.arms import arms_of, crossview_arm, named, still_true, true_depth_arm
from img2mv3d.eval.cases import Case
from tests.patterned import patterned_ball
from tests.toys import toy_bundle


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def test_every_decoder_comes_with_its_attention_off_and_on_request_with_all_else_off(tmp_path: Path):
    bundle = toy_bundle(tmp_path)
    plain = ["true views", "plain", "plain, blended"]
    assert list(arms_of(bundle, str(tmp_path), [f"a={tmp_path}"])) == [*plain, "a", "a, attention off"]
    assert list(arms_of(bundle, str(tmp_path), [f"a={tmp_path}"], more=True))[5:] == [
        "a, front pyramid off",
        "a, carried photo off",
        "a, true depth",
        "a, true depth and outlines",
        "a, second pass",
    ]
    assert named("mini", []) == {"cross-view": "mini"} and named("mini", ["x"]) == {"x": "x"}


def test_switches_are_as_they_were_after_an_arm_has_decoded(ball: Case, tmp_path: Path):
    decoder = toy_bundle(tmp_path).crossview_decoder()
    assert crossview_arm(decoder, carry_on=False)(ball).shape == (6, 3, 128, 128)
    assert decoder.carry_on and decoder.attention_on


@pytest.mark.parametrize("outlines", [False, True])
def test_told_the_true_depth_an_arm_gets_the_truth_and_nothing_else_changes(ball: Case, outlines: bool):
    seen = []

    def arm(case: Case) -> torch.Tensor:
        seen.append(case)
        return torch.zeros(6, 3, 128, 128)

    wrong = Case(**{**vars(ball), "z": ball.z + 0.3, "hit": torch.ones_like(ball.hit)})
    true_depth_arm(arm, outlines)(wrong)
    solid = ball.hit >= 0.5
    assert torch.equal(seen[0].z[solid], ball.z[solid])
    assert torch.equal(seen[0].hit, ball.hit if outlines else wrong.hit)
    assert outlines or torch.equal(seen[0].z[~solid], wrong.z[~solid])
    assert seen[0].latents is wrong.latents and seen[0].front is wrong.front


def test_a_second_pass_fits_to_what_the_first_one_made(ball: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made: list[Case] = []

    def arm(case: Case) -> torch.Tensor:
        made.append(case)
        return torch.full((6, 3, 128, 128), 0.5)

    plain = toy_bundle(tmp_path).plain_decoder()
    arms.second_pass_arm(arm, plain)(ball)
    assert len(made) == 1  # exact: there is no better depth

    class Found:
        z, hit = ball.z.numpy() + 1, ball.hit.numpy()

    fitted = []
    monkeypatch.setattr(arms, "fit_depth", lambda views, options: fitted.append(views) or Found)
    monkeypatch.setattr(arms, "own_views", lambda pictures, coded, case: pictures)
    told = Case(**{**vars(ball), "setting": "spoilt", "normals": ball.latents})
    arms.second_pass_arm(arm, plain)(told)
    assert len(made) == 3 and torch.equal(made[2].z, ball.z + 1) and float(fitted[0].mean()) == 0.5


def test_figures_of_other_weights_do_not_count(tmp_path: Path):
    one, two = toy_bundle(tmp_path / "one"), toy_bundle(tmp_path / "two", seed=1)
    out = tmp_path / "out"
    out.mkdir()
    a, b = str(tmp_path / "one"), str(tmp_path / "two")
    kept = still_true(out, one, {"x": a})
    assert kept("x") and kept("plain")  # nothing is told of what was there before
    kept = still_true(out, one, {"x": b, "y": b})
    assert not kept("x") and not kept("x, attention off") and kept("plain") and kept("y") and kept("former")
    assert not kept("y, as soft as x") and not kept("x, as soft as y") and kept("y, as soft as plain")
    kept = still_true(out, one, {"x": b})
    assert kept("x, attention off")
    kept = still_true(out, two, {"x": b})
    assert not kept("x") and not kept("plain")  # other latents

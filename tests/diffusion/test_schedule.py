"""Noise levels, and the sums of training."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from img2mv3d.diffusion.schedule import PREDICTIONS, SCHEDULES, add_noise, target, to_clean

GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline" / "io.safetensors"


def test_stable_diffusions_levels_are_the_recorded_ones():
    record = load_file(GOLDEN)
    schedule = SCHEDULES["sd-1.x"]
    assert torch.allclose(torch.tensor(schedule.alpha_bar), record["scheduler.alphas_cumprod"], atol=1e-7)
    assert schedule.final == pytest.approx(record["scheduler.final_alpha_cumprod"].item(), abs=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
def test_noise_only_grows(name):
    levels = SCHEDULES[name].alpha_bar
    assert 0.99 < levels[0] < 1
    assert all(a > b for a, b in pairwise(levels))


def test_minis_last_step_is_pure_noise():
    assert SCHEDULES["mini"].alpha_bar[-1] == 0
    clean, noise = torch.randn(2, 4, 2, 2), torch.randn(2, 4, 2, 2)
    assert torch.equal(add_noise(SCHEDULES["mini"], clean, noise, torch.tensor([999, 999])), noise)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_target_tells_the_clean_latents(name, prediction):
    schedule = replace(SCHEDULES[name], prediction=prediction)
    clean, noise = torch.randn(4, 4, 2, 2), torch.randn(4, 4, 2, 2)
    t = torch.tensor([0, 300, 700, 990])
    noisy = add_noise(schedule, clean, noise, t)
    assert torch.allclose(to_clean(schedule, noisy, target(schedule, clean, noise, t), t), clean, atol=1e-4)


def test_variance_is_kept():
    for schedule in SCHEDULES.values():
        noisy = add_noise(schedule, torch.randn(1, 40_000), torch.randn(1, 40_000), torch.tensor([400]))
        assert noisy.std() == pytest.approx(1, abs=0.03)

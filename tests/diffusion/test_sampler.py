"""Solvers against a denoiser that knows the answer."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from img2mv3d.diffusion.sampler import SOLVERS, make_scheduler, sample
from img2mv3d.diffusion.schedule import PREDICTIONS, SCHEDULES

GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline" / "io.safetensors"
MEAN, SPREAD = 0.7, 0.5  # of the Gaussian that all latents are drawn from


def oracle(schedule):
    """The best denoiser of latents from N(MEAN, SPREAD^2), in closed form."""

    def denoise(noisy, t):
        a = schedule.table(noisy)[t]
        clean = MEAN + SPREAD**2 * a.sqrt() / (SPREAD**2 * a + 1 - a) * (noisy - a.sqrt() * MEAN)
        noise = (noisy - a.sqrt() * clean) / (1 - a).sqrt()
        return noise if schedule.prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * clean

    return denoise


# not the noise for mini: of a step of pure noise nothing can be told in terms of the noise
@pytest.mark.parametrize("name,prediction", [("sd-1.x", p) for p in PREDICTIONS] + [("mini", "v_prediction")])
@pytest.mark.parametrize("solver,eta", [("ddim", 0.0), ("ddim", 1.0), ("dpmpp", 0.0), ("dpmpp1", 0.0)])
def test_noise_becomes_the_gaussian_that_the_denoiser_knows(name, prediction, solver, eta):
    schedule = replace(SCHEDULES[name], prediction=prediction)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 100, 100, generator=rng)
    out = sample(oracle(schedule), noise, schedule, steps=100, solver=solver, eta=eta, rng=rng)
    slack = 0.08 if name == "sd-1.x" else 0.03  # its last level keeps a little signal, of which the start knows nothing
    assert out.mean().item() == pytest.approx(MEAN, abs=slack)
    assert out.std().item() == pytest.approx(SPREAD, abs=0.03)


def test_without_fresh_noise_the_answer_is_the_exact_flow():
    """The flow of a Gaussian is linear: x0 = MEAN + SPREAD * noise. Second order is nearer to it than first, in as
    many steps.
    """
    schedule = SCHEDULES["mini"]
    noise = torch.linspace(-2, 2, 9).reshape(1, 1, 3, 3)
    exact = MEAN + SPREAD * noise
    far = {
        solver: (sample(oracle(schedule), noise, schedule, steps=12, solver=solver) - exact).abs().max().item()
        for solver in ("ddim", "dpmpp")
    }
    assert far["dpmpp"] < 0.7 * far["ddim"] < 0.2


def test_progress_counts_every_call():
    seen, schedule = [], SCHEDULES["mini"]
    sample(oracle(schedule), torch.randn(1, 4, 2, 2), schedule, steps=3, progress=lambda *a: seen.append(a))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_seed_means_the_same_noise():
    schedule = SCHEDULES["sd-1.x"]
    noise = torch.randn(1, 4, 2, 2)
    a, b, c = (
        sample(oracle(schedule), noise, schedule, steps=4, eta=1.0, rng=torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("steps", [4, 20, 50])
def test_published_timesteps_are_the_recorded_ones(steps):
    recorded = load_file(GOLDEN)[f"scheduler.timesteps_{steps}"]
    assert torch.equal(make_scheduler(SCHEDULES["sd-1.x"], "ddim", steps).timesteps, recorded)


@pytest.mark.parametrize("solver", SOLVERS)
def test_mini_starts_from_pure_noise_whatever_the_solver(solver):
    assert make_scheduler(SCHEDULES["mini"], solver, 12).timesteps[0] == 999


@pytest.mark.parametrize(
    "wrong",
    [{"solver": "euler"}, {"steps": 0}, {"steps": 1001}, {"eta": 0.5, "solver": "dpmpp"}, {"eta": 2.0}, {"eta": 1.0}],
)
def test_what_no_solver_understands_is_refused(wrong):
    schedule = SCHEDULES["mini"]
    with pytest.raises(ValueError):
        sample(oracle(schedule), torch.randn(1, 4, 2, 2), schedule, **({"steps": 2} | wrong))

"""From noise to latents: solvers as data, one loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from jaxtyping import Float
from torch import Tensor

from img2mv3d.diffusion.contract import Denoiser
from img2mv3d.diffusion.schedule import Schedule

Progress = Callable[[int, int], None]
LEAST_SIGNAL = 2.0**-24  # alpha_bar of "pure noise" for solvers that divide by the signal (diffusers' own number)
MOST_ETA = 1 - 1e-6  # out of pure noise, eta 1 leaves the root of a rounded zero, which may be negative


@dataclass(frozen=True)
class Solver:
    """A scheduler of diffusers and its settings.

    noisy: whether eta (noise added again at each step, 0..1) means something to it.
    """

    scheduler: type
    settings: dict[str, Any] = field(default_factory=dict)
    noisy: bool = False


SOLVERS: dict[str, Solver] = {
    "ddim": Solver(DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}, noisy=True),
    # second order, midpoint, first order at the last step; few steps suffice
    "dpmpp": Solver(DPMSolverMultistepScheduler, {"solver_order": 2, "algorithm_type": "dpmsolver++"}),
    "dpmpp1": Solver(DPMSolverMultistepScheduler, {"solver_order": 1, "algorithm_type": "dpmsolver++"}),
}


def sample(
    denoise: Denoiser,
    noise: Float[Tensor, "N c h w"],
    schedule: Schedule,
    *,
    steps: int,
    solver: str = "ddim",
    eta: float = 0.0,
    rng: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Float[Tensor, "N c h w"]:
    """Latents that `denoise` brings out of `noise` (standard normal) in `steps` calls.

    Raises ValueError on an unknown solver, steps outside of 1..T, or an eta that the solver cannot use.

    eta: share of fresh noise in every step, 0 none .. 1 all that fits; drawn from `rng`, a CPU generator, once per step
        (the last one too), so that a seed means the same on every device.
    """
    scheduler = make_scheduler(schedule, solver, steps)
    if not 0.0 <= eta <= 1.0 or (eta and not SOLVERS[solver].noisy):
        raise ValueError(f"eta {eta} with solver {solver!r}: eta is 0..1, and only for {', '.join(_noisy_solvers())}")
    if eta and rng is None:
        raise ValueError("eta above 0 draws noise: give a generator")
    x = noise * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        prediction = denoise(x, t.to(x.device))
        more: dict[str, Any] = {}
        if SOLVERS[solver].noisy:
            fresh = torch.randn(x.shape, generator=rng).to(x) if eta else None
            more = {"eta": eta if schedule.alpha_bar[-1] > 0 else min(eta, MOST_ETA), "variance_noise": fresh}
        x = scheduler.step(prediction, t, x, **more).prev_sample
        if progress is not None:
            progress(i + 1, steps)
    return x


def make_scheduler(schedule: Schedule, solver: str, steps: int) -> Any:
    """diffusers' scheduler on our noise levels, its timesteps set. Raises ValueError as `sample` does."""
    if solver not in SOLVERS:
        raise ValueError(f"solver {solver!r}: expected one of {', '.join(SOLVERS)}")
    if not 1 <= steps <= len(schedule.alpha_bar):
        raise ValueError(f"{steps} steps: expected 1..{len(schedule.alpha_bar)}")
    kind, table = SOLVERS[solver], torch.tensor(schedule.alpha_bar, dtype=torch.float32)
    scheduler = kind.scheduler(
        num_train_timesteps=len(table),
        prediction_type=schedule.prediction,
        timestep_spacing=schedule.spacing,
        steps_offset=schedule.offset,
        **kind.settings,
    )
    # the noise levels themselves, not betas that would have to be multiplied up again
    if kind.scheduler is DDIMScheduler:
        scheduler.alphas_cumprod, scheduler.final_alpha_cumprod = table, torch.tensor(schedule.final)
    else:
        scheduler.alphas_cumprod = table.clamp(min=LEAST_SIGNAL)
    scheduler.set_timesteps(steps)
    return scheduler


def _noisy_solvers() -> list[str]:
    return [name for name, solver in SOLVERS.items() if solver.noisy]

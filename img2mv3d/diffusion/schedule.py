"""Noise schedules as data, and the two sums of training: noisy latents and the target of the prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

STEPS = 1000
PREDICTIONS = ("epsilon", "v_prediction")  # diffusers' words


@dataclass(frozen=True)
class Schedule:
    """alpha_bar: share of the clean latent's variance at steps 0..T-1, falling; the noisy latent is sqrt(alpha_bar) *
        clean + sqrt(1 - alpha_bar) * noise.
    prediction: "epsilon" (the noise) or "v_prediction".
    final: alpha_bar of the clean end, where DDIM's last step lands.
    spacing, offset: which steps a solver visits (diffusers' words).
    """

    name: str
    alpha_bar: tuple[float, ...]
    prediction: str
    final: float
    spacing: str
    offset: int = 0

    def table(self, like: Tensor) -> Float[Tensor, " T"]:
        """alpha_bar as a tensor of the same kind as `like`."""
        return torch.tensor(self.alpha_bar, dtype=torch.float32).to(like)


def _scaled_linear() -> tuple[float, ...]:
    """Stable Diffusion 1.x: betas are squares of a line from sqrt(0.00085) to sqrt(0.012). In fp32, as everybody
    computes it.
    """
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, STEPS, dtype=torch.float32) ** 2
    return tuple(torch.cumprod(1.0 - betas, dim=0).tolist())


def _shifted_cosine(shift: float) -> tuple[float, ...]:
    """Cosine noise levels whose signal is scaled by `shift` before the noise (log SNR moves by 2 log shift); the last
    step is pure noise.

    Six views in two domains tell each other much, so more noise than for one picture is needed before the large shapes
    are in doubt at all; and where generation starts from pure noise, training must have seen pure noise.
    """
    ratio = [math.tan(math.pi / 2 * (i + 1) / STEPS) / shift for i in range(STEPS)]  # noise over signal
    return (*(1.0 / (1.0 + r * r) for r in ratio[:-1]), 0.0)


def _schedules() -> dict[str, Schedule]:
    sd, mini = _scaled_linear(), _shifted_cosine(0.5)
    return {
        # set_alpha_to_one false, steps_offset 1: facts on the published pipeline
        "sd-1.x": Schedule("sd-1.x", sd, "epsilon", sd[0], "leading", 1),
        "mini": Schedule("mini", mini, "v_prediction", 1.0, "trailing"),
    }


SCHEDULES = _schedules()


def add_noise(
    schedule: Schedule, clean: Float[Tensor, "N *rest"], noise: Float[Tensor, "N *rest"], t: Int[Tensor, " N"]
) -> Float[Tensor, "N *rest"]:
    """The noisy latents at steps t (0 almost clean .. 999 almost or wholly noise)."""
    signal, spread = _weights(schedule, clean, t)
    return signal * clean + spread * noise


def target(
    schedule: Schedule, clean: Float[Tensor, "N *rest"], noise: Float[Tensor, "N *rest"], t: Int[Tensor, " N"]
) -> Float[Tensor, "N *rest"]:
    """What the network shall predict: the noise, or v = signal * noise - spread * clean (Salimans and Ho 2022)."""
    if schedule.prediction == "epsilon":
        return noise
    signal, spread = _weights(schedule, clean, t)
    return signal * noise - spread * clean


def to_clean(
    schedule: Schedule, noisy: Float[Tensor, "N *rest"], prediction: Float[Tensor, "N *rest"], t: Int[Tensor, " N"]
) -> Float[Tensor, "N *rest"]:
    """The clean latents that a prediction means; undoes `add_noise` when the prediction is `target`.

    With the noise as prediction, a step without signal leaves nothing to divide by: the schedule must not reach it.
    """
    signal, spread = _weights(schedule, noisy, t)
    if schedule.prediction == "epsilon":
        return (noisy - spread * prediction) / signal
    return signal * noisy - spread * prediction


def _weights(schedule: Schedule, like: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    alpha_bar = schedule.table(like)[t.to(like.device)].reshape(-1, *[1] * (like.ndim - 1))
    return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()

"""What solvers ask of a denoiser, `(noisy, t) -> prediction`, and how a network under its condition becomes one.

The stage `generate` asks more of a network than this: docs/how-it-works.md, "Another denoiser, another stage".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from img2mv3d.diffusion.schedule import Schedule, to_clean


@runtime_checkable
class Denoiser(Protocol):
    """`prediction = denoise(noisy, t)`: noise or velocity as the schedule says. noisy: [N, 4, h, w]. t: step 0..T-1,
    one number.
    """

    def __call__(self, noisy: Float[Tensor, "N c h w"], t: Int[Tensor, ""]) -> Float[Tensor, "N c h w"]:
        """The prediction, of the same shape."""
        ...


@runtime_checkable
class Network(Protocol):
    """What `conditioned` wants: see `nets.multiview.MultiViewUNet.forward`, whose keyword arguments `window` and
    `draft` the stage `generate` has bound before.
    """

    def __call__(self, noisy: Tensor, t: Tensor, tokens: Tensor, camera: Tensor) -> Tensor:
        """Rows of latents with the condition beside them -> prediction."""
        ...


@dataclass(frozen=True, eq=False)
class Condition:
    """What the network is told, row by row: N = 2 * B * V rows, normals of all objects first, then colours, the view
    fastest.

    latent: of the condition photo, scaled.
    tokens: of the photo.
    camera: numbers of view and domain.
    """

    latent: Float[Tensor, "N c h w"]
    tokens: Float[Tensor, "N T d"]
    camera: Float[Tensor, "N k"]


def conditioned(network: Network, condition: Condition, guidance: float = 1.0, *, at_once: bool = True) -> Denoiser:
    """The denoiser of one condition, with classifier-free guidance unless `guidance` is exactly 1.

    The unconditional branch has zeros for photo latent and tokens and keeps its cameras. The four quarters of a guided
    batch are (normal without, normal with, colour without, colour with): the network's joint attention pairs the halves
    of the batch, so this order pairs the same view of the same branch in the two domains.

    at_once: False calls the network for one branch after the other, with half of the rows: the same but for rounding,
        in about half of the memory.
    """
    c = condition
    if guidance == 1.0:
        return lambda noisy, t: network(torch.cat([noisy, c.latent], dim=1), t, c.tokens, c.camera)
    if not at_once:

        def one_by_one(noisy: Tensor, t: Tensor) -> Tensor:
            rows = torch.cat([noisy, torch.zeros_like(c.latent)], dim=1)
            without = network(rows, t, torch.zeros_like(c.tokens), c.camera)
            conditional = network(torch.cat([noisy, c.latent], dim=1), t, c.tokens, c.camera)
            return without + guidance * (conditional - without)

        return one_by_one
    latent, tokens = _quarters(torch.zeros_like(c.latent), c.latent), _quarters(torch.zeros_like(c.tokens), c.tokens)
    camera = _quarters(c.camera, c.camera)

    def denoise(noisy: Tensor, t: Tensor) -> Tensor:
        rows = torch.cat([_quarters(noisy, noisy), latent], dim=1)
        normal_without, normal_with, color_without, color_with = network(rows, t, tokens, camera).chunk(4)
        without, conditional = torch.cat([normal_without, color_without]), torch.cat([normal_with, color_with])
        return without + guidance * (conditional - without)

    return denoise


def as_epsilon(denoise: Denoiser, schedule: Schedule) -> Denoiser:
    """The same denoiser, predicting the noise. Raises ValueError where the schedule ends in pure noise, of which
    nothing can be told.
    """
    if schedule.prediction == "epsilon":
        return denoise
    if min(schedule.alpha_bar) <= 0:
        raise ValueError(f"schedule {schedule.name!r} ends without signal: not to be told in terms of the noise")

    def predict(noisy: Tensor, t: Tensor) -> Tensor:
        clean = to_clean(schedule, noisy, denoise(noisy, t), t.reshape(1))
        alpha_bar = schedule.table(noisy)[t]
        return (noisy - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()

    return predict


def as_velocity(denoise: Denoiser, schedule: Schedule) -> Denoiser:
    """The same denoiser, predicting the velocity. `schedule` tells what it predicts now; see `as_epsilon` for the way
    back.
    """
    if schedule.prediction == "v_prediction":
        return denoise

    def predict(noisy: Tensor, t: Tensor) -> Tensor:
        noise = denoise(noisy, t)
        clean = to_clean(schedule, noisy, noise, t.reshape(1))
        alpha_bar = schedule.table(noisy)[t]
        return alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean

    return predict


def _quarters(without: Tensor, conditional: Tensor) -> Tensor:
    (normal_without, color_without), (normal, color) = without.chunk(2), conditional.chunk(2)
    return torch.cat([normal_without, normal, color_without, color])

"""From a draft to latents: noised a little, brought back by the denoiser (SDEdit, Meng et al. 2022).

In: a denoiser, its schedule, the draft's latents. Out: clean latents near to them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from img2mv3d.diffusion.contract import Denoiser
from img2mv3d.diffusion.sampler import Progress
from img2mv3d.diffusion.schedule import Schedule, add_noise, to_clean


def refine(
    denoise: Denoiser,
    draft: Float[Tensor, "N c h w"],
    noise: Float[Tensor, "N c h w"],
    schedule: Schedule,
    *,
    steps: tuple[int, ...],
    progress: Progress | None = None,
) -> Float[Tensor, "N c h w"]:
    """What `denoise` makes of the draft with noise up to the first of `steps`, through the others, by DDIM without
    fresh noise.

    draft: clean latents. noise: standard normal. steps: noise levels 0..999, falling, one call of the network each.
    """
    if not steps or list(steps) != sorted(set(steps), reverse=True):
        raise ValueError(f"steps {steps}: expected falling noise levels")
    clean = draft
    for done, step in enumerate(steps, 1):
        t = torch.full((len(draft),), step, dtype=torch.long, device=draft.device)
        noisy = add_noise(schedule, clean, noise, t)
        clean = to_clean(schedule, noisy, denoise(noisy, t[0]), t)
        noise = _noise_of(schedule, noisy, clean, t)  # that of the next, lower level: DDIM with eta 0
        if progress is not None:
            progress(done, len(steps))
    return clean


def _noise_of(schedule: Schedule, noisy: Tensor, clean: Tensor, t: Tensor) -> Tensor:
    """The noise that `noisy` at step t holds if `clean` is what lies under it."""
    alpha_bar = schedule.table(noisy)[t].reshape(-1, *[1] * (noisy.ndim - 1))
    return (noisy - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt()

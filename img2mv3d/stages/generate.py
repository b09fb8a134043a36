"""Subject -> Latents: six views in two domains, as scaled latents, by diffusion.
In: the framed photo, the bundle's networks, a random generator. Out: `Latents`, with the photo inside of them.
Why here: the only place where photo, network and solver meet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from img2mv3d.diffusion.contract import Condition, conditioned
from img2mv3d.diffusion.sampler import sample
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.nets.generator import GeneratorNets
from img2mv3d.nets.multiview import unpack
from img2mv3d.nets.window import around
from img2mv3d.plans import GenerateOptions
from img2mv3d.values import Latents, Subject


@torch.no_grad()
def generate(
    subject: Subject,
    *,
    generator: GeneratorNets,
    options: GenerateOptions,
    rng: torch.Generator,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
    at_once: bool = True,
) -> Latents:
    """Six views of the subject. Equal arguments give equal latents; `seed` is only written down, `rng` (on the CPU)
    decides.

    The initial noise is drawn first, one number for every latent of every view and domain, then the solver's. Options
    that are None are the bundle's own. progress: (calls of the network done, in all). at_once: both branches of the
    guidance in one call, which takes more memory. Raises ValueError on options that no solver understands.
    """
    like = generator.camera
    photo = torch.from_numpy(np.ascontiguousarray(subject.image.transpose(2, 0, 1))).to(like) / 255
    told = generator.condition(photo)
    rows = len(like)
    covered = torch.from_numpy(subject.image[..., 3] > 0)[None]
    window = None if generator.white is None else around(covered).wide()
    latent = told.latent if window is None else window.cut(told.latent)
    condition = Condition(latent.expand(rows, -1, -1, -1), told.tokens.expand(rows, -1, -1), like)
    network = generator.unet if window is None else partial(generator.unet, window=window)
    settings = {
        "steps": generator.steps if options.steps is None else options.steps,
        "guidance": generator.guidance if options.guidance is None else options.guidance,
        "solver": generator.solver if options.solver is None else options.solver,
        "eta": generator.eta if options.eta is None else options.eta,
    }
    if options.eta is None and settings["solver"] != generator.solver:
        settings["eta"] = 0.0  # the bundle's eta belongs to the bundle's solver
    noise = torch.randn((rows, *told.latent.shape), generator=rng).to(like)
    latents = sample(
        conditioned(network, condition, settings["guidance"], at_once=at_once),
        noise if window is None else window.cut(noise),
        SCHEDULES[generator.schedule],
        steps=settings["steps"],
        solver=settings["solver"],
        eta=settings["eta"],
        rng=rng,
        progress=progress,
    )
    if window is not None:
        latents = window.paste(latents, generator.white.to(latents))
    normal, color = unpack(latents.float().cpu(), len(generator.rig))
    return Latents(
        color=color[0].numpy(),
        normal=normal[0].numpy(),
        front=subject.image,
        rig=generator.rig,
        framing_px=subject.framing.framing_px,
        vae=dict(generator.vae),
        bundle=generator.bundle,
        seed=seed,
        settings=settings,
    )

"""Subject -> Latents: six views in two domains, as scaled latents, by diffusion.

In: the framed photo, the bundle's networks, a random generator. Out: `Latents`, with the photo inside of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from img2mv3d.conventions import FRONT, IMAGE_SIZE, LATENT_FACTOR
from img2mv3d.diffusion.contract import Condition, conditioned
from img2mv3d.diffusion.refine import refine
from img2mv3d.diffusion.sampler import sample
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.files.contents import encode_normals
from img2mv3d.mesh.draft import Draft, draft
from img2mv3d.mesh.likenesses import likenesses
from img2mv3d.mesh.photographs import photo_source
from img2mv3d.nets.drafted import draft_input, draft_maps
from img2mv3d.nets.generator import GeneratorNets
from img2mv3d.nets.multiview import unpack
from img2mv3d.nets.vae import EncodesPictures
from img2mv3d.nets.window import Window, around
from img2mv3d.plans import GenerateOptions
from img2mv3d.values import Body, Latents, Subject


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
    condition, network, window, shape = _told(subject, generator)
    steps = generator.steps if options.steps is None else options.steps
    guidance = generator.guidance if options.guidance is None else options.guidance
    solver = generator.solver if options.solver is None else options.solver
    eta = options.eta
    if eta is None:
        eta = generator.eta if solver == generator.solver else 0.0  # the bundle's eta belongs to the bundle's solver
    noise = torch.randn(shape, generator=rng).to(like)
    latents = sample(
        conditioned(network, condition, guidance, at_once=at_once),
        noise if window is None else window.cut(noise),
        SCHEDULES[generator.schedule],
        steps=steps,
        solver=solver,
        eta=eta,
        rng=rng,
        progress=progress,
    )
    latents = _whole(latents, window, generator)
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
        settings={"steps": steps, "guidance": guidance, "solver": solver, "eta": eta},
    )


@torch.no_grad()
def from_body(
    subject: Subject,
    body: Body,
    *,
    generator: GeneratorNets,
    options: GenerateOptions,
    rng: torch.Generator,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Latents:
    """Six views of the subject that begin as drafts of its body: encoded, then refined by the denoiser in those colours
    that the photo does not show. Outlines and normals stay the body's.

    Equal arguments give equal latents. The noise is drawn as in `generate`. options: guidance as there; steps: so many
    noise levels, evenly from the bundle's first one; None: the bundle's.
    """
    if generator.encoder is None:
        raise ValueError("this bundle has no encoder of pictures")
    like = generator.camera
    camera = generator.rig.cameras(IMAGE_SIZE)[FRONT]
    photo, others = likenesses(photo_source(subject.full, subject.framing, camera), body)
    alpha = subject.image[..., 3].astype(np.float32) / 255
    views = draft(body.field, body.far, photo, alpha, generator.rig, others)
    mask = views.maps.mask
    latents = encoded(views, generator.encoder).to(like)
    levels = _levels(generator.refine_steps, options.steps)
    guidance = generator.guidance if options.guidance is None else options.guidance
    condition, network, window, _ = _told(subject, generator)
    noise = torch.randn(latents.shape, generator=rng).to(like)
    cut = (lambda x: x) if window is None else window.cut
    if generator.unet.config.draft:
        maps = draft_maps(*(torch.from_numpy(part).to(like) for part in (mask, views.maps.z, views.observed)))
        network = partial(network, draft=cut(draft_input(latents, maps)))
    denoise = conditioned(network, condition, guidance, at_once=True)
    refined = refine(denoise, cut(latents), cut(noise), SCHEDULES[generator.schedule], steps=levels, progress=progress)
    refined = _whole(refined, window, generator)
    views_count = len(generator.rig)
    seen = torch.from_numpy(views.observed + (mask == 0)).to(like)[:, None].clamp(0, 1)
    share = 1 - torch.nn.functional.avg_pool2d(seen, LATENT_FACTOR)
    color = latents[views_count:] + share * (refined[views_count:] - latents[views_count:])
    return Latents(
        color=color.float().cpu().numpy(),
        normal=latents[:views_count].float().cpu().numpy(),
        front=subject.image,
        rig=generator.rig,
        framing_px=subject.framing.framing_px,
        vae=dict(generator.vae),
        bundle=generator.bundle,
        seed=seed,
        settings={
            "origin": "body",  # observed by the photo, predicted, denoised where unseen
            "refine_steps": list(levels),
            "guidance": guidance,
            "observed": round(float((seen * torch.from_numpy(mask).to(like)[:, None]).mean()), 4),
        },
        draft=latents[views_count:].float().cpu().numpy(),
    )


def encoded(views: Draft, encoder: EncodesPictures) -> torch.Tensor:
    """Scaled latents [2 V, 4, h, w] of a draft, normals first."""
    coded = encode_normals(views.maps.normal, views.maps.mask).astype(np.float32) / 255
    pictures = torch.from_numpy(np.concatenate([coded, views.color]).transpose(0, 3, 1, 2))
    pictures = pictures.to(next(encoder.parameters()))
    return torch.cat([encoder.encode(picture[None]) for picture in pictures])


def _whole(latents: torch.Tensor, window: Window | None, generator: GeneratorNets) -> torch.Tensor:
    """Latents of the window in their place, white round it; without a window they are whole already."""
    if window is None or generator.white is None:
        return latents
    return window.paste(latents, generator.white.to(latents))


def _levels(levels: tuple[int, ...], count: int | None) -> tuple[int, ...]:
    """The bundle's noise levels, or `count` of them evenly from its first one down."""
    if count is None:
        return levels
    return tuple(round(levels[0] * (count - i) / count) for i in range(count))


def _told(
    subject: Subject, generator: GeneratorNets
) -> tuple[Condition, Callable[..., torch.Tensor], Window | None, tuple[int, ...]]:
    """(what the denoiser is told of the photo, the denoiser, the part of each latent that it works on (None: all), the
    shape of whole latents)."""
    like = generator.camera
    photo = torch.from_numpy(np.ascontiguousarray(subject.image.transpose(2, 0, 1))).to(like) / 255
    told, rows = generator.condition(photo), len(like)
    covered = torch.from_numpy(subject.image[..., 3] > 0)[None]
    window = None if generator.white is None else around(covered).wide()
    latent = told.latent if window is None else window.cut(told.latent)
    condition = Condition(latent.expand(rows, -1, -1, -1), told.tokens.expand(rows, -1, -1), like)
    return (
        condition,
        generator.unet if window is None else partial(generator.unet, window=window),
        window,
        (rows, *told.latent.shape),
    )

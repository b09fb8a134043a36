"""Latents, depth and masks perturbed as far as those of a generator and a coarse fit: to train on and to measure by."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from img2mv3d.diffusion.schedule import SCHEDULES, add_noise, to_clean
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.epipolar import structured_noise
from img2mv3d.nets.generator import GeneratorNets
from img2mv3d.nets.multiview import pack, unpack
from img2mv3d.nets.window import Window

LEAST_JITTER_PX, MOST_JITTER_PX = 1.5, 17.5  # masks then have an IoU of 0.88 with the true ones, coarse fits' 0.87


def perturb_latents(latents: Float[Tensor, "V 4 h w"], rng: torch.Generator) -> Float[Tensor, "V 4 h w"]:
    """Each view shifted by up to a third of a cell, scaled by up to 3 %, noised coarsely and finely."""
    views, channels, height, width = latents.shape
    uniform = torch.rand(views, 4, generator=rng) * 2 - 1
    matrix = torch.zeros(views, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 + 0.03 * uniform[:, 2]
    matrix[:, 0, 2], matrix[:, 1, 2] = uniform[:, 0] * (2 / 3) / width, uniform[:, 1] * (2 / 3) / height
    grid = affine_grid(matrix, list(latents.shape), align_corners=False)
    moved = grid_sample(latents, grid, mode="bilinear", padding_mode="border", align_corners=False)
    level = 0.25 * uniform[:, 3].abs()[:, None, None, None]
    fine = torch.randn(latents.shape, generator=rng)
    coarse = torch.randn((views, channels, 4, 4), generator=rng)
    coarse = interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return moved + level * (fine + coarse)


@torch.no_grad()
def resample_latents(
    generator: GeneratorNets,
    latents: Float[Tensor, "D V 4 h w"],
    photo: UInt8[Tensor, "H W 4"],
    photo_latent: Float[Tensor, "4 h w"],
    window: Window,
    step: int,
    rng: torch.Generator,
) -> Float[Tensor, "D V 4 h w"]:
    """The latents noised to a step and denoised in one call: shapes stay, detail is the denoiser's own.

    latents: colour, normal. Outside of the window they stay as they are.
    photo: straight alpha; photo_latent: its latent over white.
    step: 0..999; every view has its own noise, and from 999 only the photo is known.
    """
    table, camera = SCHEDULES[generator.schedule], generator.camera
    latents = latents.float()
    rgba = photo.movedim(-1, 0).float() / 255
    tokens = generator.condition.tokens(torch.cat([over_white(rgba[:3], rgba[3:]), rgba[3:]])[None]).tokens
    clean = pack(window.cut(latents[1])[None], window.cut(latents[0])[None])
    steps = torch.full((len(clean),), step)
    noisy = add_noise(table, clean, torch.randn(clean.shape, generator=rng), steps)
    seen = torch.cat([noisy, window.cut(photo_latent.float()).expand(len(clean), -1, -1, -1)], dim=1)
    made = generator.unet(seen, steps, tokens.expand(len(clean), -1, -1), camera, window)
    normal, color = unpack(to_clean(table, noisy, made, steps), generator.unet.config.views)
    result = latents.clone()
    window.cut(result).copy_(torch.stack([color[0], normal[0]]))
    return result


def jitter_masks(
    z: Float[Tensor, "V H W"], hit: Float[Tensor, "V H W"], rng: torch.Generator
) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
    """z and hit with silhouettes that lie elsewhere, view by view: the mask-jitter augmentation.

    Further in or out by as many px as `structured_noise` of an amplitude between the two limits has there. New surface
    has z of the nearest pixel that had one; a view without any stays empty.
    """
    share = torch.rand(len(hit), 1, 1, generator=rng).square()
    amplitude = LEAST_JITTER_PX + (MOST_JITTER_PX - LEAST_JITTER_PX) * share
    offset = structured_noise(rng, len(hit), hit.shape[-1], 1.0) * amplitude
    moved = [_moved(depth.numpy(), h.numpy() >= 0.5, n.numpy()) for depth, h, n in zip(z, hit, offset, strict=True)]
    inside = torch.from_numpy(np.stack([m for _, m in moved])).to(z.dtype)
    return torch.from_numpy(np.stack([d for d, _ in moved])) * inside, inside


def _moved(
    z: Float[np.ndarray, "H W"], inside: Bool[np.ndarray, "H W"], offset: Float[np.ndarray, "H W"]
) -> tuple[Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Depth filled up to everywhere, and the silhouette moved out by `offset` px."""
    if not inside.any():
        return z, inside
    outside, nearest = distance_transform_edt(~inside, return_indices=True)
    return z[tuple(nearest)], distance_transform_edt(inside) - outside + offset > 0

"""Latents that disagree from view to view, as a generator's do, and depth and outlines that are off, as a quick fit's
are.

In: exact latents, a random generator. Out: worse ones of the same shape. Why here: what the cross-view decoder is worth
shows on such views only; training and tables spoil them by one rule.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from img2mv3d.diffusion.schedule import SCHEDULES, add_noise, to_clean
from img2mv3d.geometry.epipolar import structured_noise
from img2mv3d.nets.generator import GeneratorNets
from img2mv3d.nets.multiview import pack, unpack
from img2mv3d.train.multiview import MultiViewNets, condition_of
from img2mv3d.train.pool import Item, draw_int

NOISE_KINDS = ("none", "structured", "independent")
LEAST_LEAN, MOST_LEAN = 1.5, 17.5  # px: outlines then have an IoU of 0.88 with the true ones, quick fits' 0.87


def corrupted(latents: Float[Tensor, "V 4 h w"], rng: torch.Generator) -> Float[Tensor, "V 4 h w"]:
    """Each view shifted by up to a third of a cell, scaled by some percent about its middle, noised coarsely and
    finely."""
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
def imagined(
    net: MultiViewNets, item: Item, step: int, rng: torch.Generator, schedule: str = "mini"
) -> Float[Tensor, "D V 4 h w"]:
    """The item's latents (colour, normal), noised to a step of 0..999 and denoised in one call, as the denoiser would
    paint them; every view has its own noise, and from step 999 only the photo is known. Outside of the item's window
    they stay as they are."""
    table, window = SCHEDULES[schedule], item.window
    latents = item.latents.float()
    clean = pack(window.cut(latents[1])[None], window.cut(latents[0])[None])
    steps = torch.full((len(clean),), step)
    noisy = add_noise(table, clean, torch.randn(clean.shape, generator=rng), steps)
    told = condition_of(net, [item], torch.ones(1))
    seen = torch.cat([noisy, window.cut(told.latent)], dim=1)
    made = to_clean(table, noisy, net.unet(seen, steps, told.tokens, told.camera, window), steps)
    normal, color = unpack(made, net.unet.config.views)
    result = latents.clone()
    window.cut(result).copy_(torch.stack([color[0], normal[0]]))
    return result


def imagination(
    generator: GeneratorNets | None, seed: int, steps: tuple[int, int]
) -> Callable[[Item], Float[Tensor, "D V 4 h w"]] | None:
    """`imagined` by a bundle's denoiser, from a step between the two (both included); None without one."""
    if generator is None:
        return None
    net = MultiViewNets(generator.unet, generator.condition.tokens).eval()
    rng = torch.Generator().manual_seed(seed)
    return lambda item: imagined(net, item, steps[0] + draw_int(rng, steps[1] - steps[0] + 1), rng, generator.schedule)


def depth_noise(kind: str, rng: torch.Generator, views: int, size: int, amplitude: float) -> Float[Tensor, "V H W"]:
    """What is added to a depth map, world units. kind: "structured" is the paper's eq. 3; "independent" has its bound
    at every pixel on its own, the paper's opponent; "none" is 0. Raises ValueError on another kind."""
    if kind not in NOISE_KINDS:
        raise ValueError(f"depth noise {kind!r}: expected one of {', '.join(NOISE_KINDS)}")
    if kind == "none":
        return torch.zeros(views, size, size)
    if kind == "structured":
        return structured_noise(rng, views, size, amplitude)
    return (torch.rand(views, size, size, generator=rng) * 2 - 1) * (amplitude * (1 + 1 / 3 + 1 / 9))


def rough_outlines(
    z: Float[Tensor, "V H W"], hit: Float[Tensor, "V H W"], rng: torch.Generator
) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
    """z and hit with outlines that lie elsewhere, view by view: further in or out by as many px as `structured_noise`
    of an amplitude between the two LEANs has there. New surface has z of the nearest pixel that had
    one; a view without any stays empty."""
    share = torch.rand(len(hit), 1, 1, generator=rng).square()
    lean = structured_noise(rng, len(hit), hit.shape[-1], 1.0) * (LEAST_LEAN + (MOST_LEAN - LEAST_LEAN) * share)
    moved = [_moved(depth.numpy(), h.numpy() >= 0.5, n.numpy()) for depth, h, n in zip(z, hit, lean, strict=True)]
    inside = torch.from_numpy(np.stack([m for _, m in moved])).to(z.dtype)
    return torch.from_numpy(np.stack([d for d, _ in moved])) * inside, inside


def _moved(
    z: Float[np.ndarray, "H W"], inside: Bool[np.ndarray, "H W"], lean: Float[np.ndarray, "H W"]
) -> tuple[Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
    """Depth filled up to everywhere, and the outline moved out by `lean` px."""
    if not inside.any():
        return z, inside
    outside, nearest = distance_transform_edt(~inside, return_indices=True)
    return z[tuple(nearest)], distance_transform_edt(inside) - outside + lean > 0

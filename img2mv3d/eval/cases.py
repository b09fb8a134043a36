"""Held-out objects as decoders meet them: latents, a depth, the photo, and the truth beside them.

In: rendered sets, a bundle. Out: `Case` values. Why here: tables, enlargements and fits judge decoders by the same
latents and the same depth.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from img2mv3d.bundles.weights import Bundle
from img2mv3d.conventions import FRONT
from img2mv3d.data.renders import RenderSet, Sample
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.window import around
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import fit_depth, plain_views
from img2mv3d.train.corruption import corrupted, imagined
from img2mv3d.train.multiview import MultiViewNets
from img2mv3d.train.pool import Item, as_float, encode_boxed, over_white
from img2mv3d.values import Latents

SETTINGS = ("exact", "spoilt")
MID_STEP = 450  # noise step of 1000 from which the denoiser paints spoilt latents: shapes stay, detail is imagined


@dataclass(frozen=True, eq=False)
class Case:
    """What a decoder is given, and the truth. latents: of the colours, scaled. z, hit: the depth it may use. front: the
    rendered front view, RGBA in [0, 1]. truth, true_z, mask: of the object. normals: latents of the normal
    maps. round_share: how far outlines leaned, see `geometry.rounded`."""

    id: str
    setting: str
    latents: Float[Tensor, "V 4 h w"]
    z: Float[Tensor, "V H W"]
    hit: Float[Tensor, "V H W"]
    front: Float[Tensor, "4 H W"]
    truth: Float[np.ndarray, "V H W 3"]
    true_z: Float[np.ndarray, "V H W"]
    mask: Float[np.ndarray, "V H W"]
    normals: Float[Tensor, "V 4 h w"] | None = None
    round_share: float = 0.0


def cases(bundle: Bundle, nets: MultiViewNets, name: str, sample: Sample) -> Iterator[Case]:
    """The settings of one object, alike whatever else is measured. exact: its views' own latents and true depth.
    spoilt: latents painted by the denoiser from MID_STEP, shifted, scaled and noised by view, and the depth of a quick
    fit to the plain views of these, as in a run."""
    mask = torch.from_numpy(sample.mask).float() / 255
    hit = (mask >= 0.5).float()
    z = torch.from_numpy(sample.z.astype(np.float32)) * hit
    encoder, seed = bundle.encoder(), seed_of(name)
    latents = torch.stack([encode_boxed(encoder, as_float(torch.from_numpy(x))) for x in (sample.color, sample.normal)])
    photo = torch.from_numpy(sample.photo)
    photo_latent = encode_boxed(encoder, as_float(over_white(photo))[None])[0]
    alpha = mask[FRONT]
    color = as_float(torch.from_numpy(sample.color[FRONT]))
    front = torch.cat([((color - (1 - alpha)) / alpha.clamp(min=1 / 8)).clamp(0, 1), alpha[None]])
    truth = (sample.color.astype(np.float32) / 255, z.numpy(), mask.numpy())
    yield Case(name, "exact", latents[0], z, hit, front, *truth, normals=latents[1])

    item = Item(name, None, None, photo, latents, photo_latent, "mini", around(mask >= 0.5))
    painted = imagined(nets, item, MID_STEP, torch.Generator().manual_seed(seed))
    bad = [corrupted(x, torch.Generator().manual_seed(seed + 1)) for x in painted]  # both domains moved alike
    rgba = (front.movedim(0, -1).numpy() * 255 + 0.5).astype(np.uint8)
    told = Latents(bad[0].numpy(), bad[1].numpy(), rgba, SIX_VIEWS, bundle.framing_px, dict(bundle.vae), bundle.name, 0)
    depth = fit_depth(plain_views(told, decoder=bundle.plain_decoder()), options=DepthOptions())
    fitted = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (depth.z, depth.hit))
    yield Case(name, "spoilt", bad[0], *fitted, front, *truth, normals=bad[1])


def seed_of(name: str) -> int:
    """What a set's latents are made or spoilt with, by its name alone: the same beside whichever others."""
    return zlib.crc32(name.encode()) >> 1


def only(made: Iterator[Case], wanted: Sequence[str]) -> Iterator[Case]:
    """The cases of these settings; none is made after the last of them."""
    for case in made:
        if case.setting in wanted:
            yield case
        if case.setting == wanted[-1]:
            return


def held_out(sets: RenderSet, count: int) -> list[str]:
    """Up to `count` sets of the split `val`, one of each object, in the order of their weight in training."""
    first: dict[str, str] = {}
    weights = sets.weights("val")
    for name in weights:
        first.setdefault(name.rsplit(".", 1)[0], name)
    return sorted(first.values(), key=lambda n: -weights[n])[:count]

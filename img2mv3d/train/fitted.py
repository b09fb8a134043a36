"""How far off real quick fits are: z of the fit less the true z, for every set, kept beside its latents.

In: rendered sets with latents, a bundle's denoiser and plain decoder. Out: `DATA/fits/<name>.npz`. Why here: a decoder
meets such depth in use, and no noise that is drawn has its shape: smooth bulges, filled hollows, lost legs.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float16
from scipy.ndimage import distance_transform_edt

from img2mv3d.bundles.weights import Bundle
from img2mv3d.conventions import FRONT
from img2mv3d.data.renders import RenderSet, Sample, write_atomically
from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.window import around
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import fit_depth, plain_views
from img2mv3d.train.corruption import corrupted, imagination
from img2mv3d.train.pool import Item
from img2mv3d.values import Depth, Latents

SPOILT_SHARE = 0.6  # of the sets: fitted to views of spoilt latents, as a training sees them; the others to exact ones
STEP = 450  # noise step of 1000 from which the denoiser paints: shapes stay, detail is imagined


def make_fits(
    data: Path, bundle: Bundle, *, split: str = "train", limit: int | None = None, report: Callable[[str], None] = print
) -> int:
    """Fit every set of the split that has latents and no fit yet; can be stopped and gone on with. limit: sets in all.
    Returns how many sets have one. A set whose views cannot be fitted is said and left out.
    """
    sets, plain = RenderSet(data), bundle.plain_decoder()
    generator = bundle.generator()
    names = [n for n in sets.names(split) if sets.latents_path(n).exists()][:limit]
    for number, name in enumerate(names):
        path = sets.fits_path(name)
        if path.exists():
            continue
        sample = sets.load(name)
        item = _item(sets, name, sample)
        rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        spoilt = float(torch.rand(1, generator=rng)) < SPOILT_SHARE
        latents = item.latents
        if spoilt:
            moves = int(torch.randint(1 << 30, (1,), generator=rng))  # both domains are moved alike
            paint = imagination(generator, moves, (STEP, STEP))  # of its own: alike wherever it was stopped
            assert paint is not None
            painted = paint(item)
            latents = torch.stack([corrupted(x, torch.Generator().manual_seed(moves)) for x in painted])
        color, normal = latents.numpy()
        photo = np.concatenate([sample.color[FRONT], sample.mask[FRONT][..., None]], axis=-1)
        told = Latents(color, normal, photo, SIX_VIEWS, sample.framing_px, dict(bundle.vae), bundle.name, 0)
        try:
            depth = fit_depth(plain_views(told, decoder=plain), options=DepthOptions())
        except NothingFoundError as error:
            report(f"left out: {name}: {error}")
            continue
        error = depth_error(depth, sample)
        write_atomically(path, error=error, spoilt=np.array(spoilt), bundle=np.array(bundle.digest))
        inside = sample.mask >= 128
        report(f"{number + 1} of {len(names)}: {name}, off by {np.abs(error[inside].astype(np.float32)).mean():.4f}")
    return sum(sets.fits_path(n).exists() for n in names)


def depth_error(depth: Depth, sample: Sample) -> Float16[np.ndarray, "V H W"]:
    """z of the fit less the true z, world units, where the object is; where the fit has no surface, as at the nearest
    pixel of the object where it has one. 0 outside, and in a view where the two have nothing in common."""
    inside = sample.mask >= 128
    both = inside & (depth.hit >= 0.5)
    error = np.where(both, depth.z - sample.z.astype(np.float32), 0)
    filled = [_nearest(e, known) for e, known in zip(error, both, strict=True)]
    return (np.stack(filled) * inside).astype(np.float16)


def _nearest(values: Float[np.ndarray, "H W"], known: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    if not known.any():
        return values
    rows, columns = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return values[rows, columns]


def _item(sets: RenderSet, name: str, sample: Sample) -> Item:
    """A set with its latents, as a denoiser is told of it."""
    latents = sets.latents(name)
    assert latents is not None
    both = torch.from_numpy(np.stack([latents["color"], latents["normal"]]))
    window = around(torch.from_numpy(sample.mask >= 128))
    photo, photo_latent = torch.from_numpy(sample.photo), torch.from_numpy(latents["photo"])
    return Item(name, None, None, photo, both, photo_latent, "", window)

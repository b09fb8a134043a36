"""How far off the depth of real coarse fits is, beside every set's latents: DATA/fits/NAME.npz.

`python -m experiments.decoder.fitted_noise DATA --bundle mini`; the variant fitted-noise learns from it.
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
from img2mv3d.data.perturbation import perturb_latents
from img2mv3d.data.renders import RenderSet, Sample, write_atomically
from img2mv3d.errors import InputError, NothingFoundError
from img2mv3d.files.contents import read_npz
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.window import around
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import fit_depth, plain_views
from img2mv3d.train.decoder import resampler
from img2mv3d.train.pool import Item
from img2mv3d.values import Depth, Latents

PERTURBED_SHARE = 0.6  # of the sets: fitted to views of perturbed latents, as a training sees them; else clean ones
STEP = 450  # noise step of 1000 from which the denoiser resamples


def make_fits(
    data: Path, bundle: Bundle, *, split: str = "train", limit: int | None = None, report: Callable[[str], None] = print
) -> int:
    """Fit every set of the split that has latents and no fit yet; can be stopped and gone on with.

    Returns how many sets have one. A set whose views cannot be fitted is said and left out.

    limit: sets in all.
    """
    sets, plain = RenderSet(data), bundle.plain_decoder()
    generator = bundle.generator()
    names = [n for n in sets.names(split) if sets.latents_path(n).exists()][:limit]
    for number, name in enumerate(names):
        path = fits_path(sets, name)
        if path.exists():
            continue
        sample = sets.load(name)
        item = _item(sets, name, sample)
        rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        perturbed = float(torch.rand(1, generator=rng)) < PERTURBED_SHARE
        latents = item.latents
        if perturbed:
            moves = int(torch.randint(1 << 30, (1,), generator=rng))  # both domains are moved alike
            resample = resampler(generator, moves, (STEP, STEP))  # of its own: alike wherever it was stopped
            assert resample is not None
            resampled = resample(item)
            latents = torch.stack([perturb_latents(x, torch.Generator().manual_seed(moves)) for x in resampled])
        color, normal = latents.numpy()
        photo = np.concatenate([sample.color[FRONT], sample.mask[FRONT][..., None]], axis=-1)
        shown = Latents(color, normal, photo, SIX_VIEWS, sample.framing_px, dict(bundle.vae), bundle.name, 0)
        try:
            depth = fit_depth(plain_views(shown, decoder=plain), options=DepthOptions())
        except NothingFoundError as error:
            report(f"left out: {name}: {error}")
            continue
        error = depth_error(depth, sample)
        write_atomically(path, error=error, perturbed=np.array(perturbed), bundle=np.array(bundle.digest))
        inside = sample.mask >= 128
        report(f"{number + 1} of {len(names)}: {name}, off by {np.abs(error[inside].astype(np.float32)).mean():.4f}")
    return sum(fits_path(sets, n).exists() for n in names)


def fits_path(sets: RenderSet, name: str) -> Path:
    """Where the depth error of a fit to a set's views lies, or will."""
    return sets.folder / "fits" / f"{name}.npz"


def fit_error(sets: RenderSet, name: str) -> Float16[np.ndarray, "V H W"] | None:
    """How far off the z of that fit is, world units; None when there is none."""
    path = fits_path(sets, name)
    return read_npz(path, InputError, required=("error",))["error"] if path.exists() else None


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


if __name__ == "__main__":
    import argparse

    from img2mv3d.bundles.weights import load_bundle

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", default="mini")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    make_fits(options.data, load_bundle(options.bundle), limit=options.limit)

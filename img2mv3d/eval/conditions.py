"""Held-out renders as decoders meet them: clean latents and true depth, perturbed latents, or generated ones."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from img2mv3d.bundles.weights import Bundle
from img2mv3d.data.corpus import load_solid
from img2mv3d.data.perturbation import perturb_latents, resample_latents
from img2mv3d.data.renders import RenderSet, Sample, world_vertices
from img2mv3d.eval import CONDITIONS
from img2mv3d.eval.comparison import Case, Mesh, Planned
from img2mv3d.eval.objects import front_photo, views_of
from img2mv3d.files.contents import to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.framing import Framing
from img2mv3d.nets.generator import GeneratorNets
from img2mv3d.nets.vae import encode_boxed
from img2mv3d.nets.window import around
from img2mv3d.plans import DepthOptions, GenerateOptions
from img2mv3d.stages.depth import body_views, decoded_normals, fit_depth, plain_views
from img2mv3d.stages.generate import from_body, generate
from img2mv3d.values import Body, Depth, Latents, Subject

RESAMPLE_STEP = 450  # noise step of 1000 from which perturbed latents are denoised: shapes stay, detail is resampled


def planned(
    bundle: Bundle, data: Path, count: int, conditions: Sequence[str], meshes: Path | None = None
) -> Iterator[Planned]:
    """Up to `count` held-out objects under these CONDITIONS, the same whatever else is measured.

    bundle: whose encoder, denoiser and plain decoder make the latents and the depth.
    meshes: the corpus that `data` was rendered from with seed 0; its surfaces become the cases' truth.
    """
    sets = RenderSet(data)
    for name in held_out_sets(sets, count):
        for condition in CONDITIONS:
            if condition in conditions:
                yield Planned(name, condition, bundle.digest, _maker(bundle, sets, name, condition, meshes))


def held_out_sets(sets: RenderSet, count: int) -> list[str]:
    """Up to `count` sets of the split `val`, one of each object, in the order of their weight in training."""
    first: dict[str, str] = {}
    weights = sets.weights("val")
    for name in weights:
        first.setdefault(name.rsplit(".", 1)[0], name)
    return sorted(first.values(), key=lambda n: -weights[n])[:count]


def make_case(bundle: Bundle, name: str, sample: Sample, condition: str) -> Case:
    """One object under one condition.

    clean: the latents of its views, and their true depth.
    perturbed: both domains resampled by the denoiser, then shifted, scaled and noised by view; depth of a coarse fit to
    their plain views, as in a run.
    generated: what the bundle makes of its photo, with such a depth. The truth is another object than what was made.
    """
    truth = views_of(sample.color.astype(np.float32) / 255, sample.mask, sample.normal)
    z = sample.z.astype(np.float32) * (truth.mask >= 0.5)
    if condition == "generated":
        latents = latents_of(sample.photo, bundle.generator(), sample.framing_px, seed_of(name))
        return with_latents(Case(name, condition, sample.photo, truth, z), latents, bundle)
    cells = _clean_latents(bundle, sample)
    if condition == "perturbed":
        cells = _perturbed(bundle, name, sample, cells)
    front = front_photo(truth.color, truth.mask)
    color, normal = cells.numpy()
    latents = Latents(color, normal, front, SIX_VIEWS, bundle.framing_px, dict(bundle.vae), bundle.name, 0)
    case = Case(name, condition, front, truth, z)
    depth = Depth(z, (truth.mask >= 0.5).astype(np.float32), truth, origin="exact") if condition == "clean" else None
    return with_latents(case, latents, bundle, depth)


def with_latents(
    case: Case, latents: Latents, bundle: Bundle, depth: Depth | None = None, body: Body | None = None
) -> Case:
    """The case with latents to decode. depth: None: a coarse fit to their plain views, of which a body has outlines and
    normals."""
    decoder, prior = bundle.plain_decoder(), bundle.revolution_prior(latents)
    if depth is None:
        prior_views = {"decoder": decoder, "revolution_prior": prior}
        plain = body_views(latents, body, decoder=decoder) if body else plain_views(latents, **prior_views)
        depth = fit_depth(plain, options=DepthOptions())
    normals = decoded_normals(latents, decoder)
    return replace(case, latents=latents, depth=depth, normals=normals, prior=prior)


def latents_of(
    photo: np.ndarray, nets: GeneratorNets, framing_px: int, seed: int = 0, body: Body | None = None
) -> Latents:
    """What a generator makes of a framed photo (uint8 RGBA), at its own settings. body: what it begins with."""
    subject = Subject(photo, photo, Framing((1.0, 1.0), (0.0, 0.0), framing_px))
    rng = torch.Generator().manual_seed(seed)
    if body is not None:
        return from_body(subject, body, generator=nets, options=GenerateOptions(), rng=rng, seed=seed)
    return generate(subject, generator=nets, options=GenerateOptions(), rng=rng, seed=seed)


def true_mesh(meshes: Path, name: str) -> Mesh | None:
    """A set's object as it stood when it was rendered with seed 0; None without its mesh."""
    path = meshes / "objects" / f"{name.rsplit('.', 1)[0]}.npz"
    if not path.exists():
        return None
    solid = load_solid(path)
    return world_vertices(solid, name), solid.faces


def seed_of(name: str) -> int:
    """Of all random numbers of a set, by its name alone: the same beside whichever others."""
    return zlib.crc32(name.encode()) >> 1


def _maker(bundle: Bundle, sets: RenderSet, name: str, condition: str, meshes: Path | None) -> Callable[[], Case]:
    def make() -> Case:
        case = make_case(bundle, name, sets.load(name), condition)
        return case if meshes is None else replace(case, mesh=true_mesh(meshes, name))

    return make


def _clean_latents(bundle: Bundle, sample: Sample) -> Float[torch.Tensor, "D V 4 h w"]:
    pictures = (torch.from_numpy(x).movedim(-1, 1).float() / 255 for x in (sample.color, sample.normal))
    return torch.stack([encode_boxed(bundle.encoder(), one) for one in pictures])


def _perturbed(
    bundle: Bundle, name: str, sample: Sample, latents: Float[torch.Tensor, "D V 4 h w"]
) -> Float[torch.Tensor, "D V 4 h w"]:
    seed, photo = seed_of(name), torch.from_numpy(sample.photo)
    window = around(torch.from_numpy(sample.mask) / 255 >= 0.5)
    white = to_bytes(over_white(*np.split(sample.photo.astype(np.float32) / 255, [3], axis=-1)))
    white = torch.from_numpy(white).movedim(-1, 0)[None].float() / 255
    inputs = photo, encode_boxed(bundle.encoder(), white)[0], window
    made = resample_latents(bundle.generator(), latents, *inputs, RESAMPLE_STEP, torch.Generator().manual_seed(seed))
    # both domains are moved alike
    return torch.stack([perturb_latents(x, torch.Generator().manual_seed(seed + 1)) for x in made])

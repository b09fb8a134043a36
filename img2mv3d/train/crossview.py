"""Training of the cross-view decoder: bands of rows of all views, depth disturbed, latents that disagree -> the true
views.

In: rendered sets with their latents, a trained plain decoder, a `Variant`. Out: decoder weights and figures.
Why here: it stands on a plain decoder, and what it is judged on is not what a plain decoder is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from img2mv3d.conventions import LATENT_FACTOR
from img2mv3d.errors import InputError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.epipolar import neighbours, row_taps, structured_noise
from img2mv3d.geometry.warp import SAME_SURFACE, warp_error
from img2mv3d.nets.crossview import FACTORS, CrossViewConfig, CrossViewDecoder, Guides, crop, make_guides
from img2mv3d.train.corruption import corrupted, depth_noise, rough_outlines
from img2mv3d.train.decoder import Imagine, picture_loss, psnr
from img2mv3d.train.features import feature_loss
from img2mv3d.train.loop import LoopOptions, run_loop, save_weights
from img2mv3d.train.pictures import tile
from img2mv3d.train.pool import as_float, draw_float, draw_int
from img2mv3d.train.scenes import Scene, Scenes
from img2mv3d.train.team import joined
from img2mv3d.train.variants import BEST, VARIANTS, Variant

BAND = 64  # rows of px in a step: closed under the attention of this rig, a fifth of a whole step's cost
RIM = 8  # px without loss at a band's edges, whose neighbours the decoder cannot know
EXACT_SHARE = 0.4  # of the steps, on exact latents; the others on latents that disagree from view to view,
IMAGINED_SHARE = 0.4  # of those: painted by the denoiser, before they are shifted and noised like all of them
PHOTO_SHARE = 0.25  # of the steps, with an imperfect photo instead of the rendered front view
DROP_SHARE = 0.2  # of the steps, with one view that no other view may look into
ROUGH_SHARE = 0.7  # of the steps of a variant with rough outlines; the others keep the true ones
DEPTH_NOISE = 0.1  # world units, amplitude of eq. 3's coarsest grid; ours draws less, up to it at the end
FULL_SHARE = 1 / 16  # of the budget, at its end, on whole pictures: group norms see other statistics there
REFRESH_STEPS = 60
HELD_NOISE = 0.02  # depth noise of the held-out figures: like a quick fit's error
LEARNING_RATE, LAST_RATE, NEW_FACTOR = 1e-4, 1e-5, 15.0  # of the base; what stands on it learns that much faster
PUBLISHED_RATES = (1e-5, 1e-6, 50.0)  # the same on a base that its authors trained: the paper's rate
NEW_PARTS = ("front.", "carry.", "attention.")


class Overlap(NamedTuple):
    """Pixels of a band and the same surface points in the next view round the ring. pixel: where
    (view * h * w + pixel). index, weight:
    two taps in the other view's pixels, likewise."""

    pixel: Int[Tensor, " P"]
    index: Int[Tensor, "P 2"]
    weight: Float[Tensor, "P 2"]


class CrossViewTask:
    """Loss L1 + 0.5 L1 of the gradients on a band of rows of all views of one object, and on what neighbouring views
    get wrong differently at points that both see. full_share: of the budget, at its end, on whole pictures."""

    def __init__(
        self, train: Scenes, held: Scenes, net: CrossViewDecoder, variant: Variant, full_share: float = FULL_SHARE
    ) -> None:
        self.net, self.variant, self.full_share = net, variant, full_share
        self.train, self.held = train, held
        self._calls = 0
        net.attention_on = variant.attention
        self._whole_line = any(a.whole_line for a in net.attention)

    def new_parameters(self) -> list[nn.Parameter]:
        """What learns at the higher rate."""
        return [p for k, p in self.net.named_parameters() if k.startswith(NEW_PARTS)]

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        """One band, or whole pictures at the end; depth noise grows with `progress`. Every variant sees the same
        objects, bands, spoilt latents, dropped views and photos."""
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.train.refresh()
        if not self.train.items:
            raise ValueError("no training sets with latents yet; run `img2mv3d data render` and encode them first")
        own = torch.Generator().manual_seed(draw_int(rng, 1 << 30))  # a step's numbers, however many it takes
        place = next(self.net.parameters()).device  # numbers are drawn on the processor, the same for every device
        scene = self.train.items[draw_int(own, len(self.train.items))]
        z, hit = scene.depth()
        latents, spoilt = self._latents(scene, own)
        dropped = (1 + draw_int(own, len(z) - 1),) if draw_float(own) < DROP_SHARE else ()
        imperfect = draw_float(own) < PHOTO_SHARE
        size = z.shape[-1]
        rows, columns = (0, size), (0, size)
        start = _band(scene.mask, own)
        if progress < 1 - self.full_share and size > BAND:
            rows = (start, start + BAND)
            if not self._whole_line:  # which leaves the columns round the object
                columns = tuple(LATENT_FACTOR * c for c in (scene.window.left, scene.window.left + scene.window.width))
        amplitude = DEPTH_NOISE * progress * draw_float(own) ** 2 if self.variant.growing else DEPTH_NOISE
        rough = self.variant.rough and draw_float(own) < ROUGH_SHARE
        told_z, told_hit = rough_outlines(z, hit, own) if rough else (z, hit)
        told_z = (told_z + self._depth_noise(scene, own, amplitude)) * told_hit
        told = (m.to(place) for m in (told_z, told_hit, scene.front(imperfect)))
        z, hit = z.to(place), hit.to(place)
        guides = crop(make_guides(*told, SIX_VIEWS, dropped), rows, columns)
        part = (..., *(slice(a // LATENT_FACTOR, b // LATENT_FACTOR) for a, b in (rows, columns)))
        jitter = tuple(j.to(place) for j in draw_jitter(self.net, guides, own))
        found = self.net(latents[part].to(place), guides, jitter)
        band = (..., slice(*rows), slice(*columns))
        target = as_float(scene.color.to(place))[band]
        known = (..., *(slice(RIM * (a > 0), b - a - RIM * (b < size)) for a, b in (rows, columns)))
        loss = picture_loss(found[known], target[known])
        if self.variant.agreement and (spoilt or not self.variant.forgiving):
            pairs = overlap(z[band], hit[band], (columns[1] - columns[0]) / size)
            loss = loss + self.variant.agreement * agreement_loss(found - target, pairs)
        if self.variant.features:
            loss = loss + self.variant.features * feature_loss(found[known], target[known])
        return loss

    def _depth_noise(self, scene: Scene, rng: torch.Generator, amplitude: float) -> Float[Tensor, "V H W"]:
        """What is added to the true depth; that of a real fit is as large as it was, from the first step on."""
        if self.variant.noise != "fitted":
            return depth_noise(self.variant.noise, rng, len(scene.z), scene.z.shape[-1], amplitude)
        if scene.fitted is None:
            return depth_noise("structured", rng, len(scene.z), scene.z.shape[-1], amplitude)
        return scene.fitted.float()

    def _latents(self, scene: Scene, rng: torch.Generator) -> tuple[Float[Tensor, "V 4 h w"], bool]:
        """Of one step, and whether they are spoilt."""
        if draw_float(rng) < EXACT_SHARE:
            return scene.latents, False
        return corrupted(scene.imagined if draw_float(rng) < IMAGINED_SHARE else scene.latents, rng), True

    def held_out(self, net: nn.Module) -> dict[str, float]:
        """PSNR in the mask of the front view and of the others, colour disagreement by warping; depth a little off;
        exact latents, then corrupted ones.
        """
        self.held.refresh()
        figures = {}
        for name in ("exact", "corrupted"):
            rows = [_held_figures(net, scene, i, name == "corrupted") for i, scene in enumerate(self.held.items)]
            if rows:
                figures |= {f"{name}_{key}": float(np.mean([row[key] for row in rows])) for key in rows[0]}
        return figures

    def sheet(self, net: nn.Module) -> np.ndarray:
        """Rows: four true views, the same decoded from corrupted latents."""
        rows = []
        for i, scene in enumerate(self.held.items[:4]):
            found = _decode_held(net, scene, i, True)
            rows.append([p for v in range(4) for p in (scene.color[v].numpy(), found[v].movedim(0, -1).numpy())])
        return tile(rows) if rows else np.full((8, 8, 3), 255, np.uint8)


def train(
    data: Path,
    plain: Mapping[str, Tensor] | None,
    out: Path,
    minutes: float,
    *,
    variant: str = BEST,
    steps: int | None = None,
    seed: int = 0,
    numbers: Mapping[str, object] | None = None,
    start: Mapping[str, Tensor] | None = None,
    imagine: Imagine | None = None,
    rates: tuple[float, float, float] = (LEARNING_RATE, LAST_RATE, NEW_FACTOR),
    sets: int = 400,
    held_out: int = 4,
    full: bool = False,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] = print,
) -> CrossViewDecoder:
    """Train a cross-view decoder on a plain decoder's weights; resumes from `out`.

    minutes: wall clock; steps, instead, when given. variant: a name of VARIANTS. numbers: for the base, when it is not
    of the shipped size. start: weights of a cross-view decoder of the same variant, whose parts (not whose
    base) are gone on with; with `plain` None, its base, too. imagine: latents as a denoiser paints them. rates: of the
    base at the beginning and at the end, and how much faster the rest learns. sets: kept in memory at most (2.5 MB
    each). full: whole pictures from the first step on, not only at the end. device: where it computes; sets and
    imagined latents stay with the processor. A file named `stop` in `out` ends the training.
    Returns the averaged network, which also lies in out/ema.safetensors. Raises KeyError on an unknown variant.
    """
    chosen = VARIANTS[variant]
    torch.manual_seed(seed)
    net = CrossViewDecoder(CrossViewConfig.from_dict({**(numbers or {}), **chosen.net}))
    if start is not None:
        net.load_state_dict(start)
    if plain is not None:
        net.load_plain(plain)
    net.to(device)
    net.to(memory_format=torch.contiguous_format)  # a quarter faster to train; `decode` of a fresh network uses its own
    average = copy.deepcopy(net)
    average.attention_on = chosen.attention
    task = CrossViewTask(
        Scenes(Path(data), "train", sets, imagine=imagine, fitted=chosen.noise == "fitted"),
        Scenes(Path(data), "val", held_out, imagine=imagine),
        net,
        chosen,
        1.0 if full else FULL_SHARE,
    )
    _tell_fits(task, report)
    if held_out and not task.held.items:
        report(f"{data}: no held-out set has latents yet; until one has, this training goes unwatched")
    options = LoopOptions(
        minutes=minutes,
        steps=steps,
        warmup=30 if steps is None else min(30, steps // 10),
        lr=rates[0],
        lr_end=rates[1],
        new_lr_factor=rates[2],
        ema=0.99,
        checkpoint_minutes=5.0,
        seed=seed,
    )
    run_loop(task, average, Path(out), options, report)
    if joined().first:
        save_weights(average, Path(out) / "ema.safetensors")
    return average.cpu().eval()


def _tell_fits(task: CrossViewTask, report: Callable[[str], None]) -> None:
    """Of the variant that learns from fits: how many sets have one. Raises InputError when none has."""
    if task.variant.noise == "fitted":
        have = sum(scene.fitted is not None for scene in task.train.items)
        if not have:
            raise InputError(f"{task.train.sets.folder}: no set has a fit; `img2mv3d data fits` makes them")
        report(f"{have} of {len(task.train.items)} sets have a fit; the others get the paper's noise")


def overlap(z: Float[Tensor, "V h w"], hit: Float[Tensor, "V h w"], narrowed: float) -> Overlap:
    """Points of a band of rows of the six views that the next view round the ring sees, too, by the true depth.
    narrowed: width of the band over the picture's."""
    rig = replace(SIX_VIEWS, width=SIX_VIEWS.width * narrowed)
    flat, solid = z.flatten(1), hit.flatten(1) >= 0.5
    cells, parts = flat.shape[1], []
    for view, row in enumerate(neighbours(SIX_VIEWS)):
        other = row[0]
        pixel = solid[view].nonzero()[:, 0]
        taps = row_taps(rig, view, other, pixel, flat[view, pixel, None], z.shape[2])
        index, weight = taps.index[:, 0], taps.weight[:, 0]
        met = (flat[other][index] * weight).sum(-1)
        same = solid[other][index].all(-1) & (taps.inside[:, 0] > 0) & ((met - taps.z[:, 0]).abs() < SAME_SURFACE)
        parts.append((pixel[same] + view * cells, index[same] + other * cells, weight[same]))
    return Overlap(*(torch.cat(p) for p in zip(*parts, strict=True)))


def agreement_loss(error: Float[Tensor, "V 3 h w"], pairs: Overlap) -> Float[Tensor, ""]:
    """Mean absolute difference between the errors of two views at one surface point, 0 without such points. Of errors,
    not of colours: what true views differ in (light, sampling) costs nothing."""
    if not len(pairs.pixel):
        return error.sum() * 0
    flat = error.movedim(1, -1).reshape(-1, 3)
    there = (flat[pairs.index] * pairs.weight[..., None]).sum(1)
    return (flat[pairs.pixel] - there).abs().mean()


def draw_jitter(net: CrossViewDecoder, guides: Guides, rng: torch.Generator) -> tuple[Float[Tensor, "V _ _ _"], ...]:
    """Places of the points in their bins for every up-block; drawn even while the attention is off, so that runs stay
    comparable.
    """
    return tuple(
        torch.rand((len(level.z), a.points, *level.z.shape[1:]), generator=rng)
        for a, level in zip(net.attention, guides.levels, strict=True)
    )


def _band(mask: UInt8[Tensor, "V H W"], rng: torch.Generator) -> int:
    """First row, in multiples of 8 px, of a band that meets the object."""
    covered = (mask >= 128).any(dim=-1).any(dim=0).nonzero()
    height = mask.shape[1]
    low, high = (int(covered[0]), int(covered[-1]) + 1) if len(covered) else (0, height)
    first, last = sorted((low - RIM, high - BAND + RIM))
    start = first + draw_int(rng, last - first + 1)
    return min(max(start, 0), height - BAND) // FACTORS[0] * FACTORS[0]


def _decode_held(net: nn.Module, scene: Scene, seed: int, spoilt: bool) -> Float[Tensor, "V 3 H W"]:
    z, hit = scene.depth()
    rng = torch.Generator().manual_seed(seed)
    noisy = (z + structured_noise(rng, len(z), z.shape[-1], HELD_NOISE)) * hit
    latents = corrupted(scene.imagined, rng) if spoilt else scene.latents
    place = next(net.parameters()).device
    told = (m.to(place) for m in (latents, noisy, hit, scene.front(False)))
    return net.decode(*told, SIX_VIEWS).clamp(0, 1).cpu()


def _held_figures(net: nn.Module, scene: Scene, seed: int, spoilt: bool) -> dict[str, float]:
    found, (z, hit) = _decode_held(net, scene, seed, spoilt), scene.depth()
    inside: Bool[Tensor, "V H W"] = hit > 0
    error = (found - as_float(scene.color)).square().mean(dim=1)
    by_view = [psnr(float(e[m].mean())) for e, m in zip(error, inside, strict=True) if m.any()]
    return {
        "psnr_mask_front": by_view[0],
        "psnr_mask_others": float(np.mean(by_view[1:])),
        "warp_error": warp_error(found.movedim(1, -1), z, hit, SIX_VIEWS),
        "warp_error_truth": warp_error(as_float(scene.color).movedim(1, -1), z, hit, SIX_VIEWS),
    }

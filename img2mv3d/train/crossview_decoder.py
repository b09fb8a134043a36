"""Training of the cross-view decoder on bands of rows: perturbed latents, depth and masks -> the true views."""

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
from img2mv3d.data.perturbation import jitter_masks, perturb_latents
from img2mv3d.errors import InputError
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.epipolar import row_taps, structured_noise
from img2mv3d.geometry.rings import neighbours
from img2mv3d.geometry.similarity import decibels
from img2mv3d.geometry.warp import SAME_SURFACE
from img2mv3d.nets.crossview import FACTORS, CrossViewConfig, CrossViewDecoder, Guides, crop, make_guides
from img2mv3d.train.decoder import PSNR_LEVEL, Resample, picture_loss
from img2mv3d.train.loop import LoopOptions, run_loop, save_weights
from img2mv3d.train.pictures import tile
from img2mv3d.train.pool import as_float, draw_float, draw_int
from img2mv3d.train.process_group import joined
from img2mv3d.train.scenes import Scene, Scenes

BAND = 64  # rows of px in a step: closed under the attention of this rig, a fifth of a whole step's cost
RIM = 8  # px without loss at a band's edges, whose neighbours the decoder cannot know
CLEAN_SHARE = 0.4  # of the steps, on clean latents; the others on latents that disagree from view to view,
RESAMPLED_SHARE = 0.4  # of those: resampled by the denoiser, before they are shifted and noised like all of them
PHOTO_SHARE = 0.25  # of the steps, with an imperfect photo instead of the rendered front view
DROP_SHARE = 0.2  # of the steps, with one view that no other view may look into
JITTER_SHARE = 0.7  # of the steps, with jittered masks; the others keep the true ones
DEPTH_NOISE = 0.1  # world units, amplitude of eq. 3's coarsest grid; ours draws less, up to it at the end
FULL_SHARE = 1 / 16  # of the budget, at its end, on whole pictures: group norms see other statistics there
REFRESH_STEPS = 60
HELD_NOISE = 0.02  # depth noise of the held-out figures: like a coarse fit's error
LEARNING_RATE, LAST_RATE, NEW_FACTOR = 1e-4, 1e-5, 15.0  # of the base; what stands on it learns that much faster
PUBLISHED_RATES = (1e-5, 1e-6, 50.0)  # the same on a base that its authors trained: the paper's rate
NEW_PARTS = ("front.", "carry.", "attention.")
CONSISTENCY_WEIGHT = 0.5  # of the loss on disagreement, beside 1 of the colours


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

    whole_rows = False  # whether a band must keep all columns, not only those round the object

    def __init__(self, train: Scenes, held: Scenes, net: CrossViewDecoder, full_share: float = FULL_SHARE) -> None:
        self.net, self.full_share = net, full_share
        self.train, self.held = train, held
        self._calls = 0

    def new_parameters(self) -> list[nn.Parameter]:
        """What learns at the higher rate."""
        return [p for k, p in self.net.named_parameters() if k.startswith(NEW_PARTS)]

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        """One band, or whole pictures at the end; depth noise grows with `progress`."""
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.train.refresh()
        if not self.train.items:
            raise InputError("no training sets with latents yet; run `img2mv3d data render` and encode them first")
        own = torch.Generator().manual_seed(draw_int(rng, 1 << 30))  # a step's numbers, however many it takes
        place = next(self.net.parameters()).device  # numbers are drawn on the processor, the same for every device
        scene = self.train.items[draw_int(own, len(self.train.items))]
        z, hit = scene.depth()
        latents, perturbed = self.latents(scene, own)
        dropped, photo = self.dropped(len(z), own), self.photo(scene, own)
        size = z.shape[-1]
        rows, columns = (0, size), (0, size)
        start = _band(scene.mask, own)
        if progress < 1 - self.full_share and size > BAND:
            rows = (start, start + BAND)
            if not self.whole_rows:
                columns = tuple(LATENT_FACTOR * c for c in (scene.window.left, scene.window.left + scene.window.width))
        amplitude = self.noise_amplitude(progress, own)
        shown_z, shown_hit = self.masks(z, hit, own)
        shown_z = (shown_z + self.depth_noise(scene, own, amplitude)) * shown_hit
        inputs = (m.to(place) for m in (shown_z, shown_hit, photo))
        z, hit = z.to(place), hit.to(place)
        guides = crop(make_guides(*inputs, SIX_VIEWS, dropped), rows, columns)
        part = (..., *(slice(a // LATENT_FACTOR, b // LATENT_FACTOR) for a, b in (rows, columns)))
        jitter = tuple(j.to(place) for j in draw_jitter(self.net, guides, own))
        found = self.net(latents[part].to(place), guides, jitter)
        band = (..., slice(*rows), slice(*columns))
        target = as_float(scene.color.to(place))[band]
        known = (..., *(slice(RIM * (a > 0), b - a - RIM * (b < size)) for a, b in (rows, columns)))
        pairs = overlap(z[band], hit[band], (columns[1] - columns[0]) / size)
        return self.picture_loss(found[known], target[known]) + self.consistency(found - target, pairs, perturbed)

    # what another recipe or an ablation may do otherwise, one method each

    def latents(self, scene: Scene, rng: torch.Generator) -> tuple[Float[Tensor, "V 4 h w"], bool]:
        """Of one step, and whether they are perturbed."""
        if draw_float(rng) < CLEAN_SHARE:
            return scene.latents, False
        chosen = scene.resampled if draw_float(rng) < RESAMPLED_SHARE else scene.latents
        return perturb_latents(chosen, rng), True

    def dropped(self, views: int, rng: torch.Generator) -> tuple[int, ...]:
        """Views that no other view may look into: one that is not the front, in some steps."""
        return (1 + draw_int(rng, views - 1),) if draw_float(rng) < DROP_SHARE else ()

    def photo(self, scene: Scene, rng: torch.Generator) -> Float[Tensor, "4 H W"]:
        """The front condition: the rendered front view, in some steps an imperfect photo."""
        return scene.front(draw_float(rng) < PHOTO_SHARE)

    def noise_amplitude(self, progress: float, rng: torch.Generator) -> float:
        """Of the depth noise, drawn anew for every step; it grows up to DEPTH_NOISE."""
        return DEPTH_NOISE * progress * draw_float(rng) ** 2

    def masks(
        self, z: Float[Tensor, "V H W"], hit: Float[Tensor, "V H W"], rng: torch.Generator
    ) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
        """z and hit as the network is told them: in most steps with jittered masks."""
        return jitter_masks(z, hit, rng) if draw_float(rng) < JITTER_SHARE else (z, hit)

    def depth_noise(self, scene: Scene, rng: torch.Generator, amplitude: float) -> Float[Tensor, "V H W"]:
        """What is added to the true depth: the paper's eq. 3."""
        return structured_noise(rng, len(scene.z), scene.z.shape[-1], amplitude)

    def picture_loss(self, predicted: Float[Tensor, "V 3 h w"], target: Float[Tensor, "V 3 h w"]) -> Float[Tensor, ""]:
        """By the colours."""
        return picture_loss(predicted, target)

    def consistency(self, error: Float[Tensor, "V 3 h w"], pairs: Overlap, perturbed: bool) -> Float[Tensor, ""]:
        """By what neighbouring views get wrong differently. perturbed: whether the step's latents are."""
        return CONSISTENCY_WEIGHT * consistency_loss(error, pairs)

    def held_out(self, net: nn.Module) -> dict[str, float]:
        """PSNR in the mask of the front view and of the others, reprojection error; depth a little off; clean latents,
        then perturbed ones."""
        self.held.refresh()
        figures = {}
        for name in ("clean", "perturbed"):
            rows = [_held_figures(net, scene, i, name == "perturbed") for i, scene in enumerate(self.held.items)]
            if rows:
                figures |= {f"{name}_{key}": float(np.mean([row[key] for row in rows])) for key in rows[0]}
        return figures

    def sheet(self, net: nn.Module) -> np.ndarray:
        """Rows: four true views, the same decoded from perturbed latents."""
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
    steps: int | None = None,
    seed: int = 0,
    numbers: Mapping[str, object] | None = None,
    start: Mapping[str, Tensor] | None = None,
    resample: Resample | None = None,
    rates: tuple[float, float, float] = (LEARNING_RATE, LAST_RATE, NEW_FACTOR),
    sets: int = 400,
    held_out: int = 4,
    full: bool = False,
    device: torch.device | str = "cpu",
    network: type[CrossViewDecoder] = CrossViewDecoder,
    task: type[CrossViewTask] = CrossViewTask,
    report: Callable[[str], None] = print,
) -> CrossViewDecoder:
    """Train a cross-view decoder on a plain decoder's weights; resumes from `out`.

    A file named `stop` in `out` ends the training. Returns the averaged network, also in out/ema.safetensors.

    minutes: wall clock; steps: instead, when given.
    numbers: for the base, when it is not of the shipped size.
    start: weights of a cross-view decoder, whose parts (not whose base) are gone on with; with `plain` None, its base,
        too.
    resample: latents as a denoiser makes them.
    rates: of the base at the beginning and at the end, and how much faster the rest learns.
    sets: kept in memory at most (2.5 MB each).
    full: whole pictures from the first step on, not only at the end.
    device: where it computes; sets and resampled latents stay with the processor.
    network, task: other ones, for ablations.
    """
    torch.manual_seed(seed)
    net = network(CrossViewConfig.from_dict(numbers or {}))
    if start is not None:
        net.load_state_dict(start)
    if plain is not None:
        net.load_plain(plain)
    net.to(device)
    net.to(memory_format=torch.contiguous_format)  # a quarter faster to train; `decode` of a fresh network uses its own
    average = copy.deepcopy(net)
    learning = task(
        Scenes(Path(data), "train", sets, resample=resample),
        Scenes(Path(data), "val", held_out, resample=resample),
        net,
        1.0 if full else FULL_SHARE,
    )
    if held_out and not learning.held.items:
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
    run_loop(learning, average, Path(out), options, report)
    if joined().first:
        save_weights(average, Path(out) / "ema.safetensors")
    return average.cpu().eval()


def folder_in(out: Path) -> Path:
    """Where a training in `out` keeps its state; that of version 0.1.0 is gone on with."""
    return former if (former := out / "rough-outlines").is_dir() else out / "crossview"


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


def consistency_loss(error: Float[Tensor, "V 3 h w"], pairs: Overlap) -> Float[Tensor, ""]:
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


def _decode_held(net: nn.Module, scene: Scene, seed: int, perturbed: bool) -> Float[Tensor, "V 3 H W"]:
    z, hit = scene.depth()
    rng = torch.Generator().manual_seed(seed)
    noisy = (z + structured_noise(rng, len(z), z.shape[-1], HELD_NOISE)) * hit
    latents = perturb_latents(scene.resampled, rng) if perturbed else scene.latents
    place = next(net.parameters()).device
    inputs = (m.to(place) for m in (latents, noisy, hit, scene.front(False)))
    return net.decode(*inputs, SIX_VIEWS).clamp(0, 1).cpu()


def _held_figures(net: nn.Module, scene: Scene, seed: int, perturbed: bool) -> dict[str, float]:
    found, (z, hit) = _decode_held(net, scene, seed, perturbed), scene.depth()
    inside: Bool[Tensor, "V H W"] = hit > 0
    error = (found - as_float(scene.color)).square().mean(dim=1)
    by_view = [decibels(float(e[m].mean()), PSNR_LEVEL) for e, m in zip(error, inside, strict=True) if m.any()]
    return {
        "psnr_mask_front": by_view[0],
        "psnr_mask_others": float(np.mean(by_view[1:])),
        "reprojection_error": reprojection_error(found.movedim(1, -1).numpy(), z.numpy(), hit.numpy(), SIX_VIEWS),
        "reprojection_error_truth": reprojection_error(scene.color.numpy() / 255, z.numpy(), hit.numpy(), SIX_VIEWS),
    }

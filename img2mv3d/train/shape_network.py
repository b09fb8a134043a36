"""Training of the shape network on pictures of known bodies.

In: a folder of shards (`data.shape_set`), perhaps still growing. Out: its weights, figures on the dev scans, sheets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from img2mv3d.data.shape_samples import Sample, clean_sample, random_sample
from img2mv3d.data.shape_set import ShapeSet
from img2mv3d.errors import InputError
from img2mv3d.geometry.columns import BIN, BINS
from img2mv3d.geometry.symmetry import TURNS
from img2mv3d.nets.shape import (
    PITCH_UNIT_DEG,
    REVOLVED,
    Layers,
    ShapeConfig,
    ShapeMaps,
    ShapeNet,
    columns,
    likely_ratio,
    ratio_bins,
)
from img2mv3d.train.imagenet import load_published
from img2mv3d.train.loop import LoopOptions, train_average

REFRESH_STEPS = 100
FROZEN_BLOCKS = 3  # of the encoder, and its stem: edges and colours are the same everywhere
ROUND_IOU = (0.75, 0.9)  # of a body and its outline's revolution: from not round to round
LEAST_MET = (0.6, 0.8)  # shares of a surface that meets its mirror image: no plane to surely one
WORSE = 0.12  # than the best plane by this share: no plane any more
LEAST_THICKNESS = 0.02  # world units: thinner columns are learnt as this thick


# The encoder learns at a tenth of the rate of what starts from nothing.
RATES = LoopOptions(lr=8e-5, lr_end=4e-6, warmup=100, new_lr_factor=10.0, ema=0.998, checkpoint_minutes=5.0)
GOING_ON = replace(RATES, lr=2.5e-5, lr_end=1e-6, new_lr_factor=8.0)  # from weights that have learnt already


@dataclass(frozen=True)
class ShapeLosses:
    """Weights of the losses' parts. depth: L1 of front and back, per world unit. slope: L1 of the differences of both
    layers between neighbours, at three distances. spread: Laplace likelihood of middle and log thickness. fill: what is
    solid between front and back. outline: cross-entropy of the outlines cast at 45, 90 and -45 degrees. body: soft
    volume IoU. ratio, pitch: their likelihoods. normal, far: of the finest heads. follows: cross-entropy of the gates
    that let columns follow the outline's revolution, where the body is one. plane: cross-entropy of whether each plane
    is the body's mirror.
    """

    depth: float = 5.0
    slope: float = 5.0
    spread: float = 0.1
    fill: float = 0.5
    outline: float = 0.5
    body: float = 0.5
    ratio: float = 0.1
    pitch: float = 0.1
    normal: float = 1.0
    far: float = 1.0
    follows: float = 0.2
    plane: float = 0.5


@dataclass(frozen=True)
class ShapeBatch:
    """pictures: of a step. told: share that is told the true extent in depth. fine_every: every so many steps the finer
    heads are trained, too."""

    pictures: int = 16
    told: float = 0.7
    fine_every: int = 4


class Batch(NamedTuple):
    """Stacked fields of `Sample`."""

    picture: Tensor
    outline: Tensor
    front: Tensor
    back: Tensor
    cover: Tensor
    normal: Tensor
    far: Tensor
    solid: Tensor
    depth: Tensor
    ratio: Tensor
    pitch_deg: Tensor
    mirror: Tensor


class ShapeTask:
    """The training of `train.loop`. new_parameters: all but the encoder, which begins with what ImageNet taught it."""

    def __init__(self, data: Path, net: ShapeNet, batch: ShapeBatch, losses: ShapeLosses) -> None:
        self.net, self.batch, self.losses = net, batch, losses
        self.pool = ShapeSet(data / "train")
        self.pool.refresh()
        self.dev = [clean_sample(r) for path in sorted((data / "dev").glob("*.npy")) for r in np.load(path)]
        net.lite.stem.requires_grad_(False)
        net.lite.blocks[:FROZEN_BLOCKS].requires_grad_(False)
        self._calls = 0

    def new_parameters(self) -> list[nn.Parameter]:
        """Those that start from nothing."""
        known = {id(p) for p in self.net.lite.parameters()}
        return [p for p in self.net.parameters() if id(p) not in known]

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        """Of a batch of random pictures."""
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.pool.refresh()
        numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
        samples = [random_sample(record, numbers) for record in self.pool.draw(numbers, self.batch.pictures)]
        batch = stacked(samples)
        known = torch.rand(len(samples), generator=rng) < self.batch.told
        fine = self._calls % self.batch.fine_every == 0
        seed = int(torch.randint(2**62, (1,), generator=rng))  # of what is dropped: resumed trainings drop the same
        half = torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16())
        with half, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            maps = self.net(batch.picture, batch.outline, batch.ratio, known, fine)
        return total_loss(maps, batch, self.losses)

    @torch.no_grad()
    def held_out(self, net: nn.Module) -> dict[str, float]:
        """On the dev scans, nothing where none are held out; extent in depth as predicted and (told_) as it is: mean
        error of front and back (world units), IoU of the solid and of outlines from 45 and 90 degrees; error of log
        depth; of the pitch (degrees); share of the surface that meets its mirror image in the likeliest plane, and in
        the best."""
        figures: dict[str, list[float]] = {}
        for start in range(0, len(self.dev), 16):
            batch = stacked(self.dev[start : start + 16])
            features = net.encode(batch.picture, batch.outline)
            logits, pitch = net.distribution(features, batch.outline)
            found = likely_ratio(logits)
            truth = pooled(batch.solid, 2) >= 0.5
            planes = net.planes(features)
            if planes is not None:
                chosen = planes.argmax(1)
                met = batch.mirror.gather(1, chosen[:, None])[:, 0]
                figures.setdefault("plane_met", []).extend(met.tolist())
                figures.setdefault("plane_best", []).extend(batch.mirror.amax(1).tolist())
            figures.setdefault("log_ratio", []).extend((found / batch.ratio).log().abs().tolist())
            figures.setdefault("pitch_deg", []).extend((pitch[:, 0] * PITCH_UNIT_DEG - batch.pitch_deg).abs().tolist())
            for name, ratio in (("", found), ("told_", batch.ratio)):
                known = torch.ones(len(ratio), dtype=torch.bool)
                layers = net.decode(features, batch.picture, batch.outline, ratio, known, fine=False).coarse
                depth = ratio * batch.depth / batch.ratio
                weight, front, back = layer_targets(batch, 4)
                half, middle = layers.log_half.exp() * depth[:, None, None], layers.middle * depth[:, None, None]
                error = ((middle - half - front).abs() + (middle + half - back).abs()) / 2
                figures.setdefault(f"{name}depth", []).extend(
                    ((error * weight).sum((1, 2)) / weight.sum((1, 2))).tolist()
                )
                body = (columns(layers, depth, BINS, BIN) * (weight > 0.5)[..., None]) >= 0.5
                figures.setdefault(f"{name}iou", []).extend(_iou(body, truth))
                for angle, mine, true in zip((45, 90), outlines(body), outlines(truth), strict=False):
                    figures.setdefault(f"{name}iou{angle}", []).extend(_iou(mine, true))
        return {name: float(np.mean(values)) for name, values in figures.items()}

    @torch.no_grad()
    def sheet(self, net: nn.Module) -> np.ndarray:
        """Rows: picture, front found and true, normals found and true, far side found and true, outline from 90 degrees
        found and true. White where nothing is held out."""
        if not self.dev:
            return np.full((8, 8, 3), 255, np.uint8)
        batch = stacked(self.dev[:: max(len(self.dev) // 12, 1)][:12])
        features = net.encode(batch.picture, batch.outline)
        ratio = likely_ratio(net.distribution(features, batch.outline)[0])
        known = torch.ones(len(ratio), dtype=torch.bool)
        maps = net.decode(features, batch.picture, batch.outline, ratio, known)
        depth = ratio * batch.depth / batch.ratio
        cover = batch.cover
        half = maps.fine.log_half.exp() * depth[:, None, None]
        front = F.interpolate((maps.fine.middle * depth[:, None, None] - half)[:, None], scale_factor=2)[:, 0]
        body = columns(maps.coarse, depth, BINS, BIN) * (layer_targets(batch, 4)[0] > 0.5)[..., None]
        sides = [F.interpolate(s.amax(2)[:, None], size=(128, 192)) for s in (body, pooled(batch.solid, 2))]
        grey = lambda z: ((0.7 - z) / 1.4).clamp(0, 1)[:, None].expand(-1, 3, -1, -1) * cover[:, None]  # noqa: E731
        parts = [
            batch.picture[:, :3],
            grey(front),
            grey(batch.front),
            (maps.normal / 2 + 0.5) * cover[:, None],
            (batch.normal / 2 + 0.5) * cover[:, None],
            F.interpolate(maps.far, scale_factor=2).clamp(0, 1) * cover[:, None],
            F.interpolate(batch.far, scale_factor=2),
            *(s.expand(-1, 3, -1, -1) for s in sides),
        ]
        picture = torch.cat(parts, dim=3).movedim(1, -1).flatten(0, 1)
        return (picture * 255).round().to(torch.uint8).numpy()


def train(
    data: Path, out: Path, minutes: float, *, seed: int, net: ShapeNet | None, report: Callable[[str], None]
) -> ShapeNet:
    """Train within the minutes, resuming from `out`; the moving average. net: gone on with; None: a new one, whose
    encoder begins with what ImageNet taught it. Raises InputError where there are no pictures."""
    rates = RATES if net is None else GOING_ON
    if net is None:
        net = ShapeNet(ShapeConfig(planes=len(TURNS)))
        load_published(net.lite)
    elif not net.config.planes:
        net = with_planes(net)
    task = ShapeTask(data, net, ShapeBatch(), ShapeLosses())
    if not task.pool.refresh():
        raise InputError(f"{data}: no pictures (train/*.npy) in there; `img2mv3d data shapes` makes them")
    return train_average(task, out, replace(rates, minutes=minutes, seed=seed), report)


def with_planes(net: ShapeNet) -> ShapeNet:
    """The same network, about to learn which plane is the mirror; until then its bodies are the same."""
    grown = ShapeNet(replace(net.config, planes=len(TURNS)))
    grown.load_state_dict(net.state_dict(), strict=False)
    return grown


def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware: a step then takes two thirds of the time."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def stacked(samples: list[Sample]) -> Batch:
    """Samples as tensors."""
    columns_ = []
    for field in fields(Sample):
        values = [getattr(sample, field.name) for sample in samples]
        array = np.stack(values) if isinstance(values[0], np.ndarray) else np.array(values, np.float32)
        columns_.append(torch.from_numpy(array))
    return Batch(*columns_)


def total_loss(maps: ShapeMaps, batch: Batch, losses: ShapeLosses) -> Tensor:
    """The weighted sum of all parts, a scalar; depths of the batch in world units."""
    solid = pooled(batch.solid, 2)
    loss = layers_loss(maps.coarse, batch, 4, solid, losses)
    weight = layer_targets(batch, 4)[0]
    body = columns(maps.coarse, batch.depth, BINS, BIN) * (weight > 0.25)[..., None]
    cast = [
        F.binary_cross_entropy(mine.clamp(1e-3, 1 - 1e-3), true, reduction="sum") / true.sum().clamp(min=1)
        for mine, true in zip(outlines(body), outlines(solid), strict=True)
    ]
    loss = loss + losses.outline * sum(cast) / len(cast)
    both = (body * solid).sum((1, 2, 3))
    loss = loss + losses.body * (1 - both / (body.sum((1, 2, 3)) + solid.sum((1, 2, 3)) - both).clamp(min=1)).mean()
    bins = ratio_bins(maps.ratio_logits.shape[1])
    label = F.softmax(-((bins - batch.ratio.log()[:, None]) / (bins[1] - bins[0])).square(), dim=1)
    loss = loss + losses.ratio * F.cross_entropy(maps.ratio_logits, label)
    spread = maps.pitch[:, 1].clamp(-3, 2)
    miss = (maps.pitch[:, 0] - batch.pitch_deg / PITCH_UNIT_DEG).abs()
    loss = loss + losses.pitch * (miss / spread.exp() + spread).mean()
    if maps.plane_logits is not None:
        right = mirrors_right(batch.mirror)
        plane = F.binary_cross_entropy_with_logits(maps.plane_logits, right, reduction="none").mean(1)
        loss = loss + losses.plane * (plane * (batch.mirror.amax(1) > 0)).mean()
    if maps.fine is None:
        return loss
    loss = loss + layers_loss(maps.fine, batch, 2, batch.solid, losses)
    cover = batch.cover[:, None]
    apart = (1 - (maps.normal * batch.normal).sum(1, keepdim=True)) + (maps.normal - batch.normal).abs().mean(
        1, keepdim=True
    )
    loss = loss + losses.normal * (apart * cover).sum() / cover.sum().clamp(min=1)
    seen = F.avg_pool2d(cover, 2)
    return loss + losses.far * ((maps.far - batch.far).abs().mean(1, keepdim=True) * seen).sum() / seen.sum().clamp(
        min=1
    )


def mirrors_right(mirror: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Whether each plane is the body's mirror, 0 to 1: as good as the best one, and good at all."""
    best = mirror.amax(1, keepdim=True)
    relative = (1 - (best - mirror) / WORSE).clamp(0, 1)
    return relative * ((best - LEAST_MET[0]) / (LEAST_MET[1] - LEAST_MET[0])).clamp(0, 1)


def layer_targets(batch: Batch, factor: int) -> tuple[Tensor, Tensor, Tensor]:
    """(weight, front, back) on columns of factor x factor px: share of covered pixels and their mean depths."""
    cover = batch.cover[:, None]
    weight = F.avg_pool2d(cover, factor)
    front = F.avg_pool2d(batch.front[:, None] * cover, factor) / weight.clamp(min=1e-3)
    back = F.avg_pool2d(batch.back[:, None] * cover, factor) / weight.clamp(min=1e-3)
    weight = weight * (weight > 0.2)
    return weight[:, 0], front[:, 0], back[:, 0]


def layers_loss(layers: Layers, batch: Batch, factor: int, solid: Tensor, losses: ShapeLosses) -> Tensor:
    """Depths, their slopes, spreads, and what is solid in between; true layers at factor x factor px a column."""
    weight, front, back = layer_targets(batch, factor)
    scale = batch.depth[:, None, None]
    total = weight.sum().clamp(min=1)
    half, middle = layers.log_half.exp() * scale, layers.middle * scale
    true_middle, true_half = (front + back) / 2, ((back - front) / 2).clamp(min=LEAST_THICKNESS / 2)
    miss = (middle - half - front).abs() + (middle + half - back).abs()
    loss = losses.depth * (miss * weight).sum() / total
    slopes = [
        _slope_loss(a, b, weight, step) for a, b in ((middle, true_middle), (half, true_half)) for step in (1, 2, 4)
    ]
    loss = loss + losses.slope * sum(slopes)
    off = (middle - true_middle).abs() / scale, (layers.log_half - (true_half / scale).log()).abs()
    nll = sum(o / layers.log_spread[:, i].exp() + layers.log_spread[:, i] for i, o in enumerate(off))
    loss = loss + losses.spread * (nll * weight).sum() / total
    count = layers.fill.shape[1]
    along = (torch.arange(count) + 0.5) / count
    z = front[..., None] + (back - front)[..., None] * along
    cell = ((z + BINS * BIN / 2) / BIN).long().clamp(0, BINS - 1)
    true = solid.gather(-1, cell)
    fill = F.binary_cross_entropy_with_logits(layers.fill.movedim(1, -1), true, reduction="none").mean(-1)
    loss = loss + losses.fill * (fill * weight).sum() / total
    if layers.follows is None:
        return loss
    label = roundness(batch, factor)[:, None, None, None].expand_as(layers.follows)
    follows = F.binary_cross_entropy_with_logits(layers.follows, label, reduction="none").mean(1)
    return loss + losses.follows * (follows * weight).sum() / total


def roundness(batch: Batch, factor: int) -> Float[Tensor, " B"]:
    """Whether each body is its outline's revolution, 0 to 1, by the IoU of what lies between front and back."""
    weight, front, back = layer_targets(batch, factor)
    half = F.adaptive_avg_pool2d(batch.outline[:, REVOLVED : REVOLVED + 1], weight.shape[1:])[:, 0]
    both = (torch.minimum(half, back) - torch.maximum(-half, front)).clamp(min=0)
    either = (2 * half + (back - front) - both).clamp(min=1e-6)
    iou = (both * weight).sum((1, 2)) / (either * weight).sum((1, 2)).clamp(min=1e-6)
    return ((iou - ROUND_IOU[0]) / (ROUND_IOU[1] - ROUND_IOU[0])).clamp(0, 1)


def _slope_loss(found: Tensor, true: Tensor, weight: Tensor, step: int) -> Tensor:
    """Mean L1 between differences of neighbours `step` columns apart."""
    loss = 0.0
    for axis in (1, 2):
        size = found.shape[axis] - step
        a = [t.narrow(axis, step, size) - t.narrow(axis, 0, size) for t in (found, true)]
        both = torch.minimum(weight.narrow(axis, step, size), weight.narrow(axis, 0, size))
        loss = loss + ((a[0] - a[1]).abs() * both).sum() / both.sum().clamp(min=1)
    return loss


def outlines(solid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The outlines that columns [B, y, x, z] cast at 45, 90 and -45 degrees, the most solid cell on each way: a cell is
    as long as it is wide, so at 45 degrees the ways go through cells of equal x + z."""
    along = solid.movedim(2, 3)  # B y z x
    return _sheared(along).amax(2), solid.amax(2), _sheared(along.flip(2)).amax(2)


def _sheared(along: Tensor) -> Tensor:
    """[B, y, z, x] -> [B, y, z, x + z], zeros where nothing comes to lie: rows padded by one cell too many, read on."""
    batch, height, deep, width = along.shape
    padded = F.pad(along, (0, deep))
    row = width + deep - 1
    return padded.flatten(2)[..., : deep * row].reshape(batch, height, deep, row)


def pooled(solid: Float[Tensor, "B T T Z"], factor: int) -> Float[Tensor, "B t t Z"]:
    """Mean over factor x factor columns."""
    batch, height, width, deep = solid.shape
    return solid.reshape(batch, height // factor, factor, width // factor, factor, deep).mean((2, 4))


def _iou(a: Tensor, b: Tensor) -> list[float]:
    a, b = a.flatten(1) > 0, b.flatten(1) > 0
    return ((a & b).sum(1) / (a | b).sum(1).clamp(min=1)).tolist()

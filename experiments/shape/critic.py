"""A critic beside the losses: `python -m experiments.shape.critic SHAPES --start mini --minutes 40 -o runs/critic`.

A mean of all bodies that a photo may show is a blob. A second network is shown columns of true bodies and found ones,
with the photo beside them, and learns to tell them apart; the shape network learns to be taken for true as well.
Weight of that wish: as in VQGAN (Esser et al. 2021, equation 7), by the gradients at the last layer.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from img2mv3d.bundles.weights import load_bundle, write_bundle
from img2mv3d.data.shape_samples import random_sample
from img2mv3d.geometry.columns import BIN, BINS
from img2mv3d.nets.shape import Layers
from img2mv3d.train.loop import LoopOptions, train_average
from img2mv3d.train.shape_network import (
    REFRESH_STEPS,
    Batch,
    ShapeBatch,
    ShapeLosses,
    ShapeTask,
    layer_targets,
    multiplies_bfloat16,
    stacked,
    total_loss,
)

RATES = LoopOptions(lr=2e-5, lr_end=2e-6, warmup=50, new_lr_factor=5.0, ema=0.998, checkpoint_minutes=5.0)
SHARP = 3.0  # factor of the logits of what is solid: a body is cut at 0.5
CHANNELS = 1 + 2 + 4 + 16 + 3 + 1


class Critic(nn.Module):
    """Patches of 64 x 64 columns -> how true each looks, and its features."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (CHANNELS, 48, 96, 160)
        self.steps = nn.ModuleList(spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(sizes))
        self.last = spectral_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, x: Float[Tensor, "B C 64 64"]) -> tuple[Tensor, list[Tensor]]:
        """(one number for each patch, features)."""
        features = []
        for step in self.steps:
            x = F.leaky_relu(step(x), 0.2)
            features.append(x)
        return self.last(x), features


def shown(front: Tensor, back: Tensor, fill: Tensor, batch: Batch) -> Float[Tensor, "B C 64 64"]:
    """What the critic sees. front, back: world units [B, 64, 64]. fill: 0..1 [B, K, 64, 64]."""
    weight = (layer_targets(batch, 2)[0] > 0.5).float()[:, None]
    layers = torch.stack([front, back], 1) * weight * 2
    slopes = [F.pad(layers.diff(dim=3), (0, 1)), F.pad(layers.diff(dim=2), (0, 0, 0, 1))]
    inner = [
        F.pad(weight[..., 1:] * weight[..., :-1], (0, 1)),
        F.pad(weight[:, :, 1:] * weight[:, :, :-1], (0, 0, 0, 1)),
    ]
    steep = torch.cat([(s * i * 8).clamp(-2, 2) for s, i in zip(slopes, inner, strict=True)], 1)
    picture = F.avg_pool2d(batch.picture[:, :3], 2) * 2 - 1
    ratio = batch.ratio.log()[:, None, None, None].expand_as(weight)
    return torch.cat([weight, layers, steep, (fill * 2 - 1) * weight, picture, ratio], 1)


def true_fill(batch: Batch, front: Tensor, back: Tensor, count: int) -> Float[Tensor, "B K 64 64"]:
    """Whether each of K cells between the true layers is solid."""
    along = (torch.arange(count) + 0.5) / count
    z = front[..., None] + (back - front)[..., None] * along
    cell = ((z + BINS * BIN / 2) / BIN).long().clamp(0, BINS - 1)
    return batch.solid.gather(-1, cell).movedim(-1, 1)


class CriticTask(ShapeTask):
    """All heads in every step; the critic has an optimiser of its own. alone: steps in which only the critic learns."""

    def __init__(self, *args: object, wish: float, alone: int = 150) -> None:
        super().__init__(*args)
        self.critic, self.wish, self.alone = Critic(), wish, alone
        self.optimiser = torch.optim.Adam(self.critic.parameters(), lr=2e-4, betas=(0.5, 0.9))
        self.told: dict[str, float] = {}

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.pool.refresh()
        numbers = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
        batch = stacked([random_sample(record, numbers) for record in self.pool.draw(numbers, self.batch.pictures)])
        known = torch.rand(self.batch.pictures, generator=rng) < self.batch.told
        with torch.autocast("cpu", torch.bfloat16, enabled=multiplies_bfloat16()):
            with torch.no_grad():  # what the photo shows is read already; how bodies look is to be learnt
                features = self.net.encode(batch.picture, batch.outline)
            maps = self.net.decode(features, batch.picture, batch.outline, batch.ratio, known, True)
        plain = total_loss(maps, batch, self.losses)
        _, front, back = layer_targets(batch, 2)
        true = shown(front, back, true_fill(batch, front, back, maps.fine.fill.shape[1]), batch)
        found = shown(*_layers(maps.fine, batch), batch)
        self.critic.requires_grad_(True)
        score_true, _ = self.critic(true)
        score_found, _ = self.critic(found.detach())
        apart = F.relu(1 - score_true).mean() + F.relu(1 + score_found).mean()
        self.optimiser.zero_grad(set_to_none=True)
        apart.backward()
        self.optimiser.step()
        self.critic.requires_grad_(False)
        score, seen = self.critic(found)
        with torch.no_grad():
            goal = self.critic(true)[1]
        like = sum((a - b).abs().mean() for a, b in zip(seen, goal, strict=True)) / len(goal)
        wish = -score.mean() + 2 * like
        last = self.net.fine_head[-1].weight
        pull = [torch.autograd.grad(x, last, retain_graph=True)[0].norm() for x in (plain, wish)]
        weight = (pull[0] / (pull[1] + 1e-4)).clamp(0, 100).detach() * self.wish * (self._calls > self.alone)
        if self._calls % 50 == 0:
            figures = {"plain": plain, "apart": apart, "score": score.mean(), "like": like, "weight": weight}
            print("critic", self._calls, " ".join(f"{k} {float(v):.3f}" for k, v in figures.items()), flush=True)
        return plain + weight * wish


def _layers(layers: Layers, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    scale = batch.depth[:, None, None]
    half, middle = layers.log_half.exp() * scale, layers.middle * scale
    return middle - half, middle + half, torch.sigmoid(layers.fill * SHARP)


def main(asked: argparse.Namespace) -> None:
    """Train; OUT/bundle."""
    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    start = load_bundle(asked.start)
    net = start.shape().requires_grad_(True)
    task = CriticTask(asked.data, net, ShapeBatch(), ShapeLosses(), wish=asked.wish)
    options = LoopOptions(**{**RATES.__dict__, "minutes": asked.minutes, "seed": asked.seed})
    trained = train_average(task, asked.out, options)
    write_bundle(
        asked.out / "bundle", {"shape": (trained, trained.config.to_dict())}, {"name": "critic", "framing_px": 144}
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--start", default="mini")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--wish", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("runs/critic"))
    main(parser.parse_args())

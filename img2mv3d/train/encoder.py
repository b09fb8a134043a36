"""Training of the small encoder on the teacher's latents; then it makes the latents of all other sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from img2mv3d.conventions import LATENT_FACTOR
from img2mv3d.data.renders import RenderSet
from img2mv3d.data.teacher import encode_sets
from img2mv3d.nets.vae import Encoder, encode_boxed
from img2mv3d.train.loop import LoopOptions, train_average
from img2mv3d.train.pictures import tile
from img2mv3d.train.pool import (
    Pool,
    as_float,
    box_crop,
    draw_float,
    draw_int,
    not_white,
    over_white,
)

CROP = 160  # px; holds most framed objects (long side 112 to 176), so that the crop encodes like the whole
RIM = 1  # cells without loss at the crop's edge, where a larger object is cut
REFRESH_STEPS = 100


@dataclass(frozen=True)
class EncoderBatch:
    """Sizes of a batch.

    photo_share, normal_share: chance of the condition photo and of a normal map, the rest are colours.
    """

    images: int = 8
    photo_share: float = 0.15
    normal_share: float = 0.4


class EncoderTask:
    """Loss L1 + L2 between the encoder's and the teacher's latents."""

    def __init__(self, data: Path, net: Encoder, batch: EncoderBatch, held_out: int = 6) -> None:
        self.net, self.batch = net, batch
        self.pool = Pool(data, "train", sources=("teacher",))
        self.held = Pool(data, "val", sources=("teacher",), limit=held_out)
        if self.pool.items:  # white to begin with: a bias grows by no more than the learning rate a step
            corners = torch.stack([item.latents[0, :, :, 2, 2] for item in self.pool.items]).float()
            net.out.bias.data.copy_(corners.flatten(0, 1).median(dim=0).values)
        self._calls = 0

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        """Mean of |error| + error^2 over the cells of a batch of crops."""
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.pool.refresh()
        pictures, targets = zip(*(self._crop(rng) for _ in range(self.batch.images)), strict=True)
        found = self.net.encode(torch.stack(pictures))
        error = (found - torch.stack(targets))[..., RIM:-RIM, RIM:-RIM]
        return error.abs().mean() + error.square().mean()

    def _crop(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        item = self.pool.draw(rng)
        chance = draw_float(rng)
        if chance < self.batch.photo_share:
            picture, latent = over_white(item.photo), item.photo_latent
        else:
            domain = int(chance < self.batch.photo_share + self.batch.normal_share)
            view = draw_int(rng, item.pictures.shape[1])
            picture, latent = item.pictures[domain, view], item.latents[domain, view]
        size = min(CROP, *picture.shape[:2])
        y, x = box_crop(not_white(picture), size, rng)
        cy, cx, cells = y // LATENT_FACTOR, x // LATENT_FACTOR, size // LATENT_FACTOR
        return as_float(picture[y : y + size, x : x + size]), latent[:, cy : cy + cells, cx : cx + cells].float()

    def held_out(self, net: nn.Module) -> dict[str, float]:
        """rms distance to the teacher over whole latents and over cells that the object touches; colours and
        normals."""
        self.held.refresh()
        return encoder_figures(net, self.held)

    def sheet(self, net: nn.Module) -> np.ndarray:
        """Rows: picture, the teacher's latents and ours (first three channels)."""
        rows = []
        for item in self.held.items[:6] or self.pool.items[:2]:
            picture, latent = as_float(item.pictures[0, :1]), item.latents[0, 0].float()
            shown = [picture[0]] + [_as_picture(z, picture.shape[-1]) for z in (latent, net.encode(picture)[0])]
            rows.append([p.movedim(0, -1).numpy() for p in shown])
        return tile(rows) if rows else np.full((8, 8, 3), 255, np.uint8)


def train(
    data: Path,
    out: Path,
    minutes: float,
    *,
    steps: int | None = None,
    seed: int = 0,
    net: Encoder | None = None,
    report: Callable[[str], None] = print,
) -> Encoder:
    """Train the small encoder on the teacher's latents under `data`; checkpoints, log and pictures under `out`.

    Returns the averaged network.

    minutes: wall clock; steps instead, when given.
    net: another size than the shipped one.
    """
    torch.manual_seed(seed)
    task = EncoderTask(Path(data), net or Encoder(), EncoderBatch())
    options = LoopOptions(minutes=minutes, steps=steps, lr=2e-3, lr_end=3e-5, ema=0.99, weight_decay=1e-4, seed=seed)
    return train_average(task, Path(out), options, report)


def has_teacher(data: Path) -> bool:
    """Whether any set that may be learnt from has a teacher's latents."""
    sets = RenderSet(Path(data))
    return any(sets.latents_source(name) == "teacher" for name in sets.names("train"))


def encode_missing(data: Path, encoder: Encoder, *, share: tuple[int, int] = (0, 1)) -> int:
    """Write latents with source "mini" for every set that has none; the number written.

    share: (i, n) takes every n-th set from the i-th on, for several processes.
    """
    sets = RenderSet(Path(data))
    names = sets.names()[share[0] :: share[1]]
    return encode_sets(sets, names, lambda images: encode_boxed(encoder, images), source="mini")


@torch.no_grad()
def encoder_figures(net: nn.Module, pool: Pool) -> dict[str, float]:
    """rms distance to the pool's latents, by domain: over all cells, and over cells that the object touches."""
    sums: dict[str, list[float]] = {}
    for item in pool.items:
        for domain, name in enumerate(("color", "normal")):
            pictures = item.pictures[domain, ::2]
            error = (net.encode(as_float(pictures)) - item.latents[domain, ::2].float()).square().mean(dim=1)
            cells = functional.max_pool2d(item.mask[::2].float()[:, None], LATENT_FACTOR)[:, 0] > 0
            for key, value in ((f"rms_{name}", error), (f"rms_{name}_mask", error[cells])):
                sums.setdefault(key, []).append(float(value.mean()))
    return {key: (sum(values) / len(values)) ** 0.5 for key, values in sums.items()}


def _as_picture(latent: Tensor, side: int) -> Tensor:
    """Three channels of a latent [4, h, w], stretched to [0, 1] and blown up to `side` px."""
    return functional.interpolate(latent[None, :3] / 6 + 0.4, size=(side, side), mode="nearest")[0]

"""Training of the plain decoder: latents with a little noise -> the rendered pictures, colours and normals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from img2mv3d.conventions import LATENT_FACTOR
from img2mv3d.data.perturbation import resample_latents
from img2mv3d.geometry.similarity import decibels
from img2mv3d.nets.generator import GeneratorNets
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train.loop import LoopOptions, train_average
from img2mv3d.train.pictures import tile
from img2mv3d.train.pool import Item, Pool, as_float, box_crop, draw_float, draw_int

CROP = 128  # px: a fifth of a step's cost on whole pictures, and hardly any white
LATENT_NOISE = 0.03  # forgives what an encoder, or a generator, gets slightly wrong
FULL_SHARE = 0.1  # of the budget, at its end, on whole pictures: group norms see other statistics there
GRADIENT_WEIGHT = 0.5
RESAMPLED_SHARE = 0.5  # of what is drawn, when there is a denoiser: latents as it makes them, which are blurred
REFRESH_STEPS = 60
PSNR_LEVEL = 100.0  # dB of equal pictures in tables of training

Resample = Callable[[Item], Float[Tensor, "D V 4 h w"]]  # a set's latents (colour, normal) as a denoiser makes them


def resampler(generator: GeneratorNets | None, seed: int, steps: tuple[int, int]) -> Resample | None:
    """`resample_latents` by a bundle's denoiser, from a step between the two (both included); None without one."""
    if generator is None:
        return None
    rng = torch.Generator().manual_seed(seed)

    def resample(item: Item) -> Float[Tensor, "D V 4 h w"]:
        step = steps[0] + draw_int(rng, steps[1] - steps[0] + 1)
        assert item.latents is not None and item.photo_latent is not None
        inputs = item.latents, item.photo, item.photo_latent, item.window
        return resample_latents(generator, *inputs, step, rng)

    return resample


@dataclass(frozen=True)
class DecoderBatch:
    """Sizes of a batch.

    crops: of CROP px;
    full: whole pictures at the end;
    normal_share: chance of a normal map.
    """

    crops: int = 6
    full: int = 2
    normal_share: float = 0.4


class DecoderTask:
    """Loss L1 + 0.5 L1 of the gradients, on single pictures.

    What it makes of one photo is a mean of what could be there; a decoder that has only seen exact latents answers it
    with a picture of nothing, one that has learnt from it with a likely one.

    resample: a denoiser's latents of a set.
    """

    def __init__(
        self, data: Path, net: PlainDecoder, batch: DecoderBatch, held_out: int = 6, resample: Resample | None = None
    ) -> None:
        self.net, self.batch, self.resample = net, batch, resample
        self._resampled: dict[str, Tensor] = {}
        self.pool = Pool(data, "train")
        self.held = Pool(data, "val", limit=held_out)
        self._calls = 0

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        """Mean over a batch of crops, or of whole pictures in the last FULL_SHARE of the budget."""
        self._calls += 1
        if self._calls % REFRESH_STEPS == 0:
            self.pool.refresh()
        full = progress >= 1 - FULL_SHARE
        drawn = [self._crop(rng, None if full else CROP) for _ in range(self.batch.full if full else self.batch.crops)]
        latents, pictures = (torch.stack(x) for x in zip(*drawn, strict=True))
        latents = latents + LATENT_NOISE * torch.randn(latents.shape, generator=rng)
        return picture_loss(self.net.decode(latents), pictures)

    def _crop(self, rng: torch.Generator, size: int | None) -> tuple[Tensor, Tensor]:
        item = self.pool.draw(rng)
        domain = int(draw_float(rng) < self.batch.normal_share)
        view = draw_int(rng, item.pictures.shape[1])
        picture, latent = item.pictures[domain, view], self._latents(item, rng)[domain, view]
        if size is None or size >= picture.shape[0]:
            return latent.float(), as_float(picture)
        y, x = box_crop(item.mask[view], size, rng)
        cy, cx, cells = y // LATENT_FACTOR, x // LATENT_FACTOR, size // LATENT_FACTOR
        return latent[:, cy : cy + cells, cx : cx + cells].float(), as_float(picture[y : y + size, x : x + size])

    def _latents(self, item: Item, rng: torch.Generator) -> Tensor:
        if self.resample is None or draw_float(rng) >= RESAMPLED_SHARE:
            return item.latents
        if item.name not in self._resampled:
            self._resampled[item.name] = self.resample(item).half()
        return self._resampled[item.name]

    def held_out(self, net: nn.Module) -> dict[str, float]:
        """PSNR of two views of the held-out sets: whole picture and inside the mask, colours and normals; of resampled
        latents, too."""
        self.held.refresh()
        figures = decoder_figures(net, self.held, views=(0, 2))
        if self.resample is not None:
            found = decoder_figures(net, self.held, (1, 2, 3), self.resample)
            figures |= {f"resampled_{k}": v for k, v in found.items()}
        return figures

    def sheet(self, net: nn.Module) -> np.ndarray:
        """Rows: true colour, ours, true normal, ours."""
        rows = []
        for item in self.held.items[:6] or self.pool.items[:2]:
            row = []
            for domain in range(2):
                found = net.decode(item.latents[domain, 2:3].float())[0].movedim(0, -1).numpy()
                row += [item.pictures[domain, 2].numpy().astype(np.float32) / 255, found]
            rows.append(row)
        return tile(rows) if rows else np.full((8, 8, 3), 255, np.uint8)


def train(
    data: Path,
    out: Path,
    minutes: float,
    *,
    steps: int | None = None,
    seed: int = 0,
    net: PlainDecoder | None = None,
    resample: Resample | None = None,
    lr: float = 1e-3,
    report: Callable[[str], None] = print,
) -> PlainDecoder:
    """Train the plain decoder on all latents under `data`; checkpoints, log and pictures under `out`.

    minutes: wall clock; steps instead, when given. net: another size than the shipped one. resample: see `DecoderTask`.
    lr: at the beginning. Returns the averaged network.
    """
    torch.manual_seed(seed)
    task = DecoderTask(Path(data), net or PlainDecoder(), DecoderBatch(), resample=resample)
    options = LoopOptions(minutes=minutes, steps=steps, lr=lr, lr_end=3e-5, ema=0.99, seed=seed)
    return train_average(task, Path(out), options, report)


def picture_loss(predicted: Float[Tensor, "N 3 H W"], target: Float[Tensor, "N 3 H W"]) -> Float[Tensor, ""]:
    """L1 of the colours plus GRADIENT_WEIGHT times L1 of their differences to the right and lower neighbour."""
    error = predicted - target
    slopes = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + GRADIENT_WEIGHT * slopes


@torch.no_grad()
def decoder_figures(
    net: nn.Module, pool: Pool, views: tuple[int, ...], resample: Resample | None = None
) -> dict[str, float]:
    """PSNR, mean over pictures, of the pool's latents (or of those that `resample` makes of its items) decoded: whole
    and inside the mask, colour and normal."""
    sums: dict[str, list[float]] = {}
    for item in pool.items:
        latents = item.latents if resample is None else resample(item)
        for domain, name in enumerate(("color", "normal")):
            index = list(views)
            found = net.decode(latents[domain, index].float()).clamp(0, 1)
            error = (found - as_float(item.pictures[domain, index])).square().mean(dim=1)
            for e, mask in zip(error, item.mask[index], strict=True):
                sums.setdefault(f"psnr_{name}", []).append(decibels(float(e.mean()), PSNR_LEVEL))
                if mask.any():
                    sums.setdefault(f"psnr_{name}_mask", []).append(decibels(float(e[mask].mean()), PSNR_LEVEL))
    return {key: sum(values) / len(values) for key, values in sums.items()}

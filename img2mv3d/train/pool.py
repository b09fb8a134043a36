"""Rendered sets and their latents in memory, so that a training step waits for no disk."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from img2mv3d.conventions import LATENT_FACTOR
from img2mv3d.data.renders import RenderSet
from img2mv3d.errors import InputError
from img2mv3d.nets.vae import Encoder, encode_boxed
from img2mv3d.nets.window import Window, around
from img2mv3d.train.drafts import load_draft


@dataclass(frozen=True, eq=False)
class Item:
    """One set. Pictures are uint8, latents float16 and scaled; what the pool was not asked for is None.

    pictures: [D, 6, H, W, 3], domains colour and normal. mask: [6, H, W]. photo: [H, W, 4], straight alpha.
    latents: [D, 6, 4, h, w]. photo_latent: [4, h, w]. source: "teacher", "mini", or "" without latents.
    draft: latents and maps of a draft, as `drafts.load_draft` has them.
    """

    name: str
    pictures: UInt8[Tensor, "D V H W 3"] | None
    mask: Bool[Tensor, "V H W"] | None
    photo: UInt8[Tensor, "H W 4"]
    latents: Float[Tensor, "D V 4 h w"] | None
    photo_latent: Float[Tensor, "4 h w"] | None
    source: str
    window: Window
    draft: tuple[Float[Tensor, "D V 4 h w"], Float[Tensor, "V 3 h w"]] | None = None


class Pool:
    """The items of one split, in the order of the index.

    pictures, latents: which of the two to keep.
    sources: wanted origins of the latents (any when empty).
    limit: at most so many sets.
    encoder: makes the photos' latents instead of those on disk.
    """

    def __init__(
        self,
        data: Path,
        split: str,
        *,
        pictures: bool = True,
        latents: bool = True,
        sources: tuple[str, ...] = (),
        limit: int | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self.data, self.split, self.pictures, self.latents = Path(data), split, pictures, latents
        self.sources, self.limit, self.encoder = sources, limit, encoder
        self.items: list[Item] = []
        self._shares: list[float] = []  # running sum of the items' weights
        self._known: set[str] = set()
        self.refresh()

    def __len__(self) -> int:
        return len(self.items)

    def refresh(self) -> int:
        """Take in what appeared since the last time; the number of new sets."""
        before = len(self.items)
        sets = RenderSet(self.data)
        if not (self.data / "index.tsv").exists():
            return 0
        for name, weight in sets.weights(self.split).items():
            if self.limit is not None and len(self.items) >= self.limit:
                break
            path = sets.latents_path(name)
            if name in self._known or (self.latents and not path.exists()):
                continue
            self._known.add(name)
            item = self._read(sets, name, path)
            if item is not None:
                self.items.append(item)
                self._shares.append((self._shares[-1] if self._shares else 0.0) + weight)
        return len(self.items) - before

    def draw(self, rng: torch.Generator) -> Item:
        """An item, as likely as its weight in the index says. Raises ValueError when the pool is empty."""
        if not self.items:
            raise InputError(f"{self.data}: no sets of split {self.split!r} yet; run `img2mv3d data render` first")
        place = bisect.bisect_right(self._shares, draw_float(rng) * self._shares[-1])
        return self.items[min(place, len(self.items) - 1)]

    def _read(self, sets: RenderSet, name: str, path: Path) -> Item | None:
        latents, photo_latent, source = None, None, ""
        if self.latents:
            with np.load(path) as file:
                source = str(file["source"].item())
                if self.sources and source not in self.sources:
                    return None
                latents = torch.from_numpy(np.stack([file["color"], file["normal"]]))
                photo_latent = torch.from_numpy(file["photo"])
        sample = sets.load(name)
        photo = torch.from_numpy(sample.photo)
        if self.encoder is not None:
            photo_latent = encode_boxed(self.encoder, as_float(over_white(photo))[None])[0].half()
        mask = torch.from_numpy(sample.mask >= 128)
        window = around(mask)
        if not self.pictures:
            return Item(name, None, None, photo, latents, photo_latent, source, window, load_draft(self.data, name))
        pictures = torch.from_numpy(np.stack([sample.color, sample.normal]))
        return Item(name, pictures, mask, photo, latents, photo_latent, source, window)


def over_white(rgba: UInt8[Tensor, "H W 4"]) -> UInt8[Tensor, "H W 3"]:
    """Straight alpha composited over white, rounded."""
    alpha = rgba[..., 3:].float() / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha) + 0.5).to(torch.uint8)


def as_float(picture: UInt8[Tensor, "*N H W C"]) -> Float[Tensor, "*N C H W"]:
    """uint8, channels last -> float32 in [0, 1], channels first."""
    return picture.movedim(-1, -3).to(torch.float32) / 255


def not_white(picture: UInt8[Tensor, "H W 3"]) -> Bool[Tensor, "H W"]:
    """Where something is drawn over white, without knowing the mask."""
    return (picture < 250).any(dim=-1)


def box_crop(covered: Bool[Tensor, "H W"], size: int, rng: torch.Generator) -> tuple[int, int]:
    """Top left corner, in multiples of 8 px, of a crop that holds the covered box, or, where that is larger, a random
    part of it."""
    corner = []
    for axis, length in ((1, covered.shape[0]), (0, covered.shape[1])):
        line = covered.any(dim=axis).nonzero()
        low, high = (int(line[0]), int(line[-1]) + 1) if len(line) else (0, length)
        first, last = sorted((high - size, low))  # starts between these hold the box, or lie in it
        start = first + draw_int(rng, last - first + 1)
        start = min(max(start, 0), length - size)
        corner.append(start // LATENT_FACTOR * LATENT_FACTOR)
    return corner[0], corner[1]


def draw_int(rng: torch.Generator, count: int) -> int:
    """An integer in 0..count-1."""
    return int(torch.randint(count, (1,), generator=rng))


def draw_float(rng: torch.Generator) -> float:
    """A number in [0, 1)."""
    return float(torch.rand(1, generator=rng))

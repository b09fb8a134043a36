"""Rendered sets as the cross-view decoder learns from them: pictures, true depth, photo, colour latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from img2mv3d.conventions import FRONT
from img2mv3d.data.renders import RenderSet
from img2mv3d.geometry.compositing import from_white
from img2mv3d.nets.window import Window, around
from img2mv3d.train.decoder import Resample
from img2mv3d.train.pool import Item, as_float


@dataclass(frozen=True, eq=False)
class Scene:
    """One set in memory.

    color: [6, H, W, 3].
    z: world units, 0 outside of the mask.
    photo: straight alpha.
    latents: scaled.
    resampled: as a denoiser makes them; equal to `latents` when there is none.
    window: cells round the silhouettes of all views.
    """

    name: str
    color: UInt8[Tensor, "V H W 3"]
    mask: UInt8[Tensor, "V H W"]
    z: Float16[Tensor, "V H W"]
    photo: UInt8[Tensor, "H W 4"]
    latents: Float[Tensor, "V 4 h w"]
    resampled: Float[Tensor, "V 4 h w"]
    window: Window = field(compare=False)

    def depth(self) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
        """z and hit as the decoder takes them."""
        hit = (self.mask >= 128).float()
        return self.z.float() * hit, hit

    def front(self, imperfect: bool) -> Float[Tensor, "4 H W"]:
        """The photo, or the rendered front view with its mask, RGBA in [0, 1], straight alpha."""
        if imperfect:
            return self.photo.movedim(-1, 0).float() / 255
        alpha = self.mask[FRONT].float() / 255
        color = as_float(self.color[FRONT])
        return torch.cat([from_white(color, alpha), alpha[None]])


class Scenes:
    """The sets of one split that have latents of the wanted source, as they appear; at most `limit`.

    resample: makes `Scene.resampled`.
    """

    def __init__(
        self,
        data: Path,
        split: str,
        limit: int,
        sources: tuple[str, ...] = ("teacher", "mini"),
        resample: Resample | None = None,
    ) -> None:
        self.sets, self.split, self.limit, self.sources = RenderSet(data), split, limit, sources
        self.resample = resample
        self.items: list[Scene] = []
        self._known: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take in what appeared since the last time."""
        for name in self.sets.names(self.split):
            if len(self.items) >= self.limit:
                return
            path = self.sets.latents_path(name)
            if name in self._known or not path.exists():
                continue
            self._known.add(name)
            with np.load(path) as file:
                source = str(file["source"].item())
                if source not in self.sources:
                    continue
                latents = torch.from_numpy(np.stack([file["color"], file["normal"]]))
                photo_latent = torch.from_numpy(file["photo"])
            sample = self.sets.load(name)
            color, mask, z, photo = (torch.from_numpy(a) for a in (sample.color, sample.mask, sample.z, sample.photo))
            window = around(mask >= 128)
            exact = latents[0].float()
            item = Item(name, None, None, photo, latents, photo_latent, source, window)
            resampled = exact if self.resample is None else self.resample(item)[0]
            self.items.append(Scene(name, color, mask, z, photo, exact, resampled, window))

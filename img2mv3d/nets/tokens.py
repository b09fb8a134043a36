"""Image tokens of the condition photo for `mini`: a small convolutional encoder, trained with the denoiser."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class TokenConfig:
    """channels: widths at 64, 32, 16 and 8 px (finest first).
    width: of a token.
    features: length of the distilled vector.
    """

    channels: tuple[int, ...] = (32, 64, 128, 192)
    width: int = 128
    features: int = 1280
    groups: int = 8

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for a manifest; `from_dict` undoes it."""
        return asdict(self) | {"channels": list(self.channels)}

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> TokenConfig:
        """A config out of `to_dict`'s numbers. Raises TypeError on unknown names."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()})


class Tokens(NamedTuple):
    """tokens: for the cross-attention, one per cell of an 8 x 8 grid, then one for the whole picture.
    features: see `TokenEncoder`.
    """

    tokens: Float[Tensor, "B T d"]
    features: Float[Tensor, "B f"]


class TokenEncoder(nn.Module):
    """Photo -> tokens. `features` is a head for training only: distilling a classifier's pooled features
    (EfficientNet-Lite0: 1280 numbers) teaches it what things are, which a few thousand objects alone cannot."""

    def __init__(self, config: TokenConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TokenConfig()
        widths = config.channels
        self.stem = nn.Conv2d(4, widths[0], 7, stride=4, padding=3)
        self.stages = nn.ModuleList()
        for finer, width in zip((widths[0], *widths), widths, strict=False):
            self.stages.append(_Stage(finer, width, config.groups, halve=len(self.stages) > 0))
        self.norm = nn.GroupNorm(config.groups, widths[-1])
        self.to_tokens = nn.Conv2d(widths[-1], config.width, 1)
        self.to_whole = nn.Linear(widths[-1], config.width)
        self.to_features = nn.Linear(widths[-1], config.features)

    def forward(self, photo: Float[Tensor, "B 4 H W"]) -> Tokens:
        """photo: RGB over white in [0, 1] (sRGB) and alpha, framed, H = W = 256 (any multiple of 32 works)."""
        x = self.stem(photo * 2 - 1)
        for stage in self.stages:
            x = stage(x)
        x = F.silu(self.norm(x))
        pooled = x.mean(dim=(2, 3))
        tokens = torch.cat([self.to_tokens(x).flatten(2).transpose(1, 2), self.to_whole(pooled)[:, None]], dim=1)
        return Tokens(tokens, self.to_features(pooled))


class _Stage(nn.Module):
    """Halve the resolution, change the width, then one residual pair of convolutions."""

    def __init__(self, inputs: int, width: int, groups: int, halve: bool) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, width, 3, stride=2 if halve else 1, padding=1)
        self.norm1, self.conv1 = nn.GroupNorm(groups, width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(groups, width), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))

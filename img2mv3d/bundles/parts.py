"""Parts of a bundle: an untrained network of each kind, and the probe that tells one trained network from another.

In: a part's name (of `manifests.PARTS`), its config out of a manifest. Out: a network, plain numbers. Importing this
module loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import nn


class Part(NamedTuple):
    """A network and the arguments that make one of its kind."""

    module: nn.Module
    config: Mapping[str, Any]


def make_part(part: str, config: Mapping[str, Any]) -> nn.Module:
    """An untrained network of that kind. Raises TypeError or ValueError when the config does not fit."""
    if part == "unet":
        from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig

        return MultiViewUNet(UNetConfig.from_dict(dict(config)))
    if part == "tokens":
        from img2mv3d.nets.tokens import TokenConfig, TokenEncoder

        return TokenEncoder(TokenConfig.from_dict(dict(config)))
    if part == "shape":
        from img2mv3d.nets.shape import ShapeConfig, ShapeNet

        return ShapeNet(ShapeConfig.from_dict(dict(config)))
    if part == "crossview_decoder":
        from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder

        return CrossViewDecoder(CrossViewConfig.from_dict(config))
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    from img2mv3d.nets.vae import Encoder, PlainDecoder

    return {"encoder": Encoder, "plain_decoder": PlainDecoder}[part](**tuples)


def probe(part: str, module: nn.Module) -> dict[str, float]:
    """Mean and deviation of the part's answer to a small seeded input: tells another network, or another arithmetic,
    apart.
    """
    import torch

    from img2mv3d.geometry.cameras import SIX_VIEWS

    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        if part == "encoder":
            out = module.encode(torch.rand(1, 3, 64, 64, generator=rng))
        elif part == "plain_decoder":
            out = module.decode(torch.randn(1, 4, 8, 8, generator=rng))
        elif part == "tokens":
            out = module(torch.rand(1, 4, 64, 64, generator=rng)).tokens
        elif part == "unet":
            c = module.config
            rows = (2 * c.views, c.in_channels, 2 ** len(c.channels), 2 ** len(c.channels))
            shapes = (rows, (rows[0], 4, c.token_width), (rows[0], c.camera_width))
            noisy, tokens, camera = (torch.randn(s, generator=rng) for s in shapes)
            out = module(noisy, torch.tensor(500), tokens, camera)
        elif part == "shape":
            picture, outline = torch.rand(1, 4, 128, 128, generator=rng), torch.rand(1, 8, 64, 64, generator=rng)
            out = module(picture, outline, torch.tensor([0.7]), torch.tensor([True])).fine.middle
        else:
            out = module.decode(
                torch.randn(6, 4, 8, 8, generator=rng),
                torch.rand(6, 64, 64, generator=rng) - 0.5,
                torch.ones(6, 64, 64),
                torch.rand(4, 64, 64, generator=rng),
                SIX_VIEWS,
            )
    return {"mean": float(f"{out.mean().item():.6g}"), "deviation": float(f"{out.std().item():.6g}")}


def is_near(expected: Mapping[str, float], found: Mapping[str, float]) -> bool:
    """Are two probes of the same network, computed in the same arithmetic?"""
    scale = abs(expected["deviation"]) + 1e-6
    return all(math.isfinite(found[k]) and abs(expected[k] - found[k]) <= 1e-3 * scale for k in ("mean", "deviation"))

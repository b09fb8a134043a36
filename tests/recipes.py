"""The weights of the recorded UNets, drawn again: the records keep seeds, not weights."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor

from img2mv3d.bundles.convert import read_table, unet_numbers
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig

TOP = (
    "conv_in",
    "time_embedding",
    "class_embedding",
    "down_blocks",
    "up_blocks",
    "mid_block",
    "conv_norm_out",
    "conv_out",
)
INSIDE = ("attentions", "resnets", "downsamplers", "upsamplers")


def recorded_unet(config: dict[str, Any], seed: int, gain: float = 2.0) -> tuple[MultiViewUNet, dict[str, Tensor]]:
    """The network of a recorded config.json, and its weights under our names, as the record's authors drew them.

    One generator gives every tensor in the order in which the original class registers it: norm scales 1 + n / 5,
    biases n / 10, others n / sqrt(fan-in), queries and keys times `gain`.
    """
    numbers = unet_numbers(config, read_table("wonder3d", "layout")["unet"], "recorded")
    net = MultiViewUNet(UNetConfig.from_dict(numbers))
    shapes = {k: p.shape for k, p in net.named_parameters()}
    rng = torch.Generator().manual_seed(seed)
    return net.eval(), {k: _draw(k, shapes[k], rng, gain) for k in sorted(shapes, key=_original_order)}


def _draw(name: str, shape: torch.Size, rng: torch.Generator, gain: float) -> Tensor:
    n = torch.randn(shape, generator=rng)
    if len(shape) == 1:
        return 1 + 0.2 * n if name.endswith("weight") else 0.1 * n
    return n * ((gain if ".to_q." in name or ".to_k." in name else 1.0) / math.sqrt(math.prod(shape[1:])))


def _original_order(name: str) -> tuple[int, ...]:
    """Python's sort is stable: what gets equal ranks stays in our order."""
    parts = name.split(".")
    block = int(parts[1]) if parts[0] in ("down_blocks", "up_blocks") else 0
    rest = parts[2:] if parts[0] in ("down_blocks", "up_blocks") else parts[1:]
    if not rest or rest[0] not in INSIDE:
        return (TOP.index(parts[0]),)
    joint = re.search(r"(attn|norm)_joint_(mid|last)", name)
    last = "proj_out" in name
    place = 2 if last else 1 if joint else 0
    within = (("last", "mid").index(joint[2]), ("attn", "norm").index(joint[1])) if joint else (0, 0)
    return (TOP.index(parts[0]), block, INSIDE.index(rest[0]), int(rest[1]), place, *within)

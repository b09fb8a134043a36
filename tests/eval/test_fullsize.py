"""The measurement of the published sizes, on a network of a moment: what it says is what was measured."""

import torch
from torch import nn

from img2mv3d.eval.fullsize import UNET, Part, measure, table
from img2mv3d.nets.multiview import MultiViewUNet


class Hungry(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000, 1000))

    def forward(self):
        return torch.ones(100, 1000, 1000).sum()


def test_peak_covers_weights_and_work():
    part = measure("hungry", Hungry, lambda net: net())
    assert part.weights == 4_000_000 and part.seconds > 0
    assert part.peak >= 350_000_000


def test_longer_runs_are_multiplied_out_and_called_so():
    text = table([Part("UNet, 2 guided steps, in turn", 60.0, 10**9, 2 * 10**9), Part("decode", 5.0, 1, 2)], 2)
    assert "not measured" in text and "| in turn | 10 min | 25 min |" in text and "| decode | 5 |" in text


def test_the_denoiser_is_the_published_one():
    with torch.device("meta"):
        assert sum(p.numel() for p in MultiViewUNet(UNET).parameters()) == 910_785_284

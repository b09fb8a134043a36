"""Spoilt latents disagree from view to view, imagined ones keep what the noise left; depth noise keeps its bounds."""

from pathlib import Path

import pytest
import torch

from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.train.corruption import NOISE_KINDS, corrupted, depth_noise, imagined
from img2mv3d.train.multiview import MultiViewNets
from img2mv3d.train.pool import Pool


def test_corrupted_latents_disagree_from_view_to_view():
    latents = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)).expand(6, -1, -1, -1).contiguous()
    bad = corrupted(latents, torch.Generator().manual_seed(1))
    assert (bad[0] - bad[1]).abs().mean() > 0.1
    assert torch.equal(bad, corrupted(latents, torch.Generator().manual_seed(1)))


def test_imagined_latents_are_near_the_true_ones_after_little_noise_and_far_after_much(toy: Path):
    torch.manual_seed(0)
    unet = MultiViewUNet(UNetConfig((8, 16), ("off", "views", "views"), (1, 1), token_width=8, groups=4))
    net = MultiViewNets(unet, TokenEncoder(TokenConfig((8, 8, 8, 8), 8, 4, 4))).eval()
    item = Pool(toy, "train", pictures=False, limit=1).items[0]
    apart = []
    for step in (5, 900):
        made = imagined(net, item, step, torch.Generator().manual_seed(0))
        assert made.shape == item.latents.shape and torch.isfinite(made).all()
        apart.append(float((made - item.latents).abs().mean()))
    assert apart[0] < 0.1 * apart[1]
    assert SCHEDULES["mini"].table(torch.zeros(1))[999] == 0  # from step 999 on nothing of the truth is left


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_depth_noise_keeps_the_bound_of_equation_3(kind: str):
    noise = depth_noise(kind, torch.Generator().manual_seed(0), 6, 64, 0.1)
    assert noise.shape == (6, 64, 64) and noise.abs().max() <= 0.1 * (1 + 1 / 3 + 1 / 9)
    pooled = torch.nn.functional.avg_pool2d(noise, 16).abs().mean() / noise.abs().mean().clamp(min=1e-9)
    assert {"none": pooled == 0, "structured": pooled > 0.5, "independent": pooled < 0.1}[kind]


def test_an_unknown_depth_noise_is_refused():
    with pytest.raises(ValueError, match="white"):
        depth_noise("white", torch.Generator(), 6, 64, 0.1)

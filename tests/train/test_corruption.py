"""Spoilt latents disagree from view to view, imagined ones keep what the noise left; depth noise keeps its bounds."""

from pathlib import Path

import pytest
import torch

from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.train.corruption import NOISE_KINDS, corrupted, depth_noise, imagined, rough_outlines
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


def test_rough_outlines_move_both_ways_and_have_depth_of_the_nearest_surface():
    across = torch.linspace(-1, 1, 96)
    hit = (across[:, None].square() + across.square() < 0.4).float().expand(6, -1, -1).clone()
    z = (0.1 * across[:, None] + 0.05 * across).expand(6, -1, -1) * hit
    moved_z, moved = rough_outlines(z, hit, torch.Generator().manual_seed(0))
    assert set(moved.unique().tolist()) == {0.0, 1.0} and not torch.equal(moved[0], moved[1])
    overlap = ((moved * hit).sum((1, 2)) / torch.maximum(moved, hit).sum((1, 2))).tolist()
    assert all(0.5 < iou < 1 for iou in overlap)
    assert (moved > hit).any() and (moved < hit).any()
    kept, new = (moved * hit) > 0, moved > hit
    assert torch.equal(moved_z[kept], z[kept]) and not moved_z[moved == 0].any()
    rim = hit.bool() & (torch.nn.functional.max_pool2d(1 - hit, 3, 1, 1) > 0)  # the nearest surface is on the border
    assert torch.isin(moved_z[new], z[rim]).all()
    again = rough_outlines(z, hit, torch.Generator().manual_seed(0))
    assert torch.equal(again[0], moved_z) and torch.equal(again[1], moved)


def test_what_is_not_seen_in_a_view_has_no_outlines_to_move():
    nothing = torch.zeros(2, 64, 64)
    assert not any(m.any() for m in rough_outlines(nothing, nothing, torch.Generator().manual_seed(0)))

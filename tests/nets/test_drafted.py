"""A draft beside the noisy latents: nothing at first, the same for both branches of the guidance."""

from dataclasses import replace

import torch

from img2mv3d.nets.drafted import CHANNELS, draft_input, draft_maps
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.train.denoiser import MultiViewNets, take_over

TINY = UNetConfig(channels=(8, 16), reach=("off", "views", "views"), heads=(1, 1), token_width=8, groups=4)
TOKENS = TokenConfig((8, 8, 8, 8), 8, 4, 4)


def _lively(config: UNetConfig) -> MultiViewUNet:
    torch.manual_seed(0)
    net = MultiViewUNet(config).eval().requires_grad_(False)
    torch.nn.init.normal_(net.conv_out.weight)
    return net


def _rows(count: int = 12) -> tuple[torch.Tensor, ...]:
    numbers = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=numbers)  # noqa: E731
    return draw(count, 8, 8, 8), torch.tensor(300), draw(count, 4, 8), draw(count, 10)


def test_maps_are_means_over_a_latents_cell_and_stand_beside_both_domains():
    mask = torch.zeros(6, 64, 64)
    mask[0, :8, :4] = 1
    maps = draft_maps(mask, torch.full((6, 64, 64), 2.0), mask)
    assert maps.shape == (6, 3, 8, 8) and maps[0, :, 0, 0].tolist() == [0.5, 1.0, 0.5]
    rows = draft_input(torch.randn(12, 4, 8, 8), maps)
    assert rows.shape == (12, CHANNELS, 8, 8) and torch.equal(rows[:6, 4:], rows[6:, 4:])


@torch.no_grad()
def test_a_draft_changes_nothing_before_it_is_learnt_from():
    old = _lively(TINY)
    net = MultiViewNets(MultiViewUNet(replace(TINY, draft=CHANNELS)), TokenEncoder(TOKENS))
    take_over(net, old, TokenEncoder(TOKENS))
    rows = _rows()
    assert torch.allclose(net.unet(*rows, draft=torch.randn(12, CHANNELS, 8, 8)), old(*rows), atol=1e-5)


def test_both_branches_of_the_guidance_get_the_draft_of_their_view():
    net, rows = _lively(replace(TINY, draft=CHANNELS)), _rows()
    draft = torch.randn(12, CHANNELS, 8, 8)
    twice = [torch.cat([part[:6], part[:6], part[6:], part[6:]]) if part.ndim else part for part in rows]
    branches = net(*twice, draft=draft).reshape(4, 6, 4, 8, 8)
    alone = net(*rows, draft=draft).reshape(2, 6, 4, 8, 8)
    assert torch.allclose(branches[0], branches[1], atol=1e-5) and torch.allclose(branches[0], alone[0], atol=1e-5)
    assert torch.allclose(branches[3], alone[1], atol=1e-5)
    assert not torch.allclose(net(*rows), alone.flatten(0, 1))

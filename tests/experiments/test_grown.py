"""A grown shape network begins with the maps of the one that it grew from."""

import torch

from experiments.shape.grown import grown
from img2mv3d.nets.shape import ShapeConfig, ShapeNet

SMALL = ShapeConfig(widths=(32, 32, 16, 16), layers=1, fills=8, ratios=8, groups=(8, 4, 4))
LARGE = ShapeConfig(widths=(32, 48, 24, 16), layers=3, fills=8, ratios=8, groups=(12, 6, 4))


@torch.no_grad()
def test_a_grown_network_gives_the_same_maps():
    torch.manual_seed(1)
    small = ShapeNet(SMALL).eval()
    for value in small.parameters():  # heads that begin with zeros would hide what comes before them
        value.add_(torch.randn_like(value) * 0.02)
    large = grown(small, LARGE).eval()
    assert sum(p.numel() for p in large.parameters()) > sum(p.numel() for p in small.parameters())
    picture, outline = torch.rand(2, 4, 128, 128), torch.rand(2, 8, 64, 64)
    inputs = picture, outline, torch.tensor([0.4, 0.9]), torch.tensor([True, False])
    for name, before, after in zip(("ratio", "pitch"), small(*inputs)[:2], large(*inputs)[:2], strict=True):
        assert torch.allclose(before, after, atol=1e-4), name
    before, after = small(*inputs), large(*inputs)
    assert torch.allclose(before.fine.middle, after.fine.middle, atol=1e-4)
    assert torch.allclose(before.coarse.fill, after.coarse.fill, atol=1e-3)
    assert torch.allclose(before.normal, after.normal, atol=1e-3) and torch.allclose(before.far, after.far, atol=1e-3)

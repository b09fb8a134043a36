"""The shape network: told another depth, the body is scaled; columns are solid where the layers say."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from img2mv3d.geometry.outline import outline_maps
from img2mv3d.nets.shape import (
    Layers,
    ShapeConfig,
    ShapeNet,
    columns,
    likely_ratio,
    ratio_bins,
    revolution,
    revolution_ratio,
)

BINS, BIN = 48, 0.04
SMALL = ShapeConfig(widths=(32, 32, 16, 16), layers=1, fills=8, ratios=8)


@pytest.fixture(scope="module")
def net() -> ShapeNet:
    torch.manual_seed(0)
    return ShapeNet(SMALL).eval()


def _inputs(batch: int = 2) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(1)
    return torch.rand(batch, 4, 128, 128, generator=numbers), torch.rand(batch, 8, 64, 64, generator=numbers)


def _layers(middle: float, half: float, fill: float = 9.0, size: int = 4) -> Layers:
    full = torch.full((1, size, size), 1.0)
    return Layers(
        full * middle, (full * half).log(), torch.zeros(1, 2, size, size), full[:, None].repeat(1, 8, 1, 1) * fill
    )


@torch.no_grad()
def test_every_head_has_its_size(net):
    maps = net(*_inputs(), torch.ones(2), torch.ones(2, dtype=torch.bool))
    assert maps.ratio_logits.shape == (2, 8) and maps.pitch.shape == (2, 2)
    assert maps.coarse.middle.shape == (2, 32, 32) and maps.coarse.fill.shape == (2, 8, 32, 32)
    assert maps.fine is not None and maps.fine.log_spread.shape == (2, 2, 64, 64)
    assert maps.far.shape == (2, 3, 64, 64) and maps.normal.shape == (2, 3, 128, 128)
    assert torch.allclose(maps.normal.norm(dim=1), torch.ones(2, 128, 128), atol=1e-4)


@torch.no_grad()
def test_fresh_finer_layers_are_the_coarse_ones_enlarged(net):
    maps = net(*_inputs(), torch.ones(2), torch.ones(2, dtype=torch.bool))
    pooled = torch.nn.functional.avg_pool2d(maps.fine.middle[:, None], 2)[:, 0]
    assert torch.allclose(pooled[:, 2:-2, 2:-2], maps.coarse.middle[:, 2:-2, 2:-2], atol=0.05)


@torch.no_grad()
def test_the_ratio_counts_only_where_it_is_told(net):
    inputs = _inputs(1)
    untold = [net(*inputs, torch.tensor([r]), torch.tensor([False]), fine=False).coarse.middle for r in (0.3, 1.2)]
    told = [net(*inputs, torch.tensor([r]), torch.tensor([True]), fine=False).coarse.middle for r in (0.3, 1.2)]
    assert torch.equal(*untold) and not torch.allclose(*told)


def test_columns_are_solid_between_front_and_back_and_nowhere_else():
    solid = columns(_layers(0.1, 0.25), torch.tensor([1.0]), BINS, BIN)[0, 0, 0]
    z = (torch.arange(BINS) + 0.5) * BIN - BINS * BIN / 2
    assert torch.equal(solid > 0.5, (z > -0.15) & (z < 0.35))


def test_another_depth_scales_the_columns():
    thick = columns(_layers(0.0, 0.25), torch.tensor([1.6]), BINS, BIN)
    thin = columns(_layers(0.0, 0.25), torch.tensor([0.8]), BINS, BIN)
    assert (thick > 0.5).sum() == 2 * (thin > 0.5).sum()


def test_a_column_thinner_than_a_cell_is_not_lost():
    solid = columns(_layers(0.0, 0.002), torch.tensor([1.0]), BINS, BIN)
    assert solid.max() >= 0.5


def test_what_is_not_filled_is_hollow_and_all_of_it_has_gradients():
    layers = _layers(0.0, 0.4)
    layers.fill[:, 3:5] = -9
    for tensor in layers[:4]:
        tensor.requires_grad_(True)
    solid = columns(layers, torch.tensor([1.0]), BINS, BIN)
    assert solid[0, 0, 0, BINS // 2] < 0.1 and solid[0, 0, 0, BINS // 2 - 8] > 0.5
    solid.sum().backward()
    assert all(layers[i].grad.abs().sum() > 0 for i in (0, 1, 3))


def test_a_config_survives_a_manifest_and_refuses_strangers():
    assert ShapeConfig.from_dict(SMALL.to_dict()) == SMALL
    with pytest.raises(TypeError):
        ShapeConfig.from_dict({"depth": 3})
    assert len(ratio_bins(8)) == 8 and (ratio_bins(8).diff() > 0).all()


def _outline(wide: float, high: float) -> Tensor:
    """Maps of an ellipse of these sizes (world units), 64 px over +-0.64."""
    x = (np.arange(64) + 0.5) / 50 - 0.64
    inside = (x / (wide / 2)) ** 2 + (x[:, None] / (high / 2)) ** 2 <= 1
    return torch.from_numpy(outline_maps(inside.astype(np.float32), 1.28))[None]


@pytest.mark.parametrize(("wide", "high", "ratio"), [(1.1, 1.1, 1.0), (0.4, 1.1, 0.36), (1.1, 0.5, 1.0)])
def test_a_revolution_is_as_deep_as_the_outline_is_wide(wide, high, ratio):
    assert float(revolution_ratio(_outline(wide, high))) == pytest.approx(ratio, rel=0.04)
    assert float(revolution(_outline(wide, high)).max()) == pytest.approx(0.5)


@torch.no_grad()
def test_columns_that_follow_the_revolution_make_a_ball_of_a_disc(net):
    net = copy.deepcopy(net)
    net.head[-1].bias[4:6] = 20  # both follow
    net.ratio[-1].bias[-1] = 20
    outline = _outline(1.1, 1.1)
    maps = net(torch.rand(1, 4, 128, 128), outline, torch.ones(1), torch.ones(1, dtype=torch.bool))
    assert maps.coarse.middle.abs().max() < 1e-6
    half = maps.fine.log_half.exp()[0] * 1.1
    x = (torch.arange(64) + 0.5) / 50 - 0.64
    ball = (0.55**2 - x**2 - x[:, None] ** 2).clamp(min=0).sqrt()
    assert (half - ball)[ball > 0.2].abs().max() < 0.03
    assert float(likely_ratio(maps.ratio_logits)) == pytest.approx(1.0, rel=0.04)

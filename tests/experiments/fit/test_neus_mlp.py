"""The network fit of others is theirs: its sizes are the recorded ones, it begins as a sphere, and it learns."""

import numpy as np
import pytest
import torch

from experiments.fit import neus_mlp as network
from experiments.fit.neus_mlp import RADIUS, ColorNet, NetworkFit, SdfNet
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Box, render_world
from img2mv3d.values import Views


@pytest.fixture(scope="module")
def views() -> Views:
    color, normal, mask, _ = render_world(Box(half=(0.3, 0.4, 0.2)), SIX_VIEWS, 32)
    return Views(color, normal, mask, SIX_VIEWS)


def count(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_the_networks_have_the_recorded_sizes() -> None:
    assert count(SdfNet()) == 529_076  # facts: Wonder3D's NeuS, 8 x 256, skip at 4, six frequencies
    assert [layer.in_features for layer in ColorNet().layers] == [262, 256, 256, 256, 256]


def test_a_fresh_network_is_a_sphere_that_is_negative_inside() -> None:
    torch.manual_seed(0)
    net = SdfNet()
    with torch.no_grad():
        away = torch.nn.functional.normalize(torch.randn(200, 3), dim=1)
        means = [float(net(away * r)[0].mean()) for r in (0.2, 0.5, 0.8, 1.0)]
    assert means == pytest.approx([r - RADIUS for r in (0.2, 0.5, 0.8, 1.0)], abs=0.2)
    assert means == sorted(means)


def test_steps_bring_it_nearer_to_the_views(views: Views, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RATE", 2e-3), ("COARSE", 16), ("ROUNDS", 2), ("FINE", 8)):  # a small network in a hurry
        monkeypatch.setattr(network, name, value)
    fit = NetworkFit(views, width=48, steps=30, batch=64)
    losses = [fit.step() for _ in range(30)]
    assert np.isfinite(losses).all() and np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_its_field_is_like_ours(views: Views) -> None:
    field = NetworkFit(views, width=48, batch=8).field(17)
    assert field.shape == (17, 17, 17) and field[8, 8, 8] < 0
    assert (field[[0, -1]] > 0).all() and (field[:, :, [0, -1]] > 0).all()


def test_equal_seeds_give_equal_fits(views: Views) -> None:
    one, other = (NetworkFit(views, width=48, batch=8, seed=3) for _ in range(2))
    assert [one.step(), one.step()] == [other.step(), other.step()]

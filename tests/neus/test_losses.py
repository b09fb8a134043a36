"""Terms of the fit against autograd."""

import pytest
import torch

from img2mv3d.neus.losses import field_loss, view_loss
from img2mv3d.neus.options import CHARBONNIER, ENOUGH, NEAR

RIM = 0.7


def inputs():
    rng = torch.Generator().manual_seed(0)
    opacity, mask, trust = torch.rand(3, 50, generator=rng)
    normal, target = torch.randn(2, 50, 3, generator=rng)
    lowest = torch.randn(50, generator=rng)
    return opacity, normal, lowest, mask, target, trust


def test_gradients_of_a_view_are_autograds():
    opacity, normal, lowest, mask, target, trust = inputs()
    found = view_loss(opacity, normal, lowest, mask, target, trust, RIM)
    o, n, low = (x.clone().requires_grad_() for x in (opacity, normal, lowest))
    wrong = (low - (0.5 - mask)).clamp(-1, 1)
    counts = (wrong.abs() >= ENOUGH).float()
    wanted = (counts * (o - mask) ** 2).sum() + RIM * (wrong**2).sum()
    wanted = wanted + (trust * ((n - target).square().sum(1) + CHARBONNIER**2).sqrt()).sum()
    wanted.backward()
    assert abs(found.loss - float(wanted.detach())) < 1e-3
    assert torch.allclose(found.d_opacity, o.grad, atol=1e-5) and torch.allclose(found.d_normal, n.grad, atol=1e-5)
    inside = (low - (0.5 - mask)).abs() < 1  # beyond, the pull stays as strong as at one cell
    assert torch.allclose(found.d_lowest[inside], low.grad[inside], atol=1e-5)
    assert torch.allclose(found.d_lowest[~inside].abs(), torch.tensor(2 * RIM))


@pytest.mark.parametrize("covered, lowest, pull", [(1.0, -3.0, 0), (1.0, 0.2, 1), (0.0, 3.0, 0), (0.0, -0.2, -1)])
def test_rays_on_their_side_of_the_silhouette_are_left_alone(covered, lowest, pull):
    one = torch.ones(1)
    found = view_loss(covered * one, torch.zeros(1, 3), lowest * one, covered * one, torch.zeros(1, 3), 0 * one, RIM)
    assert float(found.d_lowest.sign()) == pull


def test_a_ray_along_the_silhouette_wants_the_surface_where_its_coverage_says():
    cover = torch.linspace(0.05, 0.95, 10)
    none = torch.zeros(10, 3)
    found = view_loss(torch.full((10,), 0.3), none, 0.5 - cover, cover, none, torch.zeros(10), RIM)
    assert found.loss < 1e-10 and not found.d_opacity.any()


def test_the_worst_normals_beyond_the_limit_count_for_nothing_and_no_others():
    opacity, normal, lowest, mask, target, _ = inputs()
    target[:5] = normal[:5] + 100
    found = view_loss(opacity, normal, lowest, mask, target, torch.ones(50), RIM, limit=20.0)
    assert (found.d_normal[:5] == 0).all() and (found.d_normal[5:].abs().sum(1) > 0).all()
    assert (found.error[:5] > 20).all() and (found.error[5:] < 20).all()


def test_gradients_of_the_field_terms_are_autograds():
    rng = torch.Generator().manual_seed(1)
    values, curvature = torch.randn(2, 60, generator=rng) * 3
    slope = torch.randn(60, 3, generator=rng)
    hold, want = torch.rand(60, generator=rng), torch.randn(60, generator=rng)
    loss, d_slope, d_curvature, d_field = field_loss(values, slope, curvature, 0.03, 0.3, hold, want)
    g, b, f = (x.clone().requires_grad_() for x in (slope, curvature, values))
    near = values.abs() < NEAR
    wanted = 0.03 * (g[near].norm(dim=1) - 1).square().sum() + 0.3 * b[near].square().sum()
    wanted = wanted + (hold * (f - want) ** 2).sum()
    wanted.backward()
    assert abs(loss - float(wanted.detach())) < 1e-4
    assert torch.allclose(d_slope, g.grad, atol=1e-6) and torch.allclose(d_curvature, b.grad, atol=1e-6)
    assert torch.allclose(d_field, f.grad, atol=1e-6)

"""Terms of the fit against autograd."""

import torch

from img2mv3d.neus.losses import CHARBONNIER, NEAR, field_loss, view_loss


def inputs():
    rng = torch.Generator().manual_seed(0)
    opacity, mask, trust = torch.rand(3, 50, generator=rng)
    normal, target = torch.randn(2, 50, 3, generator=rng)
    return opacity, normal, mask, target, trust


def test_gradients_of_a_view_are_autograds():
    opacity, normal, mask, target, trust = inputs()
    loss, d_opacity, d_normal = view_loss(opacity, normal, mask, target, trust, 0.0)
    o, n = opacity.clone().requires_grad_(), normal.clone().requires_grad_()
    wanted = ((o - mask) ** 2).sum() + (trust * ((n - target).square().sum(1) + CHARBONNIER**2).sqrt()).sum()
    wanted.backward()
    assert abs(loss - float(wanted.detach())) < 1e-3
    assert torch.allclose(d_opacity, o.grad, atol=1e-5) and torch.allclose(d_normal, n.grad, atol=1e-5)


def test_the_worst_normals_are_dropped_and_no_others():
    opacity, normal, mask, target, _ = inputs()
    trust = torch.ones(50)
    target[:5] = normal[:5] + 100
    _, _, d_normal = view_loss(opacity, normal, mask, target, trust, 0.1)
    assert (d_normal[:5] == 0).all() and (d_normal[5:].abs().sum(1) > 0).all()


def test_rays_without_trust_are_no_outliers_and_cost_no_place():
    opacity, normal, mask, target, _ = inputs()
    trust = torch.zeros(50)
    trust[:10] = 1
    _, _, d_normal = view_loss(opacity, normal, mask, target, trust, 0.1)
    assert int((d_normal.abs().sum(1) > 0).sum()) == 9


def test_gradients_of_the_field_terms_are_autograds():
    rng = torch.Generator().manual_seed(1)
    values, bend = torch.randn(2, 60, generator=rng) * 3
    slope = torch.randn(60, 3, generator=rng)
    loss, d_slope, d_bend = field_loss(values, slope, bend, 0.03, 0.3)
    g, b = slope.clone().requires_grad_(), bend.clone().requires_grad_()
    near = values.abs() < NEAR
    wanted = 0.03 * (g[near].norm(dim=1) - 1).square().sum() + 0.3 * b[near].square().sum()
    wanted.backward()
    assert abs(loss - float(wanted.detach())) < 1e-4
    assert torch.allclose(d_slope, g.grad, atol=1e-6) and torch.allclose(d_bend, b.grad, atol=1e-6)

"""The nodes renderer: its sums against plain loops, its gradients against autograd and against its own transpose."""

import pytest
import torch
import torch.nn.functional as F

from img2mv3d.geometry.sdf import Box, Sphere, sample_grid
from img2mv3d.neus import narrow_band, reference
from img2mv3d.neus.raygrid import NodeRays

N = 14
S = 2.0
WHOLE = narrow_band.Block((0, 0, 0), (N, N, N), N)


def rough_field(seed=0):
    """A box with a dent and noise, in cells, [y, x, z]."""
    solid = Box((0.05, 0, -0.1), (0.5, 0.45, 0.4)) - Sphere((0.3, 0.2, 0.3), 0.35)
    field = torch.from_numpy(sample_grid(solid, N)).permute(1, 0, 2).contiguous() * ((N - 1) / 2)
    noise = torch.randn(field.shape, generator=torch.Generator().manual_seed(seed))
    return field.clamp(-3, 3) + 0.2 * noise.clamp(-4, 4)  # no two nodes alike: at a tie there is no gradient


def everything(azimuth_deg, sharpness=S):
    field, band = narrow_band.find_band(rough_field(), WHOLE)
    rays = NodeRays.of(azimuth_deg, N)
    known = torch.ones(N, rays.columns, dtype=torch.bool)
    values = field.flatten()[band.index]
    return values, band, reference.pack_rays(values, band, rays, known, sharpness)


def plain_composite(values, rays, sharpness):
    """Opacity and node weights ray by ray with cumprod, differentiable."""
    weights, opacity = [], []
    for start, last in zip(rays.start.tolist(), rays.last.tolist(), strict=True):
        f = torch.cat([values.new_tensor([narrow_band.FAR]), values[rays.node[start : last + 1]]])
        phi = torch.sigmoid(sharpness * f)
        alpha = (1 - phi[1:] / phi[:-1]).clamp(min=0)
        through = torch.cat([torch.ones_like(alpha[:1]), torch.cumprod(1 - alpha, 0)])
        weight = through[:-1] * alpha
        share = (f[:-1] / (f[:-1] - f[1:]).clamp(min=1e-6)).clamp(0, 1).detach()
        share[0] = 1
        node_weight = weight * share
        node_weight = node_weight + torch.cat([(weight * (1 - share))[1:], weight.new_zeros(1)])
        weights.append(node_weight)
        opacity.append(1 - through[-1])
    return torch.cat(weights), torch.stack(opacity)


@pytest.mark.parametrize("azimuth_deg", [0.0, 45.0, 90.0, 180.0, -45.0])
def test_opacity_and_weights_are_those_of_the_plain_loop(azimuth_deg):
    values, _, rays = everything(azimuth_deg)
    sections = reference.composite(values, rays, S)
    weights, opacity = plain_composite(values.double(), rays, S)
    assert torch.allclose(sections.node_weight, weights.float(), atol=2e-5)
    assert torch.allclose(reference.opacity(rays, sections), opacity.float(), atol=2e-5)


@pytest.mark.parametrize("azimuth_deg", [0.0, 135.0])
def test_gradients_are_autograds(azimuth_deg):
    values, band, rays = everything(azimuth_deg)
    rng = torch.Generator().manual_seed(3)
    want_opacity = torch.randn(len(rays.start), generator=rng)
    want_normal = torch.randn(len(rays.start), 3, generator=rng)

    gradient, curvature = reference.differences(values, band)
    sections = reference.composite(values, rays, S)
    d_entry = want_normal[rays.ray]
    d_gradient = torch.zeros_like(gradient)
    d_gradient[rays.node] += sections.node_weight[:, None] * d_entry
    found = reference.backward(values, rays, sections, S, want_opacity, (d_entry * gradient[rays.node]).sum(1))
    found += reference.differences_backward(d_gradient, 0.1 * curvature, band)

    v = values.double().requires_grad_()
    near = torch.cat([v, v.new_tensor([narrow_band.FAR, -narrow_band.FAR])])[band.neighbours]
    slope = torch.stack([near[3] - near[2], near[1] - near[0], near[5] - near[4]], dim=1) / 2
    weights, opacity = plain_composite(v, rays, S)
    normal = torch.zeros(len(rays.start), 3, dtype=torch.float64).index_add(
        0, rays.ray, weights[:, None] * slope[rays.node]
    )
    loss = (opacity * want_opacity).sum() + (normal * want_normal).sum()
    loss = loss + 0.05 * (near.mean(0) - v).square().sum()
    loss.backward()
    assert (found - v.grad).abs().max() < 1e-4 * v.grad.abs().max()


def test_sums_run_over_each_ray_and_no_other():
    values, _, rays = everything(45.0)
    table = torch.randn(len(values), 3, generator=torch.Generator().manual_seed(1))
    weight = torch.rand(len(rays.node), generator=torch.Generator().manual_seed(2))
    found = reference.accumulate(rays, weight, table)
    wanted = torch.zeros_like(found).index_add(0, rays.ray, weight[:, None] * table[rays.node])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_the_transpose_of_the_differences_is_their_transpose():
    values, band, _ = everything(0.0)
    rng = torch.Generator().manual_seed(4)
    a, x = torch.randn(2, len(values), generator=rng)
    g = torch.randn(len(values), 3, generator=rng)
    zero_slope, zero_bend = reference.differences(torch.zeros_like(values), band)
    slope, curvature = reference.differences(x, band)
    forth = ((slope - zero_slope) * g).sum() + ((curvature - zero_bend) * a).sum()
    back = (reference.differences_backward(g, a, band) * x).sum()
    assert abs(float(forth - back)) < 1e-3 * abs(float(forth)) + 1e-3


def test_the_band_keeps_every_sign_but_on_the_border_which_is_outside():
    field = rough_field()
    field[0] = -1.0
    fitted, band = narrow_band.find_band(field, WHOLE)
    inner = (slice(1, -1),) * 3
    assert torch.equal(fitted[inner] < 0, field[inner] < 0)
    assert (fitted[0] > 0).all() and (fitted[:, :, -1] > 0).all()
    lives = torch.zeros(N**3, dtype=torch.bool)
    lives[band.index] = True
    assert (fitted.flatten()[~lives].abs() == narrow_band.FAR).all()


def test_a_list_ends_behind_an_opaque_surface_without_changing_what_is_seen():
    values, band, rays = everything(0.0, sharpness=8.0)
    field = F.logsigmoid(8.0 * values)
    assert torch.isfinite(field).all()
    known = torch.ones(N, N, dtype=torch.bool)
    whole = reference.pack_rays(values, band, NodeRays.of(0.0, N), known, 1e-3)
    assert len(rays.node) < len(whole.node)
    cut, full = (reference.opacity(r, reference.composite(values, r, 8.0)) for r in (rays, whole))
    assert torch.allclose(cut, full, atol=3e-3)

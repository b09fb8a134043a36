"""The compiled steps of the fit against their readable twins, number for number."""

import nerfacc
import numpy as np
import pytest
import torch

from img2mv3d.geometry.sdf import Box, Sphere, sample_grid
from img2mv3d.neus import kernels, narrow_band, reference
from img2mv3d.neus.losses import color_loss, field_loss, view_loss
from img2mv3d.neus.raygrid import NodeRays

N = 20
S = 2.0
WHOLE = narrow_band.Block((0, 0, 0), (N, N, N), N)
PART = narrow_band.Block((2, 1, 3), (15, 17, 14), N)
ROUND = [0.0, 45.0, 90.0, 135.0, 180.0, -135.0, -90.0, -45.0]


def rough(block):
    """A box with a dent and noise, in cells, on the block's nodes; no two alike."""
    solid = Box((0.05, 0, -0.1), (0.4, 0.35, 0.35)) - Sphere((0.2, 0.2, 0.2), 0.3)
    field = torch.from_numpy(sample_grid(solid, N)).permute(1, 0, 2).contiguous() * ((N - 1) / 2)
    field = field + 0.2 * torch.randn(field.shape, generator=torch.Generator().manual_seed(0)).clamp(-4, 4)
    return narrow_band.find_band(field[block.slices].contiguous(), block)


def arrays(field, band):
    """(values with the two far ones, near, position) as the kernels take them."""
    index = band.index.numpy()
    values = np.append(field.numpy().reshape(-1)[index], [narrow_band.FAR, -narrow_band.FAR]).astype(np.float32)
    position = np.full(field.numel(), -1, np.int32)
    position[index] = np.arange(len(index))
    near = np.ascontiguousarray(band.neighbours.numpy().T, dtype=np.int32)
    return values, near, position.reshape(field.shape)


def listed(field, band, block, rays, known, sharpness):
    values, _, position = arrays(field, band)
    count = len(values)
    node, start, target = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int64)
    entries, found = kernels.pack_rays(
        position,
        values,
        known.numpy(),
        sharpness,
        block.low,
        rays.right,
        rays.forward,
        rays.offset,
        node,
        start,
        target,
    )
    return node[:entries], start[: found + 1], target[:found]


@pytest.mark.parametrize("block", [WHOLE, PART])
@pytest.mark.parametrize("azimuth_deg", ROUND)
@pytest.mark.parametrize("sharpness", [1e-3, 8.0])
def test_lists_are_the_twins(block, azimuth_deg, sharpness):
    field, band = rough(block)
    rays = NodeRays.of(azimuth_deg, N)
    known = torch.rand(N, rays.columns, generator=torch.Generator().manual_seed(1)) > 0.2
    node, start, target = listed(field, band, block, rays, known, sharpness)
    twin = reference.pack_rays(field.flatten()[band.index], band, rays, known, sharpness)
    assert np.array_equal(node, twin.node.numpy())
    assert np.array_equal(start[:-1], twin.start.numpy()) and start[-1] == len(node)
    assert np.array_equal(target, twin.target.numpy())


@pytest.mark.parametrize("azimuth_deg", [0.0, 135.0])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_step_has_the_losses_and_gradients_of_the_twin(azimuth_deg, threads, monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 0)
    field, band = rough(WHOLE)
    rays = NodeRays.of(azimuth_deg, N)
    known = torch.ones(N, rays.columns, dtype=torch.bool)
    values, near, _ = arrays(field, band)
    node, start, target = listed(field, band, WHOLE, rays, known, S)
    count, rng = len(near), torch.Generator().manual_seed(2)
    mask, trust = torch.rand(2, len(target), generator=rng)
    normal = torch.randn(len(target), 3, generator=rng)
    hold, want = (x.numpy() for x in torch.rand(2, count, generator=rng))
    colors, color = torch.rand(count, 3, generator=rng), torch.rand(len(target), 3, generator=rng)
    color_trust = torch.rand(len(target), generator=rng) * (torch.rand(len(target), generator=rng) > 0.3)
    limit = 1.5  # some normals are off by more
    phi, gradient = np.empty(count, np.float32), np.empty((count, 3), np.float32)
    d_field, d_curvature, d_gradient = (np.zeros(s, np.float32) for s in (count, count + 2, (count + 2, 3)))
    error = np.zeros(len(target), np.float32)
    own = kernels.in_ranges(
        kernels.node_terms, count, count, threads, values, near, S, 0.03, 0.08, hold, want, phi, gradient,
        d_field, d_gradient, d_curvature,
    )  # fmt: skip
    seen = kernels.in_ranges(
        kernels.view_terms, len(target), len(node), threads, values, phi, gradient, colors.numpy(),
        node, start, mask.numpy(), normal.numpy(), trust.numpy(), color.numpy(), color_trust.numpy(), 0.7, limit, S,
        2.0, d_field, d_gradient, error,
    )  # fmt: skip

    f = torch.from_numpy(values[:-2])
    twin = reference.pack_rays(f, band, rays, known, S)
    g, curvature = reference.differences(f, band)
    field_cost, d_g, d_b, d_f = field_loss(f, g, curvature, 0.03, 0.08, torch.from_numpy(hold), torch.from_numpy(want))
    sections = reference.composite(f, twin, S)
    lowest = torch.full((len(target),), narrow_band.FAR).scatter_reduce(0, twin.ray, f[twin.node], "amin")
    view = view_loss(
        reference.opacity(twin, sections), reference.accumulate(twin, sections.node_weight, g), lowest, mask, normal,
        trust, 0.7, limit,
    )  # fmt: skip
    off = reference.accumulate(twin, sections.node_weight, colors) - reference.opacity(twin, sections)[:, None] * color
    color_cost, d_off = color_loss(off, color_trust)
    view_cost = view.loss + color_cost
    d_entry, d_colored = 2 * view.d_normal[twin.ray], 2 * d_off[twin.ray]
    d_g[twin.node] += sections.node_weight[:, None] * d_entry
    d_weight = (d_entry * g[twin.node]).sum(1) + (d_colored * (colors[twin.node] - color[twin.ray])).sum(1)
    d_f += reference.backward(f, twin, sections, S, 2 * view.d_opacity, d_weight)
    deepest = [
        twin.node[a : b + 1][f[twin.node[a : b + 1]].argmin()] for a, b in zip(twin.start, twin.last, strict=True)
    ]
    d_f[torch.stack(deepest)] += 2 * view.d_lowest
    assert (view.error > limit).any() and (view.error < limit).any()
    assert np.allclose(error, torch.where(trust > 0, view.error, 0.0), atol=1e-4)
    assert sum(own) == pytest.approx(field_cost, rel=1e-4) and sum(seen) == pytest.approx(view_cost, rel=1e-4)
    for found, wanted in ((gradient, g), (d_gradient[:-2], d_g), (d_curvature[:-2], d_b), (d_field, d_f)):
        assert np.abs(found - wanted.numpy()).max() < 1e-4 * max(1.0, float(wanted.abs().max()))

    # one step of Adam from rest goes by the rate against the sign of the whole gradient, where that is not small
    whole = (d_f + reference.differences_backward(d_g, d_b, band)).numpy()
    mean, square = np.zeros(count, np.float32), np.zeros(count, np.float32)
    before = values.copy()
    kernels.in_ranges(
        kernels.update, count, count, threads,
        values, near, d_field, d_gradient, d_curvature, mean, square, 0.1 / (1 - 0.9), 1 / (1 - 0.99), (0.9, 0.99),
        1e-6,
    )  # fmt: skip
    assert np.abs(mean / 0.1 - whole).max() < 1e-3 * np.abs(whole).max()
    moved, wanted = before[:-2] - values[:-2], 0.1 * np.sign(whole)
    free = (np.abs(whole) > 1e-3) & (np.abs(before[:-2]) < narrow_band.FAR - 0.2)
    assert np.allclose(moved[free], wanted[free], atol=2e-3) and not d_field.any()
    assert np.array_equal(values[-2:], before[-2:])


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 0)
    field, band = rough(WHOLE)
    results = []
    for threads in (1, 2, 5):
        values, near, _ = arrays(field, band)
        count = len(near)
        phi, gradient = np.empty(count, np.float32), np.empty((count, 3), np.float32)
        d_curvature, d_gradient = np.zeros(count + 2, np.float32), np.zeros((count + 2, 3), np.float32)
        kernels.in_ranges(
            kernels.node_terms, count, count, threads, values, near, S, 0.03, 0.1, np.zeros(count, np.float32),
            np.zeros(count, np.float32), phi, gradient, np.zeros(count, np.float32), d_gradient, d_curvature,
        )  # fmt: skip
        results.append(np.concatenate([phi, gradient.ravel(), d_gradient.ravel(), d_curvature]))
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def random_colors(count, rays):
    rng = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, generator=rng), torch.rand(rays, 3, generator=rng), torch.rand(rays, generator=rng)


def test_rays_have_the_colours_that_nerfacc_renders():
    field, band = rough(WHOLE)
    f = field.flatten()[band.index]
    rays = NodeRays.of(45.0, N)
    packed = reference.pack_rays(f, band, rays, torch.ones(N, rays.columns, dtype=torch.bool), S)
    sections = reference.composite(f, packed, S)
    colors, _, _ = random_colors(len(f), len(packed.start))
    entering = torch.ones_like(sections.through)
    entering[1:] = sections.through[:-1]
    entering[packed.start] = 1.0
    before = packed.node.roll(1)
    before[packed.start] = packed.node[packed.start]
    place = packed.ray, torch.arange(len(packed.node)) - packed.start[packed.ray]
    alpha, shown = torch.zeros(len(packed.start), 4 * N), torch.zeros(len(packed.start), 4 * N, 3)
    alpha[place] = sections.weight / entering
    shown[place] = torch.lerp(colors[before], colors[packed.node], sections.share[:, None])
    weight, _ = nerfacc.render_weight_from_alpha(alpha)
    ours = reference.accumulate(packed, sections.node_weight, colors)
    assert torch.allclose(ours, nerfacc.accumulate_along_rays(weight, shown), atol=1e-5)


def test_nodes_have_the_colours_of_the_twin():
    field, band = rough(WHOLE)
    rays = NodeRays.of(90.0, N)
    known = torch.ones(N, rays.columns, dtype=torch.bool)
    values, near, _ = arrays(field, band)
    node, start, target = listed(field, band, WHOLE, rays, known, S)
    _, color, trust = random_colors(1, len(target))
    total, weight = np.zeros((len(near), 3), np.float32), np.zeros(len(near), np.float32)
    kernels.add_colors(values, node, start, S, color.numpy(), trust.numpy(), total, weight)
    f = torch.from_numpy(values[:-2])
    twin = reference.pack_rays(f, band, rays, known, S)
    wanted = reference.color_sums(twin, reference.composite(f, twin, S), color, trust, len(f))
    assert np.allclose(total, wanted[0], atol=1e-5) and np.allclose(weight, wanted[1], atol=1e-5)

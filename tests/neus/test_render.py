"""The rays renderer against recorded opacities, exact solids, and the nodes renderer."""

from pathlib import Path

import numpy as np
import pytest
import torch

from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, Rig
from img2mv3d.geometry.sdf import Box, Sphere, render_world, sample_grid
from img2mv3d.neus import narrow_band, reference
from img2mv3d.neus.raygrid import NodeRays
from img2mv3d.neus.render import crossing, render, render_views, sample, section_alpha

GOLDEN = Path(__file__).parents[1] / "golden" / "neus" / "alpha.npz"
SOLID = Sphere((0.05, 0.0, 0.0), 0.55) - Sphere((0.2, 0.25, 0.3), 0.35)


@pytest.mark.parametrize("variance", ["0.1", "0.3", "0.5"])
@pytest.mark.parametrize("ratio", ["0.0", "0.15", "1.0"])
def test_opacity_of_sections_is_the_recorded_one(variance, ratio):
    """NeuS estimates both ends of a section from its middle, the slope along the ray and the annealing ratio."""
    data = {k: torch.from_numpy(v) for k, v in np.load(GOLDEN).items()}
    slope, a = (data["dirs"] * data["normal"]).sum(1), float(ratio)
    fall = -((0.5 - 0.5 * slope).relu() * (1 - a) + (-slope).relu() * a) * data["dists"][:, 0] / 2
    sharpness = float(np.exp(10 * float(variance)))
    found = section_alpha(data["sdf"] - fall, data["sdf"] + fall, sharpness)
    assert (found - data[f"alpha_v{variance}_r{ratio}"]).abs().max() < 1e-6


def test_a_solid_is_seen_where_it_is_with_its_normals():
    _, normal, mask, z = render_world(SOLID, SIX_VIEWS, 32)
    seen = render_views(sample_grid(SOLID, 64), SIX_VIEWS, 32)
    both = (seen.opacity > 0.5) & (mask > 0.5)
    assert both.sum() / ((seen.opacity > 0.5) | (mask > 0.5)).sum() > 0.98
    assert np.median(np.abs(seen.z - z)[both]) < 1e-3
    assert np.quantile(np.abs(seen.z - z)[both], 0.9) < 0.01
    assert np.median((seen.normal * normal).sum(-1)[both]) > 0.999
    assert np.abs(seen.opacity - mask).mean() < 0.01


def test_perspective_depth_is_measured_along_the_axis():
    rig = Rig(("one",), (20.0,), (25.0,), "perspective", 2.0, 3.0)
    _, normal, mask, z = render_world(SOLID, rig, 48)
    seen = render_views(sample_grid(SOLID, 64), rig, 48)
    both = (seen.opacity > 0.5) & (mask > 0.5)
    assert both.sum() > 0.97 * (mask > 0.5).sum()
    assert np.median(np.abs(seen.z - z)[both]) < 2e-3
    assert np.median((seen.normal * normal).sum(-1)[both]) > 0.999


@pytest.mark.parametrize("azimuth_deg", [0.0, 90.0])
def test_both_renderers_see_the_same_in_the_same_field(azimuth_deg):
    n = 33
    sdf = sample_grid(SOLID, n)
    cells = torch.from_numpy(sdf).permute(1, 0, 2) * ((n - 1) / 2)
    field, band = narrow_band.find_band(cells, narrow_band.Block((0, 0, 0), (n, n, n), n))
    values = field.flatten()[band.index]
    rays = NodeRays.of(azimuth_deg, n)
    listed = reference.pack_rays(values, band, rays, torch.ones(n, rays.columns, dtype=torch.bool), 8.0)
    sections = reference.composite(values, listed, 8.0)
    opacity = torch.zeros(n * n)
    opacity[listed.target] = reference.opacity(listed, sections)
    depth = torch.zeros(n * n)
    z = rays.z(band.ix, band.iz)
    depth[listed.target] = reference.accumulate(listed, sections.node_weight, z[:, None])[:, 0]
    # pixels whose centres are the nodes
    wide = Camera.orbit(azimuth_deg, half_width=n / (n - 1), size=n)
    seen = render(sdf, wide)
    opacity, depth = opacity.view(n, n).flip(0).numpy(), depth.view(n, n).flip(0).numpy()
    assert np.quantile(np.abs(opacity - seen.opacity), 0.98) < 0.02
    solid = (opacity > 0.99) & (seen.opacity > 0.99)
    assert solid.sum() > 150
    off_cells = np.abs(depth / np.maximum(opacity, 0.5) - seen.z)[solid] * (n - 1) / 2
    assert np.median(off_cells) < 0.05 and np.quantile(off_cells, 0.9) < 0.5


def test_nothing_is_seen_of_an_empty_field():
    seen = render(np.ones((16, 16, 16), np.float32), SIX_VIEWS.cameras(20)[0])
    assert not seen.opacity.any() and not seen.z.any() and not seen.normal.any()


def test_a_ray_that_passes_a_thin_plate_goes_on_behind_it():
    plate, ball = Box((0, 0, 0.6), (0.8, 0.8, 0.004)), Sphere((0, 0, -0.2), 0.4)
    seen = render(np.minimum(sample_grid(plate, 64) + 0.01, sample_grid(ball, 64)), SIX_VIEWS.cameras(33)[0])
    assert seen.opacity[16, 16] > 0.99 and seen.z[16, 16] == pytest.approx(-0.2, abs=0.02)


def test_samples_of_a_linear_field_are_exact():
    line = torch.linspace(-1, 1, 8)
    x, y, z = torch.meshgrid(line, line, line, indexing="ij")
    points = torch.rand(10, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = sample(torch.stack([x, y, 2 * z - x]), points)
    assert torch.allclose(
        found, torch.stack([points[:, 0], points[:, 1], 2 * points[:, 2] - points[:, 0]], 1), atol=1e-5
    )
    assert torch.allclose(
        crossing(torch.tensor([1.0, 1.0, -1.0]), torch.tensor([-3.0, 0.5, -2.0])), torch.tensor([0.25, 1, 0])
    )

"""Rays through nodes: the integer columns and orders against the cameras themselves."""

import numpy as np
import pytest
import torch

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig, project
from img2mv3d.neus.raygrid import NodeRays, box_filters, point_filters, serves

N = 9


def nodes():
    iy, ix, iz = (i.flatten() for i in torch.meshgrid(*[torch.arange(N)] * 3, indexing="ij"))
    points = torch.stack([ix, iy, iz], dim=1).double() * (2 / (N - 1)) - 1
    return iy, ix, iz, points


@pytest.mark.parametrize("view", range(6))
def test_every_node_lies_on_the_ray_that_its_column_names_at_the_depth_that_is_told(view):
    _, ix, iz, points = nodes()
    camera = SIX_VIEWS.cameras(100)[view]
    rays = NodeRays.of(SIX_VIEWS.azimuth_deg[view], N)
    uv, z = project(camera, points.numpy())
    assert np.abs(rays.u()[rays.column(ix, iz)].numpy() - (uv[:, 0] / 50 - 1)).max() < 1e-12
    assert np.abs(rays.z(ix, iz).numpy() - z).max() < 1e-6
    order = rays.order(ix, iz).numpy()
    assert np.allclose(np.diff(z[np.lexsort((z, order))]) >= -1e-9, True) and order.min() >= 0


@pytest.mark.parametrize("view", range(6))
def test_no_two_nodes_of_a_row_share_column_and_order(view):
    iy, ix, iz, _ = nodes()
    rays = NodeRays.of(SIX_VIEWS.azimuth_deg[view], N)
    keys = set(zip(iy.tolist(), rays.column(ix, iz).tolist(), rays.order(ix, iz).tolist(), strict=True))
    assert len(keys) == N**3


@pytest.mark.parametrize("filters", [box_filters, point_filters])
def test_a_ramp_is_resampled_to_itself_and_rays_outside_of_the_frame_are_unknown(filters):
    rays = NodeRays.of(45.0, 17)
    rows, columns, known = filters(rays, 1.0, 64, 64)
    u = (torch.arange(64) + 0.5) / 32 - 1
    ramp = u[None, :] - 0.5 * u[:, None]  # v grows downwards
    found = rows @ ramp @ columns.T
    y = torch.linspace(-1, 1, 17)
    wanted = rays.u().float()[None, :] + 0.5 * y[:, None]
    inner = known & (y.abs() < 0.9)[:, None] & (rays.u().abs() < 0.9)[None, :]
    assert (found - wanted)[inner].abs().max() < 2e-3  # pixels are steps
    assert not known[:, rays.u() > 1.01].any() and known[:, rays.u().abs() < 1].all()


def test_only_level_orthographic_rigs_in_steps_of_45_degrees_are_served():
    assert serves(SIX_VIEWS)
    assert not serves(Rig(("a", "b"), (0.0, 30.0), (0.0, 0.0)))
    assert not serves(Rig(("a", "b"), (0.0, 90.0), (0.0, 20.0)))
    assert not serves(Rig(("a", "b"), (0.0, 90.0), (0.0, 0.0), "perspective", 2.0, 3.0))

"""Carrying pixels by depth: a sphere and a wall, where everything is known."""

import math

import pytest
import torch

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig, pixel_centres, unproject
from img2mv3d.geometry.warp import depth_cosine, warp_photo

RADIUS = 0.7


def sphere(rig: Rig, size: int = 96) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """z, hit, points [V, H, W, 3] and colours [V, H, W, 3] that depend on the point alone."""
    uv = torch.from_numpy(pixel_centres(size))
    x, y = uv[..., 0] * 2 / size - 1, 1 - uv[..., 1] * 2 / size
    inside = x**2 + y**2 < RADIUS**2
    z = torch.where(inside, -(RADIUS**2 - x**2 - y**2).clamp(min=0).sqrt(), 0.0).expand(len(rig), -1, -1)
    hit = inside.float().expand(len(rig), -1, -1)
    points = torch.stack([unproject(c, uv, z[i]) for i, c in enumerate(rig.cameras(size))])
    color = (0.5 + 0.4 * torch.sin(points * torch.tensor([4.0, 3.0, 5.0]))).float()
    return z, hit, points, torch.where(inside[None, ..., None], color, 1.0)


def test_the_photo_lands_on_its_own_points_in_every_view():
    z, hit, _, color = sphere(SIX_VIEWS)
    front = torch.cat([color[0].permute(2, 0, 1), hit[:1]])
    carried = warp_photo(front, z, hit, SIX_VIEWS)
    truth = color.permute(0, 3, 1, 2)
    for view in range(6):
        sure = (carried.visible[view] > 0.9) & (carried.cosine[view] > 0.4)
        assert ((carried.color[view] - truth[view]).abs().amax(0)[sure] < 0.03).all()
    share = [float(carried.visible[v].sum() / hit[v].sum()) for v in range(6)]
    assert share[0] > 0.99 and share[1] > 0.6 and share[5] > 0.6 and 0.3 < share[2] < 0.55 and share[3] < 0.01


def test_what_the_front_does_not_see_is_not_visible():
    z, hit, points, color = sphere(SIX_VIEWS)
    carried = warp_photo(torch.cat([color[0].permute(2, 0, 1), hit[:1]]), z, hit, SIX_VIEWS)
    hidden = (points[..., 2] < -0.05) & (hit > 0)
    assert carried.visible[hidden].max() == 0
    assert (carried.gap[3][hidden[3]] == 1).all()
    outside = hit == 0
    assert carried.color.permute(0, 2, 3, 1)[outside].abs().max() == 0 and carried.cosine[outside].max() == 0


def test_the_cosine_is_that_of_the_sphere():
    z, hit, points, _ = sphere(SIX_VIEWS)
    camera = SIX_VIEWS.cameras(96)[0]
    cosine = depth_cosine(camera, z[0], hit[0] > 0.5)
    truth = points[0, ..., 2] / RADIUS
    inner = truth > 0.5
    assert (cosine - truth)[inner].abs().max() < 0.03
    assert cosine[hit[0] == 0].abs().max() == 0


@pytest.mark.parametrize(
    "rig",
    [Rig(("a", "b"), (0.0, 20.0), (0.0, 15.0)), Rig(("a", "b"), (0.0, 20.0), (5.0, 0.0), "perspective", 2.0, 4.0)],
)
def test_any_rig_carries_a_wall(rig):
    """A plane z = 0 in front of all cameras, coloured by its points."""
    size, (first, second) = 64, rig.cameras(64)
    uv = torch.from_numpy(pixel_centres(size)).double()
    from img2mv3d.geometry.cameras import rays

    z, colors = [], []
    for camera in (first, second):
        origin, direction = rays(camera, uv)
        depth = -origin[..., 2] / direction[..., 2]
        point = unproject(camera, uv, depth)
        z.append(depth)
        colors.append(0.5 + 0.4 * torch.sin(point * 2 + 1))
    z, colors = torch.stack(z).float(), torch.stack(colors).float()
    hit = torch.ones_like(z)
    carried = warp_photo(torch.cat([colors[0].permute(2, 0, 1), hit[:1]]), z, hit, rig)
    inner = carried.visible[1] > 0.9
    assert inner.float().mean() > 0.7
    assert ((carried.color[1].permute(1, 2, 0) - colors[1]).abs().amax(-1)[inner] < 0.02).all()
    if rig.kind == "orthographic":
        tilt = math.cos(math.radians(20)) * math.cos(math.radians(15))
        assert abs(float(depth_cosine(second, z[1], hit[1] > 0).median()) - tilt) < 1e-3

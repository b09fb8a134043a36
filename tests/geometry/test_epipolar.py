"""Rays seen from other cameras: neighbours, taps, depth pooled and disturbed."""

import numpy as np
import pytest
import torch

from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, Rig
from img2mv3d.geometry.epipolar import (
    depth_gap,
    image_taps,
    pluecker,
    pool_depth,
    ray_depths,
    row_taps,
    rows_are_epipolar,
    structured_noise,
)
from img2mv3d.geometry.rings import neighbours


def rig_of(azimuths: tuple, elevations: tuple | None = None) -> Rig:
    floats = tuple(float(a) for a in azimuths)
    return Rig(tuple(f"v{i}" for i in range(len(floats))), floats, tuple(map(float, elevations or (0,) * len(floats))))


def test_six_views_look_into_the_five_others_in_ring_order():
    table = neighbours(SIX_VIEWS)
    assert table[0] == (1, 2, 3, 4, 5)
    assert table[4] == (5, 0, 1, 2, 3)


def test_missing_views_leave_slots_empty_and_neighbours_in_their_places():
    assert neighbours(rig_of((0, 90, -90)))[0] == (1, None, None, None, 2)
    assert neighbours(rig_of((0,))) == ((None,) * 5,)
    assert neighbours(SIX_VIEWS, dropped=(2,))[0] == (1, None, 3, 4, 5)


def test_of_more_views_the_five_nearest_in_azimuth_are_seen():
    assert neighbours(rig_of((0, 45, 90, 135, 180, 225, 270, 315)))[0] in ((1, 2, 3, 6, 7), (1, 2, 5, 6, 7))


@pytest.mark.parametrize("width", [1, 2, 16])
def test_row_taps_are_image_taps_where_rows_are_epipolar(width):
    rig = rig_of((0, 45, 100, -77.5))
    assert rows_are_epipolar(rig) and not rows_are_epipolar(rig_of((0, 90), (0, 10)))
    cameras = rig.cameras(width)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.arange(width * width)
    z = torch.rand(len(pixels), 3, generator=generator, dtype=torch.float64) * 2.4 - 1.2
    values = torch.rand(width * width, generator=generator, dtype=torch.float64)
    for other in (1, 2, 3):
        fast = row_taps(rig, 0, other, pixels, z, width)
        plain = image_taps(cameras[0], cameras[other], pixels, z)
        assert torch.equal(fast.inside, plain.inside)
        assert torch.allclose(fast.z, plain.z)
        assert torch.allclose((values[fast.index] * fast.weight).sum(-1), (values[plain.index] * plain.weight).sum(-1))


def test_a_point_meets_its_own_pixel_again():
    camera = Camera.orbit(30.0, 20.0, size=8)
    taps = image_taps(camera, camera, torch.arange(64), torch.zeros(64, 1, dtype=torch.float64))
    found = (taps.index.double() * taps.weight).sum(-1)[:, 0]
    assert torch.allclose(found, torch.arange(64.0).double())


def test_points_behind_a_surface_have_gap_one_and_before_the_background_minus_one():
    camera = Camera.orbit(0.0, size=2)
    hit = torch.tensor([True, True, False, True])
    taps = image_taps(camera, camera, torch.arange(4), torch.tensor([[0.05], [0.5], [0.0], [-0.5]]))
    assert torch.allclose(depth_gap(taps, torch.zeros(4), hit, 0.1)[:, 0], torch.tensor([0.5, 1.0, -1.0, -1.0]))


def test_depths_are_stratified_in_the_window():
    centres = ray_depths(torch.tensor([1.0]), 7, 0.7)
    assert torch.allclose(centres[0], 1.0 + torch.tensor([-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6]))
    jitter = torch.rand(1, 7, generator=torch.Generator().manual_seed(0))
    assert ((ray_depths(torch.tensor([1.0]), 7, 0.7, jitter) - centres).abs() <= 0.1 + 1e-6).all()


def test_orthographic_rays_differ_from_pixel_to_pixel():
    rays = pluecker(Camera.orbit(45.0, size=4))
    assert torch.allclose(rays[:3].norm(dim=0), torch.ones(4, 4))
    assert torch.allclose((rays[:3] * rays[3:]).sum(0), torch.zeros(4, 4), atol=1e-6)
    assert len(np.unique(rays[3:].flatten(1).round(decimals=5).T.numpy(), axis=0)) == 16


def test_depth_is_pooled_over_hits_alone():
    z = torch.tensor([[[1.0, 9.0], [3.0, 9.0]]])
    hit = torch.tensor([[[True, False], [True, False]]])
    pooled, solid = pool_depth(z, hit, 2)
    assert pooled.item() == 2.0 and solid.item()
    assert pool_depth(z, torch.zeros_like(hit), 2)[0].item() == 0.0


def test_structured_noise_is_bounded_repeatable_and_survives_pooling():
    noise = structured_noise(torch.Generator().manual_seed(1), 6, 256)
    assert torch.equal(noise, structured_noise(torch.Generator().manual_seed(1), 6, 256))
    assert noise.abs().max() <= 0.1 * (1 + 1 / 3 + 1 / 9)
    pooled = torch.nn.functional.avg_pool2d(noise[:, None], 8)
    assert pooled.std() > 0.8 * noise.std()

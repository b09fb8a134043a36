"""Exact solids and their pictures."""

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig, pixel_centres, unproject
from img2mv3d.geometry.sdf import Box, Capsule, Sphere, Torus, render_world, sample_grid, surface_color

SOLIDS = {
    "sphere": Sphere((0.1, -0.2, 0.05), 0.5),
    "box": Box((0.0, 0.1, 0.0), (0.5, 0.3, 0.2), 30),
    "torus": Torus((0, 0, 0), 0.45, 0.15, axis=2),
    "capsule": Capsule((-0.3, -0.3, 0.2), (0.4, 0.4, 0.0), 0.15),
    "bowl": Sphere(radius=0.6) - Sphere((0.1, 0.3, 0.2), 0.5),
    "pair": Sphere((0.4, 0, 0), 0.3) | Box((-0.4, 0, 0), (0.2, 0.2, 0.2)),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_distance_grows_no_faster_than_the_way(name):
    rng = np.random.default_rng(0)
    a, b = rng.uniform(-1, 1, (2, 500, 3))
    gap = np.abs(SOLIDS[name].distance(a) - SOLIDS[name].distance(b))
    assert (gap <= np.linalg.norm(a - b, axis=-1) + 1e-9).all()


@pytest.mark.parametrize("name", ["box", "torus", "bowl"])
def test_every_seen_point_lies_on_the_surface_with_its_colour_and_a_normal_towards_the_viewer(name):
    color, normal, mask, z = render_world(SOLIDS[name], SIX_VIEWS, 32)
    for i, camera in enumerate(SIX_VIEWS.cameras(32)):
        whole = mask[i] == 1
        points = unproject(camera, pixel_centres(32).astype(np.float64), z[i].astype(np.float64))[whole]
        assert np.abs(SOLIDS[name].distance(points)).max() < 1e-4
        off = np.abs(surface_color(points) - color[i][whole]).max(axis=-1)
        assert np.median(off) < 0.01 and off.max() < 0.3  # pixels beside a silhouette hold means over the pixel
        assert np.abs(np.linalg.norm(normal[i][whole], axis=-1) - 1).max() < 1e-5
        assert (normal[i][whole] @ camera.forward).max() < 0.02


def test_a_mask_covers_the_area_of_the_shadow():
    _, _, mask, z = render_world(Sphere((0.2, 0.1, -0.3), 0.5), SIX_VIEWS, 64)
    area = mask.sum(axis=(1, 2)) * (2 / 64) ** 2
    assert np.abs(area - np.pi * 0.25).max() < 0.005
    assert (z[mask < 0.5] == 0).all()


def test_views_are_not_mirrored():
    _, _, mask, z = render_world(Sphere((0.5, 0.5, 0.0), 0.2), SIX_VIEWS, 32)
    across = [np.average(np.arange(32) + 0.5, weights=m.sum(axis=0)) for m in mask]
    assert across[0] > 20 and across[3] < 12  # front: to the right; back: to the left
    assert all(m[:16].sum() > m[16:].sum() for m in mask)  # up is up
    assert z[2][mask[2] > 0.9].mean() < 0 < z[4][mask[4] > 0.9].mean()  # near to the right camera, far from the left


def test_a_perspective_camera_sees_the_near_side_at_its_distance():
    rig = Rig(("one",), (20.0,), (15.0,), "perspective", 2.0, 3.0)
    _, _, mask, z = render_world(Sphere(radius=0.5), rig, 33)
    assert z[0, 16, 16] == pytest.approx(2.5, abs=1e-4)
    assert mask[0].sum() > 0


def test_the_grid_holds_the_distances_of_its_nodes():
    grid = sample_grid(Sphere(radius=0.5), 9)
    assert grid.shape == (9, 9, 9) and grid.dtype == np.float32
    assert grid[4, 4, 4] == pytest.approx(-0.5) and grid[8, 4, 4] == pytest.approx(0.5)

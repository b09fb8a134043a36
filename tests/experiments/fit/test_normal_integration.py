"""The opponent is an honest one: where its assumptions hold it finds what the hull cannot."""

import numpy as np
import pytest

from experiments.fit.normal_integration import first_depth, integrate, integrated_field
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.hull import carve
from img2mv3d.geometry.sdf import Sphere, render_world, sample_grid

BALL = Sphere((0.0, 0.0, 0.0), 0.6)
BITTEN = BALL - Sphere((0.0, 0.0, 0.75), 0.4)  # a dent that only views from the front see


@pytest.fixture(scope="module")
def world():
    _, normal, mask, z = render_world(BITTEN, SIX_VIEWS, 256)
    return normal, mask, z


def test_normals_of_a_ball_integrate_to_the_ball(world) -> None:
    normal, mask, z = (a[3, ::2, ::2] for a in world)
    camera = SIX_VIEWS.cameras(128)[3]  # from behind, where no dent is seen
    near = first_depth(sample_grid(BALL, 64) - 0.03, camera)
    found = integrate(normal, mask > 0.5, near, camera)
    inner = (mask > 0.99) & ((normal @ -camera.forward) > 0.3)
    off = (found - z)[inner]
    assert np.abs(off - np.median(off)).mean() < 0.01  # slopes are right; the place is the hull's


def test_a_field_is_entered_where_its_surface_is() -> None:
    camera = SIX_VIEWS.cameras(32)[1]
    found = first_depth(sample_grid(BALL, 64), camera)
    assert found[16, 16] == pytest.approx(-0.6, abs=0.01) and np.isnan(found[0, 0])


def test_a_dent_that_the_hull_misses_is_found(world) -> None:
    normal, mask, _ = world
    truth = sample_grid(BITTEN, 64) < 0
    hull = carve(mask, SIX_VIEWS, 64) < 0
    found = integrated_field(normal, mask, SIX_VIEWS, 64)
    assert found.shape == (64, 64, 64) and found.dtype == np.float32 and np.isfinite(found).all()
    assert ((found < 0) != truth).sum() < 0.7 * (hull != truth).sum()
    assert not ((found < 0) & ~hull).any()  # never outside of the hull

"""What an object stands on, found again after it was tilted towards the camera; a ball stands on nothing."""

import numpy as np
import pytest
import trimesh

from experiments.fit.elevation import Row, seen_from, summary
from img2mv3d.mesh.base import FLAT, Base, base_of
from img2mv3d.mesh.upright import upright

BOX = trimesh.creation.box((1.0, 0.6, 0.8)).vertices
FEET = np.array([[x, -0.5, z] for x in (-0.3, 0.3) for z in (-0.3, 0.3)])
CHAIR = np.concatenate([FEET, FEET * [1, 0, 1], FEET[:2] * [1, -1.2, 1]])


@pytest.mark.parametrize("elevation", [-10.0, 0.0, 7.0, 25.0, 45.0])
@pytest.mark.parametrize("points", [BOX, CHAIR], ids=["box", "chair"])
@pytest.mark.parametrize("yaw", [0.0, 35.0])
def test_the_base_tells_the_camera_s_elevation(elevation: float, points: np.ndarray, yaw: float) -> None:
    seen = points @ seen_from(elevation, yaw).T
    found = base_of(seen)
    assert found.elevation_deg == pytest.approx(elevation, abs=0.5) and found.share > 0.9
    assert found.worth_a_word == (elevation >= 8)
    level = upright(seen, found.elevation_deg)
    assert np.ptp(np.sort(level[:, 1])[:4]) < 0.02  # the four lowest corners lie on the ground again


def test_a_ball_has_no_base_and_points_in_a_plane_have_none_at_all() -> None:
    ball = base_of(trimesh.creation.icosphere(subdivisions=3).vertices)
    assert ball.share < FLAT and not ball.worth_a_word
    assert base_of(np.zeros((5, 3))) is None and base_of(BOX[:3]) is None


def test_a_little_noise_changes_little() -> None:
    fine = trimesh.creation.box((1.0, 0.6, 0.8)).subdivide_loop(0).subdivide().subdivide().vertices
    noise = np.random.default_rng(0).normal(0, 0.004, fine.shape)
    found = base_of(fine @ seen_from(20.0, 10.0).T + noise)
    assert found.elevation_deg == pytest.approx(20, abs=2) and found.share > FLAT


def test_the_summary_counts_what_was_found_offered_and_wrong() -> None:
    rows = [Row("a", 30.0, Base(31.0, 0.9)), Row("b", 30.0, Base(10.0, 0.6)), Row("c", 30.0, Base(5.0, 0.1))]
    assert summary(rows).splitlines()[-1] == "| 30 | 3 | 2 | 2 | 10.5 | 18.1 | 1 | 1 |"

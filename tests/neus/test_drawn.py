"""A body follows an outline that somebody drew on one view, and nothing less than that."""

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world, sample_grid
from img2mv3d.neus.drawn import redrawn

NODES, SIZE = 64, 128
BALL = sample_grid(Sphere(radius=0.5), NODES).astype(np.float32)
OUTLINES = render_world(Sphere(radius=0.5), SIX_VIEWS, SIZE)[2]
RIGHT, BACK = SIX_VIEWS.names.index("right"), SIX_VIEWS.names.index("back")


def inside(field: np.ndarray, x: float, y: float, z: float) -> bool:
    return bool(field[tuple(round((c + 1) / 2 * (NODES - 1)) for c in (x, y, z))] < 0)


def test_outlines_that_agree_change_nothing() -> None:
    assert redrawn(BALL, OUTLINES, OUTLINES, SIX_VIEWS) is BALL
    noisy = OUTLINES.copy()
    noisy[BACK, 31, 60:68] = 1  # a pixel above the rim
    assert redrawn(BALL, noisy, OUTLINES, SIX_VIEWS) is BALL


@pytest.mark.parametrize("view", [0, RIGHT, BACK])
def test_an_antenna_on_one_view_stands_in_the_middle_and_is_as_thick_as_wide(view: int) -> None:
    drawn = OUTLINES.copy()
    drawn[view, 12:34, 61:67] = 1  # y from 0.46 to 0.8, six px wide: 0.09
    found = redrawn(BALL, drawn, OUTLINES, SIX_VIEWS)
    assert all(inside(found, 0, y, 0) for y in np.linspace(0.4, 0.75, 12))
    assert not any(inside(found, *at) for at in [(0, 0.9, 0), (0.15, 0.7, 0), (0, 0.7, 0.15), (-0.15, 0.7, 0)])
    low = np.arange(NODES) < NODES * 0.7  # all that is not near the antenna
    assert np.array_equal(found[:, low], BALL[:, low])


def test_what_is_erased_from_one_view_is_cut_through() -> None:
    drawn = OUTLINES.copy()
    drawn[RIGHT, 40:88, 70:128] = 0  # to the right of the middle: seen from the right, that is behind
    found = redrawn(BALL, drawn, OUTLINES, SIX_VIEWS)
    assert not inside(found, 0, 0, -0.3) and not inside(found, 0.2, 0, -0.3) and inside(found, 0, 0, 0.3)


def test_a_view_without_an_outline_says_nothing() -> None:
    drawn = OUTLINES.copy()
    drawn[RIGHT] = 0
    assert redrawn(BALL, drawn, OUTLINES, SIX_VIEWS) is BALL

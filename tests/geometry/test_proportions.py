"""The smallest upright box: exact for turned boxes, and what a data sheet says against it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2mv3d.geometry.proportions import Box, misfit, smallest_box

CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)


@given(st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.1, 3), st.floats(-4, 4))
def test_a_turned_box_has_its_own_sides(wide, high, deep, angle):
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    box = smallest_box(CORNERS * (wide, high, deep) @ turn.T)
    assert box == pytest.approx((max(wide, deep), high, min(wide, deep)), rel=1e-6)


def test_points_over_one_line_have_none():
    with pytest.raises(ValueError, match="ground area"):
        smallest_box(CORNERS * (1, 1, 0))


def test_a_misfit_is_that_of_the_worse_side_whatever_it_is_called():
    box = Box(2.0, 1.0, 1.0)
    assert misfit(box, (200.0, 100.0, 100.0)) == misfit(box, (10.0, 10.0, 20.0)) == pytest.approx(0)
    assert misfit(box, (200.0, 100.0, 80.0)) == pytest.approx(0.25)

"""The reconstruct stage."""

import numpy as np
import pytest

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Sphere, render_world
from img2mv3d.plans import ReconstructOptions
from img2mv3d.stages.reconstruct import reconstruct
from img2mv3d.values import Views

FAST = ReconstructOptions(grid=32, effort=0.1)


def test_a_ball_becomes_a_ball():
    color, normal, mask, _ = render_world(Sphere(radius=0.5), SIX_VIEWS, 64)
    told = []
    surface = reconstruct(Views(color, normal, mask, SIX_VIEWS), options=FAST, progress=lambda *now: told.append(now))
    share = (surface.sdf < 0).mean() * 8
    assert share == pytest.approx(np.pi / 6, rel=0.15)
    assert surface.figures["source"] == "neus" and told[-1] == (40, 40)


def test_without_normals_the_silhouettes_alone_give_a_shape_and_a_warning():
    color, _, mask, _ = render_world(Sphere(radius=0.5), SIX_VIEWS, 64)
    surface = reconstruct(Views(color, None, mask, SIX_VIEWS), options=FAST)
    share = (surface.sdf < 0).mean() * 8
    assert np.pi / 6 * 0.9 < share < np.pi / 6 * 1.4  # about the ball, no larger than its hull
    assert any("no normal maps" in line for line in surface.warnings)


def test_empty_views_are_nothing_found():
    blank = np.ones((6, 16, 16, 3), np.float32)
    with pytest.raises(NothingFoundError):
        reconstruct(Views(blank, blank * 0, blank[..., 0] * 0, SIX_VIEWS), options=FAST)

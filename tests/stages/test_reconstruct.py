"""The reconstruct stage."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Solid, Sphere, render_world, sample_grid
from img2mv3d.mesh.draft import body_maps
from img2mv3d.plans import ReconstructOptions
from img2mv3d.stages.reconstruct import reconstruct
from img2mv3d.values import Body, Views

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


def body_of(solid: Solid) -> Body:
    empty = np.zeros((4, 4, 3), np.float32)
    return Body(sample_grid(solid, 64).astype(np.float32), empty, empty, 1.0, np.zeros((1, 2), np.float32), 0.0, 1.0)


def seen_of(body: Body, color: np.ndarray | None = None) -> Views:
    maps = body_maps(body.field, SIX_VIEWS, 96)
    return Views(np.ones_like(maps.normal) if color is None else color, maps.normal, maps.mask, SIX_VIEWS, "body")


@pytest.mark.parametrize("begins", ["body", "hull"])
def test_the_surface_reads_the_colours_that_were_decoded(begins: str) -> None:
    """Views that show the same point alike, and the same views shifted against each other, as those that were decoded
    one by one: two surfaces, and of equal views the same one."""
    body = body_of(Sphere(radius=0.5))
    views = seen_of(body)
    line = np.arange(96)
    across = np.broadcast_to(0.5 + 0.5 * np.sin(line / 2)[None, :, None, None], (6, 96, 96, 3)).astype(np.float32)
    alone = np.stack([np.roll(view, 3 * i, axis=0) for i, view in enumerate(across)])
    begin = body if begins == "body" else None
    first, again, other = (
        reconstruct(replace(views, color=color), options=FAST, body=begin).sdf for color in (across, across, alone)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.abs(first - other).max() < 4 / 31  # by cells: colours refine what outlines and normals say


def test_an_antenna_that_somebody_painted_on_a_view_reaches_the_surface() -> None:
    body = body_of(Sphere(radius=0.5))
    views = seen_of(body)
    drawn = views.mask.copy()
    drawn[SIX_VIEWS.names.index("right"), 6:26, 45:51] = 1
    options = ReconstructOptions(grid=64, effort=0.3)
    found = reconstruct(replace(views, mask=drawn), options=options, body=body)
    above = [bool((found.sdf[28:36, round((y + 1) / 2 * 63), 28:36] < 0).any()) for y in (0.6, 0.7, 0.8)]
    assert all(above) and found.figures["source"] == "neus"
    assert not (reconstruct(views, options=options, body=body).sdf[:, 51:] < 0).any()

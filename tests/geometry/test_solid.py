"""Bodies of two layers: a ball is a ball, the outline is kept to the pixel, hollows are hollow, up is up."""

import numpy as np
import pytest
from scipy.ndimage import label

from img2mv3d.geometry.columns import COLUMNS, CROP
from img2mv3d.geometry.hull import mask_distance, on_nodes
from img2mv3d.geometry.solid import body_field, covering, revolution_field

NODES = 64
RADIUS = 0.5


def _columns() -> tuple[np.ndarray, np.ndarray]:
    ticks = (np.arange(COLUMNS) + 0.5) * (2 * CROP / COLUMNS) - CROP
    return np.meshgrid(ticks, -ticks, indexing="xy")


def _alpha(inside) -> np.ndarray:
    ticks = (np.arange(256) + 0.5) / 128 - 1
    return inside(*np.meshgrid(ticks, -ticks, indexing="xy")).astype(np.float32)


def _grid() -> np.ndarray:
    line = np.linspace(-1, 1, NODES)
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)


@pytest.fixture(scope="module")
def ball():
    x, y = _columns()
    half = np.sqrt(np.maximum(RADIUS**2 - x**2 - y**2, 0))
    return -half, half, np.hypot(x, y) < RADIUS, _alpha(lambda u, v: np.hypot(u, v) < RADIUS)


def test_the_layers_of_a_ball_give_a_ball(ball):
    front, back, known, alpha = ball
    field = body_field(front, back, known, None, alpha, NODES, CROP)
    exact = np.linalg.norm(_grid(), axis=-1) - RADIUS
    wrong = (field < 0) != (exact < 0)
    assert np.abs(exact[wrong]).max() < 2 / (NODES - 1)


def test_the_same_ball_by_revolution(ball):
    field = revolution_field(ball[3], NODES)
    exact = np.linalg.norm(_grid(), axis=-1) - RADIUS
    assert np.abs(exact[(field < 0) != (exact < 0)]).max() < 2 / (NODES - 1)


def test_up_stays_up_right_stays_right_and_near_is_towards_the_camera():
    x, y = _columns()
    known = (x > 0) & (y > 0) & (x < 0.4) & (y < 0.4)
    alpha = _alpha(lambda u, v: (u > 0) & (v > 0) & (u < 0.4) & (v < 0.4))
    front, back = np.full_like(x, -0.6), np.full_like(x, -0.2)  # nearer than the middle
    place = _grid()[body_field(front, back, known, None, alpha, NODES, CROP) < 0]
    assert (place > 0).all()  # x right, y up, z towards the camera
    assert place[:, 2].min() == pytest.approx(0.2, abs=0.04) and place[:, 2].max() == pytest.approx(0.6, abs=0.04)


def test_what_is_not_solid_between_the_layers_is_hollow(ball):
    front, back, known, alpha = ball
    solid = np.ones((COLUMNS, COLUMNS, 16))
    solid[..., 6:10] = 0
    whole = body_field(front, back, known, None, alpha, NODES, CROP)
    hollow = body_field(front, back, known, solid, alpha, NODES, CROP)
    assert (hollow >= whole).all()
    middle = NODES // 2
    assert whole[middle, middle, middle] < 0 < hollow[middle, middle, middle]
    assert (hollow[middle, middle] < 0).sum() > 4  # shells remain


def test_the_outline_is_the_photos_whatever_the_layers_say(ball):
    front, back, known, _ = ball
    alpha = _alpha(lambda u, v: (np.abs(u) < 0.3) & (np.abs(v) < 0.2))
    place = _grid()[body_field(front, back, known, None, alpha, NODES, CROP) < 0]
    assert np.abs(place[:, 0]).max() < 0.31 and np.abs(place[:, 1]).max() < 0.21


def test_where_the_photo_shows_the_body_and_all_is_hollow_stands_a_sheet(ball):
    front, back, known, alpha = ball
    solid = np.ones((COLUMNS, COLUMNS, 16))
    gone = (np.abs(_columns()[0]) < 0.1) & (_columns()[1] > -0.2)
    solid[gone] = 0
    holed = body_field(front, back, known, solid, alpha, NODES, CROP)
    outside = mask_distance(alpha) * (2 / 256)
    whole = covering(holed, outside)
    need = on_nodes(outside, np.linspace(-1, 1, NODES))
    assert (holed.min(2)[need < -0.02] > 0).any()
    assert (whole.min(2) < 0)[need < -0.02].all() and (whole.min(2) >= 0)[need >= 0].all()  # the outline, and all of it
    assert (whole <= holed).all()
    full = holed.min(2) < -0.02
    assert (whole[full] == holed[full]).all()  # where there was something nothing is added
    _, count = label(whole < 0)
    assert count == 1


def test_a_sheet_ends_where_the_outline_does_to_a_fraction_of_a_nodes_step():
    x, _ = _columns()
    alpha = _alpha(lambda u, v: (np.abs(u) < 0.3) & (np.abs(v) < 0.3))
    thin = body_field(x * 0 - 1e-4, x * 0 + 1e-4, np.abs(x) < 0.3, None, alpha, NODES, CROP)
    found = covering(thin, mask_distance(alpha) * (2 / 256))
    edge = found.min(2)[:, NODES // 2]
    inner = np.nonzero(edge < 0)[0].max()
    crossing = np.interp(0, edge[inner : inner + 2], np.linspace(-1, 1, NODES)[inner : inner + 2])
    assert crossing == pytest.approx(0.3, abs=0.2 * 2 / (NODES - 1))

"""Drafts: views of one body agree, the photo colours what it sees, the prediction what it does not."""

import numpy as np
import pytest

from img2mv3d.conventions import FRONT, IMAGE_SIZE, VIEW_NAMES
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.mesh.draft import Draft, body_maps, draft
from img2mv3d.mesh.sources import Source

RADIUS = 0.5
RED, BLUE = (0.8, 0.15, 0.1), (0.1, 0.2, 0.9)
BACK = VIEW_NAMES.index("back")


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    line = np.linspace(-1, 1, 64)
    return (np.linalg.norm(np.stack(np.meshgrid(line, line, line, indexing="ij")), axis=0) - RADIUS).astype(np.float32)


@pytest.fixture(scope="module")
def views(ball: np.ndarray) -> Draft:
    """A ball that is red in the photo and predicted to be blue behind."""
    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] - IMAGE_SIZE / 2 + 0.5
    alpha = (np.hypot(x, y) < RADIUS * IMAGE_SIZE / 2).astype(np.float32)
    color = np.broadcast_to(np.array(RED, np.float32), (IMAGE_SIZE, IMAGE_SIZE, 3)).copy()
    photo = Source(SIX_VIEWS.cameras(IMAGE_SIZE)[FRONT], color, alpha, priority=60.0, is_photo=True)
    far = np.broadcast_to(np.array(BLUE, np.float32), (64, 64, 3)).copy()
    return draft(ball, far, photo, alpha, SIX_VIEWS)


def test_every_view_of_a_ball_has_its_exact_outline_depth_and_normals(ball: np.ndarray) -> None:
    maps = body_maps(ball, SIX_VIEWS)
    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] + 0.5
    x, y = x / 128 - 1, 1 - y / 128
    inside = np.hypot(x, y) < RADIUS - 0.05
    z = -np.sqrt(np.maximum(RADIUS**2 - x**2 - y**2, 0))
    for mask, depth in zip(maps.mask, maps.z, strict=True):
        assert np.abs(mask.sum() - np.pi * (RADIUS * 128) ** 2) < 0.02 * mask.sum()
        assert np.abs(depth - z)[inside].max() < 0.03 and (depth[mask == 0] == 0).all()
    front = np.stack([x, y, -z], axis=-1) / RADIUS
    assert (maps.normal[FRONT] * front).sum(-1)[inside].min() > 0.97


def test_the_photo_colours_the_front_and_the_prediction_the_back(views: Draft) -> None:
    core = np.hypot(*(np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] - 127.5)) < 40
    assert np.abs(views.color[FRONT][core] - RED).mean() < 0.03
    assert np.abs(views.color[BACK][core] - BLUE).mean() < 0.03
    assert views.observed[FRONT][core].min() > 0.9 and views.observed[BACK][core].max() < 0.1


def test_views_are_over_white_and_not_grey_anywhere(views: Draft) -> None:
    empty = views.maps.mask == 0
    assert (views.color[empty] == 1).all() and (views.observed[empty] == 0).all()
    full = views.maps.mask > 0.99
    assert np.ptp(views.color[full], axis=1).min() > 0.2  # red, blue, or between them

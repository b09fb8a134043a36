"""Larger views: their finest band is a finer picture's, the rest their own; a body's draft is as fine as the photo."""

import cv2
import numpy as np
import pytest

from img2mv3d.conventions import FRONT, VIEW_NAMES
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.similarity import psnr
from img2mv3d.mesh.enlarge import enlarged, fine_draft, with_finest
from img2mv3d.mesh.photographs import photo_source

RADIUS, SIZE = 0.5, 512


def shrunk(pictures: np.ndarray) -> np.ndarray:
    """The mean of each four pixels."""
    views, size, _, channels = pictures.shape
    return pictures.reshape(views, size // 2, 2, size // 2, 2, channels).mean((2, 4))


def test_a_view_that_is_the_finer_picture_shrunk_becomes_the_finer_picture() -> None:
    fine = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)
    assert np.abs(with_finest(shrunk(fine), fine, unseen(fine)) - fine).max() < 1e-5


def test_a_view_keeps_its_own_colours_and_gets_the_finest_band_alone() -> None:
    numbers = np.random.default_rng(1)
    smooth = cv2.GaussianBlur(numbers.random((32, 32, 3)).astype(np.float32), (0, 0), 3)[None]
    fine = numbers.random((1, 64, 64, 3)).astype(np.float32)
    found = with_finest(smooth, fine, unseen(fine))
    assert np.abs(shrunk(found) - smooth).mean() < 0.25 * np.abs(shrunk(fine) - smooth).mean()
    assert np.abs(found - enlarged(smooth, 64)).std() > 0.1


def test_views_without_a_finer_band_are_enlarged_alone() -> None:
    smooth = cv2.GaussianBlur(np.random.default_rng(2).random((32, 32, 3)).astype(np.float32), (0, 0), 3)[None]
    even = np.full((1, 64, 64, 3), 0.3, np.float32)
    assert np.abs(with_finest(smooth, even, unseen(even)) - enlarged(smooth, 64)).max() < 1e-6


def test_what_the_photo_shows_is_the_finer_picture() -> None:
    fine = np.random.default_rng(3).random((1, 64, 64, 3)).astype(np.float32)
    assert np.array_equal(with_finest(np.zeros((1, 32, 32, 3)), fine, 1 - unseen(fine)), fine)


def unseen(pictures: np.ndarray) -> np.ndarray:
    """That the photo shows nothing of them."""
    return np.zeros(pictures.shape[:3], np.float32)


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    line = np.linspace(-1, 1, 64)
    return (np.linalg.norm(np.stack(np.meshgrid(line, line, line, indexing="ij")), axis=0) - RADIUS).astype(np.float32)


def test_the_draft_of_a_body_has_the_photos_own_detail_and_exact_outlines(ball: np.ndarray) -> None:
    side = 1024
    y, x = np.mgrid[:side, :side] - side / 2 + 0.5
    full = np.zeros((side, side, 4), np.uint8)
    full[..., :3] = np.where((x // 6 + y // 6) % 2 == 0, 220, 60)[..., None]  # squares of 1.5 px of 256
    full[..., 3] = 255 * (np.hypot(x, y) < RADIUS * side / 2)
    photo = photo_source(full, Framing((0.25, 0.25), (0.0, 0.0), 128), SIX_VIEWS.cameras()[FRONT])
    alpha = cv2.resize(full[..., 3].astype(np.float32) / 255, (256, 256), interpolation=cv2.INTER_AREA)
    far = np.full((64, 64, 3), 0.5, np.float32)
    fine = fine_draft(ball, far, photo, alpha, SIX_VIEWS, [], SIZE)
    assert fine.color.shape == (6, SIZE, SIZE, 3) and (fine.color[fine.mask == 0] == 1).all()
    assert fine.observed[FRONT, SIZE // 2, SIZE // 2] > 0.9 and fine.observed[VIEW_NAMES.index("back")].max() < 0.1
    assert np.abs(fine.mask.sum((1, 2)) / (np.pi * (RADIUS * SIZE / 2) ** 2) - 1).max() < 0.01
    true = cv2.resize(full[..., :3].astype(np.float32) / 255, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    core = (np.hypot(*(np.mgrid[:SIZE, :SIZE] - SIZE / 2 + 0.5)) < 0.6 * RADIUS * SIZE / 2).astype(np.float32)
    coarse = enlarged(cv2.resize(true, (256, 256), interpolation=cv2.INTER_AREA)[None], SIZE)[0]
    assert psnr(fine.color[FRONT], true, core) > psnr(coarse, true, core) + 3

"""Keying of plain backgrounds: what counts as plain, and the nearest pixel."""

import numpy as np
import pytest

from img2mv3d.matting.keying import Key, key_plain, nearest, without_shadows

SIDE = 160
Y, X = np.mgrid[:SIDE, :SIDE]
BALL = np.hypot(X - 80, Y - 85) < 40


def scene(back: np.ndarray, ball: np.ndarray = BALL) -> np.ndarray:
    rng = np.random.default_rng(0)
    mixed = np.where(ball[..., None], np.array([60.0, 90.0, 170.0]), back) + rng.normal(0, 1.5, (*ball.shape, 3))
    return mixed.clip(0, 255).astype(np.uint8)


def plain(value: float = 235) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), float(value))


@pytest.mark.parametrize("value", [5, 128, 250])
def test_a_flat_border_is_plain(value: float) -> None:
    key = key_plain(scene(plain(value)))
    assert key is not None and ((key.alpha > 0.5) == BALL).mean() > 0.995


def test_a_vignette_is_plain() -> None:
    fall = 230 - 45 * (((X - 80) / 80.0) ** 2 + ((Y - 80) / 80.0) ** 2) / 2
    key = key_plain(scene(np.repeat(fall[..., None], 3, 2)))
    assert key is not None and ((key.alpha > 0.5) == BALL).mean() > 0.99


@pytest.mark.parametrize("kind", ["noise", "two walls", "table", "steep"])
def test_a_scene_is_not_plain(kind: str) -> None:
    rng = np.random.default_rng(1)
    back = {
        "noise": rng.integers(0, 255, (SIDE, SIDE, 3)).astype(float),
        "two walls": np.repeat(np.where(X < 80, 230.0, 90.0)[..., None], 3, 2),
        "table": np.repeat(np.where(Y < 90, 225.0, 120 + 30 * np.sin(X / 3.0))[..., None], 3, 2),
        "steep": np.repeat((60 + 190 * X / SIDE)[..., None], 3, 2),
    }[kind]
    assert key_plain(scene(back)) is None


def test_an_object_may_cut_two_sides() -> None:
    post = (np.abs(X - 80) < 25) & (Y > 40)
    wide = post | ((np.abs(Y - 100) < 20) & (X > 80))
    key = key_plain(scene(plain(), wide))
    assert key is not None and ((key.alpha > 0.5) == wide).mean() > 0.99


def test_alpha_is_the_covered_share_of_edge_pixels() -> None:
    share = np.clip(40.5 - np.hypot(X - 80, Y - 85), 0, 1)
    rgb = share[..., None] * np.array([60.0, 90.0, 170.0]) + (1 - share[..., None]) * 235
    key = key_plain(rgb.astype(np.uint8))
    assert key is not None and np.abs(key.alpha - share).mean() < 0.002


def test_doubtful_shadows_go_where_somebody_says_so() -> None:
    alpha = np.zeros((60, 60), np.float32)
    alpha[10:40, 10:50] = 1
    doubt = np.zeros((60, 60), bool)
    doubt[30:40, 10:50] = True
    doubt[10:20, 10:20] = True
    told = np.zeros((60, 60), bool)
    told[8:30, 8:52] = True
    left = without_shadows(Key(alpha, doubt), told)
    assert left[33:40, 12:48].max() < 0.05 and left[12:28, 12:48].min() > 0.95


def test_nearest_finds_the_nearest() -> None:
    where = np.zeros((30, 40), bool)
    where[5, 7] = where[20, 30] = True
    rows, columns = nearest(where)
    assert (rows[0, 0], columns[0, 0]) == (5, 7) and (rows[29, 39], columns[29, 39]) == (20, 30)
    assert (rows[5, 7], columns[5, 7]) == (5, 7)

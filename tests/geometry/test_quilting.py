"""Quilts: the stuff of the photo in the colours of the guess, and none of its things."""

import numpy as np
import pytest

from img2mv3d.geometry.quilting import PIECE, quilted

SIZE = 96
GREEN = np.array([0.3, 0.5, 0.2], np.float32)


def _disc(radius: float) -> np.ndarray:
    return (np.hypot(*(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)) <= radius).astype(np.float32)


def _guess() -> np.ndarray:
    return np.broadcast_to(GREEN, (SIZE, SIZE, 3)).copy()


@pytest.fixture(scope="module")
def striped() -> np.ndarray:
    """Green with stripes, a black spot in the middle, as a melon with a sticker."""
    brightness = 0.25 * np.sign(np.sin(np.arange(SIZE) / 1.3))[None, :, None]
    color = _guess() * (1 + brightness) * np.ones((SIZE, 1, 1))
    color[_disc(9) > 0] = 0
    return color.astype(np.float32)


def test_stripes_stay_stripes_and_a_spot_in_the_middle_is_left_to_the_front(striped: np.ndarray) -> None:
    found = quilted(striped, _disc(44), _guess())
    inside = _disc(40) > 0
    across, down = (np.abs(np.diff(found.mean(2), axis=axis)) for axis in (1, 0))
    assert across[inside[:, 1:]].mean() > 3 * down[inside[1:]].mean() > 0
    assert across[inside[:, 1:]].mean() > 0.02
    assert found[inside].min() > 0.05  # nothing of the black spot


def test_a_plain_thing_keeps_the_guess_without_seams() -> None:
    shading = np.linspace(0.7, 1.1, SIZE, dtype=np.float32)[None, :, None]
    found = quilted(_guess() * shading, _disc(44), _guess())
    assert np.abs(found - GREEN)[_disc(40) > 0].max() < 0.06 < 0.14 < np.abs(_guess() * shading - GREEN).max()


def test_outside_and_of_thin_things_it_is_the_guess(striped: np.ndarray) -> None:
    guess = _guess()
    assert np.array_equal(quilted(striped, _disc(44), guess)[_disc(46) == 0], guess[_disc(46) == 0])
    assert np.array_equal(quilted(striped, _disc(PIECE / 2 - 1), guess), guess)
    assert np.array_equal(quilted(striped, np.zeros_like(_disc(1)), guess), guess)


def test_equal_photos_give_equal_quilts(striped: np.ndarray) -> None:
    assert np.array_equal(*(quilted(striped, _disc(44), _guess()) for _ in range(2)))

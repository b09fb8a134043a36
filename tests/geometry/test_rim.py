"""The rim's colours, carried on: rows keep theirs, the middle of a front is not in them."""

import numpy as np

from img2mv3d.geometry.rim import rim_colours


def _sheet() -> tuple[np.ndarray, np.ndarray]:
    """A rectangle, red above and blue below, with a green badge in its middle; its last pixels are black."""
    alpha, color = np.zeros((128, 128), np.float32), np.zeros((128, 128, 3), np.float32)
    alpha[14:114, 24:104] = 1
    color[16:64, 26:102, 0] = 0.9
    color[64:112, 26:102, 2] = 0.9
    color[44:84, 44:84] = (0, 0.9, 0)
    return color, alpha


def test_rows_keep_their_colour_and_the_middle_has_none_of_its_own() -> None:
    far = rim_colours(*_sheet(), 64)
    assert far.shape == (64, 64, 3) and far.dtype == np.float32
    for row, channel in ((12, 0), (50, 2)):
        assert (far[row, 14:50, channel] > 0.8).all() and far[row, 14:50].min() < 0.05
    assert far[..., 1].max() < 0.02  # nothing of the badge


def test_it_is_no_darker_than_the_rim_nor_white_where_nothing_is() -> None:
    color, alpha = _sheet()
    far = rim_colours(color, alpha, 64)
    assert far.max() <= color.max() + 1e-5 and far[2, 2].sum() > 0.5


def test_a_thing_without_a_band_gives_its_mean_and_nothing_gives_no_nan() -> None:
    color, alpha = np.full((128, 128, 3), 0.4, np.float32), np.zeros((128, 128), np.float32)
    alpha[60, 60] = 1
    assert np.allclose(rim_colours(color, alpha, 64), 0.4, atol=0.01)
    assert np.isfinite(rim_colours(color, np.zeros_like(alpha), 64)).all()


def test_two_colours_do_not_mix_to_a_third() -> None:
    """A yellow car on black wheels has a yellow back above and a black one below, and nowhere an olive one."""
    color, alpha = np.zeros((128, 128, 3), np.float32), np.zeros((128, 128), np.float32)
    alpha[20:108, 20:108] = 1
    color[20:108, 20:108] = (0.9, 0.8, 0.1)
    color[84:108, 20:48] = color[84:108, 80:108] = 0.05
    far = rim_colours(color, alpha, 64)
    assert np.abs(far[14:34, 12:52] - [0.9, 0.8, 0.1]).max() < 0.06
    assert np.array_equal(far, rim_colours(color, alpha, 64))

"""Framing against Wonder3D's data loader, against itself, and where the loader crashes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.framing import Framing, fit_box, frame

GOLDEN = Path(__file__).parents[1] / "golden" / "preprocess"
CASES = ["a_wide_centre/192", "a_wide_centre/224", "b_tall_border/192", "c_tiny/128", "d_full_square/192"]
CASES += ["e_noisy_alpha/192", "f_thin_wide/192"]


@pytest.mark.parametrize("case", CASES)
def test_frame_is_exactly_the_originals(case: str) -> None:
    name, framing_px = case.split("/")
    with np.load(GOLDEN / "framed.npz") as golden:
        expected, expected_alpha = golden[f"{name}__{framing_px}__img"], golden[f"{name}__{framing_px}__alpha"]
    image, _ = frame(np.array(Image.open(GOLDEN / f"{name}.png")), int(framing_px))
    picture = image.astype(np.float32) / 255
    alpha = picture[..., 3:]
    assert np.array_equal(image[..., 3:], expected_alpha)
    # stored in steps of 1 / 65025, which is exact for 8 bit colours times 8 bit alpha over white
    assert np.abs(picture[..., :3] * alpha + (1 - alpha) - expected / 65025).max() <= 2e-7


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 400), (400, 2), (3, 3)])
def test_objects_that_crash_the_original_are_framed(shape: tuple[int, int]) -> None:
    rgba = np.zeros((410, 410, 4), np.uint8)
    rgba[3 : 3 + shape[0], 5 : 5 + shape[1]] = (200, 10, 10, 255)
    image, framing = frame(rgba, 192)
    ys, xs = np.nonzero(image[..., 3])
    assert 190 <= max(np.ptp(ys), np.ptp(xs)) + 1 <= 192
    assert (image[ys, xs, 0] >= 199).all()
    assert all(s > 0 for s in framing.scale)


def test_an_empty_cut_out_is_nothing_found() -> None:
    with pytest.raises(NothingFoundError, match="transparent"):
        frame(np.zeros((20, 30, 4), np.uint8), 144)


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 30), st.integers(0, 30), st.sampled_from([112, 144, 192]))
def test_framing_says_where_the_pixels_went(h: int, w: int, top: int, left: int, framing_px: int) -> None:
    """A soft blob's centre of mass lands where Framing says, to a tenth of a pixel."""
    v, u = np.mgrid[0:100, 0:100] + 0.5
    r2 = ((u - left - w / 2) / (w / 2)) ** 2 + ((v - top - h / 2) / (h / 2)) ** 2
    rgba = np.zeros((100, 100, 4), np.uint8)
    rgba[..., 3] = np.clip(1 - r2, 0, 1) * 255
    image, framing = frame(rgba, framing_px)
    there = _mass(image[..., 3])
    assert np.abs(framing.framed_from_photo(_mass(rgba[..., 3])) - there).max() < 0.1 * max(framing.scale)


@settings(deadline=None, max_examples=60)
@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 500), st.floats(0.5, 500), st.integers(1, 256))
def test_fit_box_centres_the_box_and_gives_its_long_side(x: float, y: float, w: float, h: float, px: int) -> None:
    framing = fit_box((x, y, x + w, y + h), px)
    corners = framing.framed_from_photo(np.array([[x, y], [x + w, y + h]]))
    assert np.allclose(corners.mean(0), 128, atol=1e-6)
    assert np.isclose((corners[1] - corners[0]).max(), px)
    assert np.allclose(framing.photo_from_framed(corners), [[x, y], [x + w, y + h]], atol=1e-6)


def test_fit_box_and_frame_agree_on_whole_boxes() -> None:
    """On a box whose last row and column are given away, as `frame` does, both framings are the same."""
    rgba = np.zeros((300, 300, 4), np.uint8)
    rgba[20:120, 40:105, 3] = 255  # box 40, 20, 104, 119 for the original: 64 x 99
    _, exact = frame(rgba, 144)
    smooth = fit_box((40, 20, 104, 119), 144)
    points = np.array([[40.0, 20.0], [104.0, 119.0], [70.0, 60.0]])
    assert np.abs(exact.framed_from_photo(points) - smooth.framed_from_photo(points)).max() <= 1.0


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (5, 0, 1, 1), (0, 0, float("nan"), 1)])
def test_fit_box_refuses_what_is_no_box(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="box"):
        fit_box(box, 144)


@pytest.mark.parametrize("framing_px", [0, 257, -3])
def test_a_framing_must_fit_the_picture(framing_px: int) -> None:
    with pytest.raises(ValueError, match="framing"):
        fit_box((0, 0, 1, 1), framing_px)


def test_framing_is_the_one_of_values() -> None:
    from img2mv3d import values

    assert values.Framing is Framing


def _mass(alpha: np.ndarray) -> np.ndarray:
    v, u = np.mgrid[0 : alpha.shape[0], 0 : alpha.shape[1]] + 0.5
    weight = alpha / alpha.sum()
    return np.array([(u * weight).sum(), (v * weight).sum()])

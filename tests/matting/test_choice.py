"""Believable cut-outs: each kind of wrong one is drawn, and told from those that only look like it."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from img2mv3d.matting import choice


def drawn(draw_on: str, size: int = 400) -> np.ndarray:
    """float32 [H, W] in {0, 1}."""
    picture = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(picture)
    if draw_on == "disc":
        pen.ellipse((100, 100, 300, 300), fill=255)
    elif draw_on == "inverted":
        pen.rectangle((0, 0, size, size), fill=255)
        pen.ellipse((100, 100, 300, 300), fill=0)
    elif draw_on == "rounded corners":
        pen.rounded_rectangle((0, 0, size - 1, size - 1), 30, fill=255)
    elif draw_on == "tight crop":  # a wide object that touches all borders
        pen.ellipse((0, 0, size - 1, size - 1), fill=255)
    elif draw_on == "polaroid":
        pen.rectangle((30, 30, 370, 320), fill=255)
    elif draw_on == "outline":
        pen.ellipse((100, 100, 300, 300), outline=255, width=4)
    elif draw_on == "ring":
        pen.ellipse((100, 100, 300, 300), outline=255, width=30)
    elif draw_on == "mug":
        pen.rectangle((80, 100, 250, 320), fill=255)
        pen.ellipse((220, 150, 330, 280), outline=255, width=22)
    return np.asarray(picture, np.float32) / 255


@pytest.mark.parametrize("kind", ["disc", "inverted", "rounded corners", "tight crop", "polaroid", "ring", "mug"])
def test_only_an_inverted_cut_out_is_inverted(kind: str) -> None:
    assert choice.is_inverted(drawn(kind)) == (kind == "inverted")


@pytest.mark.parametrize("kind", ["disc", "rounded corners", "tight crop", "polaroid", "ring", "mug"])
def test_only_a_picture_with_its_corners_cut_off_is_whole(kind: str) -> None:
    assert choice.is_whole_picture(drawn(kind)) == (kind == "rounded corners")


@pytest.mark.parametrize("kind", ["disc", "tight crop", "polaroid", "ring", "mug", "outline"])
def test_only_a_picture_in_a_frame_is_a_rectangle(kind: str) -> None:
    box = choice.rectangle(drawn(kind))
    assert (box is not None) == (kind == "polaroid")
    if box is not None:
        assert (box[0].start, box[1].stop) == (30, 371)


@pytest.mark.parametrize("kind", ["disc", "ring", "mug", "outline"])
def test_only_what_a_line_encloses_is_filled(kind: str) -> None:
    before = drawn(kind)
    after = choice.with_outlines_filled(before)
    if kind == "outline":
        assert choice.overlap(after > 0.5, drawn("disc") > 0.5) > 0.98
    else:
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("kind", ["disc", "ring", "mug", "outline"])
def test_only_lines_are_strokes(kind: str) -> None:
    assert choice.is_strokes(drawn(kind)) == (kind == "outline")


def test_overlap_and_parts() -> None:
    disc, ring = drawn("disc") > 0.5, drawn("ring") > 0.5
    assert choice.overlap(disc, disc) == 1 and choice.overlap(disc, ring) < 0.6
    assert choice.is_part(ring, disc) and not choice.is_part(disc, ring)
    assert choice.overlap(disc & False, disc & False) == 0

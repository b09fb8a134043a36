"""The window of a silhouette: it holds it with a margin, fits the network, and what lies outside is white."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from img2mv3d.conventions import LATENT_FACTOR
from img2mv3d.nets.window import MARGIN, STEP, Window, around

SIZE = 256
PIXEL = st.integers(0, SIZE - 1)


def _box(top, end, left, right):
    covered = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    covered[1, top:end, left:right] = True
    return covered


@given(PIXEL, PIXEL, PIXEL, PIXEL)
def test_silhouettes_lie_inside_with_a_margin_and_the_columns_about_the_middle(a, b, c, d):
    (top, end), (left, right) = sorted((a, b)), sorted((c, d))
    window = around(_box(top, end + 1, left, right + 1))
    whole = SIZE // LATENT_FACTOR
    assert window.top <= max(top // LATENT_FACTOR - MARGIN, 0)
    assert window.top + window.height >= min(end // LATENT_FACTOR + 1 + MARGIN, whole)
    assert window.left <= max(left // LATENT_FACTOR - MARGIN, 0)
    assert window.left + window.width >= min(right // LATENT_FACTOR + 1 + MARGIN, whole)
    assert window.height % STEP == window.width % STEP == 0
    assert 0 <= window.top <= whole - window.height
    assert window.left == whole - window.left - window.width


def test_a_window_is_not_larger_than_it_must_be():
    window = around(_box(64, 192, 120, 136))  # cells 8..24 and 15..17
    assert window == Window(top=6, height=20, left=12, width=8, whole=32)
    assert window.wide() == Window(top=6, height=20, left=0, width=32, whole=32)


@pytest.mark.parametrize(("columns", "width"), [(0, 8), (8, 8), (9, 12), (31, 32), (99, 32)])
def test_columns_are_added_on_both_sides(columns, width):
    window = around(_box(64, 192, 120, 136)).at_least(columns)
    assert (window.left, window.width) == ((32 - width) // 2, width)
    assert (window.top, window.height) == (6, 20)


def test_nothing_covered_is_everything():
    assert around(torch.zeros(1, SIZE, SIZE, dtype=torch.bool)) == Window(0, 32, 0, 32, 32)


def test_what_was_cut_is_pasted_in_its_place_and_the_rest_is_white():
    window = Window(top=8, height=8, left=12, width=8, whole=32)
    latents, white = torch.randn(3, 4, 32, 32), torch.tensor([1.0, 2.0, 3.0, 4.0])
    back = window.paste(window.cut(latents), white)
    assert torch.equal(window.cut(back), window.cut(latents))
    window.cut(back).copy_(white[:, None, None])
    assert torch.equal(back, white[None, :, None, None].expand(3, 4, 32, 32))


def test_cutting_and_mirroring_change_places():
    window = around(_box(64, 192, 40, 136))
    latents = torch.randn(1, 4, 32, 32)
    assert torch.equal(window.cut(latents.flip(-1)), window.cut(latents).flip(-1))


@pytest.mark.parametrize("side", [128, 512])
def test_other_sizes_of_pictures(side):
    covered = torch.zeros(1, side, side, dtype=torch.bool)
    covered[0, side // 2, side // 2] = True
    assert around(covered).whole == side // LATENT_FACTOR

"""Straight alpha over white, and back. Arrays and tensors alike; float in [0, 1]."""

from __future__ import annotations

from typing import TypeVar

Pixels = TypeVar("Pixels")  # numpy array or torch tensor

LEAST_COVER = 1 / 8  # below it a pixel's own colour is lost in the white: it is not amplified further


def over_white(color: Pixels, alpha: Pixels) -> Pixels:
    """Colours with straight alpha, composited over white.

    color, alpha: [0, 1], of shapes that broadcast.
    """
    return color * alpha + (1 - alpha)


def from_white(color: Pixels, alpha: Pixels) -> Pixels:
    """Colours over white as straight ones, in [0, 1]; `over_white` undoes it where alpha is at least LEAST_COVER.

    color, alpha: [0, 1], of shapes that broadcast.
    """
    return ((color - (1 - alpha)) / alpha.clip(min=LEAST_COVER)).clip(0, 1)

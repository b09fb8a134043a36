"""The smallest upright box around an object, which is what a product's data sheet gives.

In: points, y up. Out: its three sides. The object may stand in it turned about the upright axis.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Box(NamedTuple):
    """Sides of an upright box: `wide` >= `deep` lie on the ground."""

    wide: float
    high: float
    deep: float


def smallest_box(points: Float[np.ndarray, "P 3"]) -> Box:
    """The box of the smallest ground area; one of its sides lies along a side of the ground's convex hull (Freeman and
    Shapira 1975). Raises ValueError for fewer than three points or points over one line."""
    from scipy.spatial import ConvexHull, QhullError

    ground = points[:, [0, 2]]
    try:
        corners = ground[ConvexHull(ground).vertices]
    except (QhullError, ValueError):
        raise ValueError("an object without a ground area has no box") from None
    along = np.roll(corners, -1, axis=0) - corners
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = along[:, ::-1] * (-1, 1)
    sides = np.stack([np.ptp(corners @ along.T, axis=0), np.ptp(corners @ across.T, axis=0)])
    best = sides[:, sides.prod(0).argmin()]
    return Box(float(best.max()), float(np.ptp(points[:, 1])), float(best.min()))


def misfit(box: Box, sides: tuple[float, float, float]) -> float:
    """By how much (0.1: a tenth) the worse of the box's two ground sides differs from a data sheet's, once the heights
    agree. sides: width, height, depth; which of the two ground sides is called width does not matter."""
    width, height, depth = sides
    wanted = Box(max(width, depth), height, min(width, depth))
    off = [
        np.log(mine / box.high * wanted.high / other)
        for mine, other in ((box.wide, wanted.wide), (box.deep, wanted.deep))
    ]
    return float(np.exp(np.abs(off).max()) - 1)

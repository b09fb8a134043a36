"""A guess at colours, woven out of pieces of the photo: a back that has the stuff of the front and not its blur.

In: the photo's colours and alpha, a smooth guess. Out: colours everywhere. After Efros and Freeman, "Image Quilting for
Texture Synthesis and Transfer" (2001): piece by piece, the one of the photo that fits the guess and its neighbours,
joined along the line where they differ least.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy.lib.stride_tricks import sliding_window_view

PIECE, LAP = 16, 6  # px of a piece, and by how many neighbours overlap
STRIDE = 3  # px between the pieces that are looked at
FEWEST = 30  # pieces; of fewer nothing but repetition comes
CELL = 4  # px a side of the means by which pieces are compared with the guess
# What a piece costs beside its squared difference from its neighbours (colours in [0, 1]).
GUESS = 1.5  # squared difference from the guess
HEIGHT = 0.015  # other height, in the object's heights, squared: what is below stays below
CONTRAST = 1.2  # its own contrast, squared: eyes and letters are for the front
MIDDLE = 0.03  # distance from the outline over the largest one, squared: so is what is in the middle
AGAIN = 0.002  # each time that it, or one beside it, was taken
NEAR = 5.0  # px between pieces that count as the same
SHADED = (0.06, 0.14)  # contrast up to which what is broad in a piece is its old place's shading, and from which colour
SEAM = 0.8  # px by which a seam is softened
BROAD, FOLLOWED = (4.0, 10.0), (1.0, 0.7)  # px above which colours are the guess's, by this share: shading, colour
OUTLINE = 0.02  # alpha from which on a pixel belongs to the object


class _Pieces(NamedTuple):
    """colors, their means by CELL, what each costs wherever it is laid, its contrast, its upper left corner."""

    colors: Float32[np.ndarray, "N p p 3"]
    means: Float32[np.ndarray, "N c"]
    cost: Float32[np.ndarray, " N"]
    contrast: Float32[np.ndarray, " N"]
    rows: Int64[np.ndarray, " N"]
    columns: Int64[np.ndarray, " N"]


def quilted(
    color: Float32[np.ndarray, "S S 3"], alpha: Float32[np.ndarray, "S S"], guess: Float32[np.ndarray, "S S 3"]
) -> Float32[np.ndarray, "S S 3"]:
    """Colours about those of the guess within the outline, made of pieces of the photo from near its rim; the guess
    itself where the photo is too thin to be cut into pieces, and outside.
    """
    pieces = _pieces(color, alpha)
    if len(pieces.cost) < FEWEST:
        return guess
    covered = alpha > OUTLINE
    rows, columns = (np.nonzero(covered.any(axis))[0] for axis in (1, 0))
    cloth, laid, colourful = guess.copy(), np.zeros(alpha.shape, bool), np.zeros(alpha.shape, np.float32)
    taken = np.zeros(len(pieces.cost), np.float32)
    last = alpha.shape[0] - PIECE
    for y in range(int(rows.min()), int(rows.max()) + 1, PIECE - LAP):
        for x in range(int(columns.min()), int(columns.max()) + 1, PIECE - LAP):
            here = slice(min(y, last), min(y, last) + PIECE), slice(min(x, last), min(x, last) + PIECE)
            if not covered[here].any():
                continue
            there = laid[here]
            cost = pieces.cost + AGAIN * taken + GUESS * _apart(pieces.means, _means(guess[here][None]))
            cost += HEIGHT * ((pieces.rows - y) / (np.ptp(rows) + 1)) ** 2
            if there.any():
                cost += ((pieces.colors[:, there] - cloth[here][there]) ** 2).mean((1, 2))
            best = int(cost.argmin())
            taken += np.hypot(pieces.rows - pieces.rows[best], pieces.columns - pieces.columns[best]) < NEAR
            cloth[here] = _sewn(cloth[here], pieces.colors[best], there)
            colourful[here] = np.interp(pieces.contrast[best], SHADED, (0, 1))
            laid[here] = True
    shaded, coloured = (
        cloth + share * (_smooth(guess, covered, px) - _smooth(cloth, covered, px))
        for px, share in zip(BROAD, FOLLOWED, strict=True)
    )
    share = cv2.GaussianBlur(colourful, (0, 0), BROAD[0])[..., None]
    cloth = coloured * share + shaded * (1 - share)
    return np.where(covered[..., None], cloth.clip(0, 1), guess).astype(np.float32)


def _pieces(color: Float32[np.ndarray, "S S 3"], alpha: Float32[np.ndarray, "S S"]) -> _Pieces:
    """All pieces that lie wholly within the outline."""
    inside = (alpha >= 0.9).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    whole = sliding_window_view(cv2.erode(inside, np.ones((3, 3), np.uint8)), (PIECE, PIECE)).all((2, 3))
    rows, columns = np.nonzero(whole[::STRIDE, ::STRIDE])
    rows, columns = rows * STRIDE, columns * STRIDE
    windows = sliding_window_view(color, (PIECE, PIECE), axis=(0, 1))[rows, columns]
    colors = np.ascontiguousarray(windows.transpose(0, 2, 3, 1), np.float32)
    contrast = colors.std((1, 2)).mean(1)
    middle = depth[rows + PIECE // 2, columns + PIECE // 2] / max(float(depth.max()), 1.0)
    cost = CONTRAST * contrast**2 + MIDDLE * middle**2
    return _Pieces(colors, _means(colors), cost.astype(np.float32), contrast, rows, columns)


def _means(colors: Float32[np.ndarray, "N p p 3"]) -> Float32[np.ndarray, "N c"]:
    cells = colors.reshape(len(colors), PIECE // CELL, CELL, PIECE // CELL, CELL, 3)
    return cells.mean((2, 4)).reshape(len(colors), (PIECE // CELL) ** 2 * 3)


def _apart(means: Float32[np.ndarray, "N c"], wanted: Float32[np.ndarray, "1 c"]) -> Float32[np.ndarray, " N"]:
    return ((means - wanted) ** 2).mean(1)


def _sewn(
    old: Float32[np.ndarray, "p p 3"], new: Float32[np.ndarray, "p p 3"], there: Bool[np.ndarray, "p p"]
) -> Float32[np.ndarray, "p p 3"]:
    """The new piece over the old ones; in what overlaps at the left and on top each keeps its side of the seam."""
    apart = ((new - old) ** 2).sum(2)
    kept = np.zeros_like(there)
    for over, error, side in ((there, apart, kept), (there.T, apart.T, kept.T)):
        strip = over[:, :LAP]
        if strip.all():
            side[:, :LAP] |= _before_seam(error[:, :LAP])
        elif strip.any():
            side[:, :LAP] |= strip
    kept &= there
    share = cv2.GaussianBlur((~kept).astype(np.float32), (0, 0), SEAM)
    share = np.where(there, share, 1)[..., None]
    sewn: np.ndarray = old * (1 - share) + new * share
    return sewn


def _before_seam(error: Float32[np.ndarray, "p l"]) -> Bool[np.ndarray, "p l"]:
    """What lies to the left of the way from top to bottom on which the errors' sum is least."""
    sums = error.copy()
    for row in range(1, len(sums)):
        above = np.pad(sums[row - 1], 1, constant_values=np.inf)
        sums[row] += np.minimum(np.minimum(above[:-2], above[1:-1]), above[2:])
    before = np.zeros(error.shape, bool)
    place = int(sums[-1].argmin())
    for row in range(len(sums) - 1, -1, -1):
        before[row, :place] = True
        if row:
            left = max(place - 1, 0)
            place = left + int(sums[row - 1, left : place + 2].argmin())
    return before


def _smooth(
    color: Float32[np.ndarray, "S S 3"], covered: Bool[np.ndarray, "S S"], px: float
) -> Float32[np.ndarray, "S S 3"]:
    weight = covered.astype(np.float32)[..., None]
    share = cv2.GaussianBlur(weight[..., 0], (0, 0), px)[..., None]
    mean: np.ndarray = cv2.GaussianBlur(color * weight, (0, 0), px) / np.maximum(share, 1e-3)
    return mean

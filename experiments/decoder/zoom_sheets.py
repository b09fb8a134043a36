"""Neighbouring views enlarged round the same surface points, a row for each decoder: agreement as the eye has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from img2mv3d.conventions import FRONT
from img2mv3d.eval.comparison import Case, Method, Planned
from img2mv3d.eval.scores import NEAR_DEG
from img2mv3d.files.contents import to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS, project, unproject
from img2mv3d.geometry.rings import ring_pairs
from img2mv3d.geometry.warp import seen_by_both
from img2mv3d.train.pictures import tile, write_picture

HALF = 20  # px round the point that are shown
TILE = 200  # px of a picture on the sheet: an enlargement of five
DETAIL = 15  # px, window in which a place must have contrast to be shown
FACING = 0.4  # cosine that both views must see it at: what is slanted looks different, however right
INSIDE = (DETAIL, 5)  # px round it that both views must see: away from outlines, where there is such a place
RING, LINE = 9, (230, 0, 160)  # px and colour of what marks the point and its epipolar line
WORDS = (90, 90, 90)


class Spot(NamedTuple):
    """One surface point in two neighbouring views.

    here, there: (column, row) in px, centres at half integers.
    """

    view: int
    other: int
    here: tuple[float, float]
    there: tuple[float, float]


def spots(case: Case) -> list[Spot]:
    """The most detailed point that the front and a neighbour share, and the most detailed one of two neighbours without
    the front, by true depth; fewer where none is shared. Neighbours are up to NEAR_DEG apart. Points well inside of
    what both see go before those at its edge, whatever their detail."""
    best: dict[bool, tuple[tuple[int, float], Spot]] = {}
    z, hit = torch.from_numpy(case.z), torch.from_numpy(case.truth.mask)
    cameras = SIX_VIEWS.cameras(z.shape[-1])
    for view, other in ring_pairs(SIX_VIEWS, NEAR_DEG):
        _, shared = seen_by_both(z[:0], z, hit, SIX_VIEWS, view, other, FACING)
        for side in INSIDE:
            inner = _inner(shared.numpy(), side)
            if inner.any():
                break
        detail = _contrast(case.truth.color[view], case.truth.mask[view]) * inner
        row, column = np.unravel_index(int(detail.argmax()), detail.shape)
        if not detail[row, column]:
            continue
        here = np.array([column + 0.5, row + 0.5])
        there, _ = project(cameras[other], unproject(cameras[view], here[None], case.z[view, row, column, None]))
        spot = Spot(view, other, (float(here[0]), float(here[1])), (float(there[0, 0]), float(there[0, 1])))
        found = (side, float(detail[row, column])), spot
        key = FRONT in (view, other)
        best[key] = max(found, best.get(key, found))
    return [best[key][1] for key in (True, False) if key in best]


def zoom_sheet(case: Case, shown: Mapping[str, Float[np.ndarray, "V H W 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """A row for every decoder: for each of `spots` the whole view with a frame, and both enlargements. The line is the
    epipolar line of this rig, the ring the point; what is inside must be the same thing twice. Grey where no two views
    share a point."""
    found, rows = spots(case), []
    for name, pictures in shown.items():
        row = [_framed(pictures[FRONT], None, name)] if not found else []
        for spot in found:
            words = [f"{SIX_VIEWS.names[i]} ({SIX_VIEWS.azimuth_deg[i]:+.0f})" for i in (spot.view, spot.other)]
            row += [
                _framed(pictures[spot.view], spot.here, name),
                _enlarged(pictures[spot.view], spot.here, words[0]),
                _enlarged(pictures[spot.other], spot.there, words[1]),
            ]
        rows.append(row)
    return tile(rows)


def write_sheets(
    cases: Iterable[Planned], methods: Mapping[str, Method], out: Path, report: Callable[[str], None] = print
) -> None:
    """OUT/ID.CONDITION.png of every case, a row for each method."""
    for planned in cases:
        case = planned.make()
        results = {name: method.make(case) for name, method in methods.items()}
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{case.id}.{case.condition}.png"
        write_picture(path, zoom_sheet(case, {name: made.colors for name, made in results.items() if made is not None}))
        report(str(path))


def _inner(shared: Bool[np.ndarray, "H W"], side: int) -> Float[np.ndarray, "H W"]:
    return cv2.erode(shared.astype(np.uint8), np.ones((side, side), np.uint8), borderValue=0).astype(np.float32)


def _contrast(picture: Float[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Standard deviation of the object's brightness in a window of DETAIL px; what lies beside it is no detail."""
    gray, weight = picture.mean(-1).astype(np.float32), (mask >= 0.5).astype(np.float32)
    share, mean, square = (cv2.blur(x * weight, (DETAIL, DETAIL)) for x in (np.ones_like(gray), gray, gray * gray))
    share = np.maximum(share, 1 / DETAIL**2)
    return np.sqrt(np.maximum(square / share - (mean / share) ** 2, 1e-8))


def _framed(picture: Float[np.ndarray, "H W 3"], at: tuple[float, float] | None, words: str) -> np.ndarray:
    whole = Image.fromarray(to_bytes(picture)).resize((TILE, TILE), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(whole)
    if at is not None:
        scale = TILE / picture.shape[0]
        draw.rectangle([scale * (c + s) for s in (-HALF, HALF) for c in at], outline=LINE)
    draw.text((3, 1), words, fill=WORDS, stroke_width=1, stroke_fill=(255, 255, 255))
    return np.asarray(whole)


def _enlarged(picture: Float[np.ndarray, "H W 3"], at: tuple[float, float], words: str) -> np.ndarray:
    """HALF px to every side of a point, which lies exactly in the middle; pixels stay pixels, what is outside is
    white."""
    step, middle = 2 * HALF / TILE, TILE // 2
    part = Image.fromarray(to_bytes(picture)).transform(
        (TILE, TILE),
        Image.Transform.AFFINE,
        (step, 0, at[0] - HALF, 0, step, at[1] - HALF),  # of the sheet's pixels, in the view's
        Image.Resampling.NEAREST,
        fillcolor=(255, 255, 255),
    )
    draw = ImageDraw.Draw(part)
    draw.line([(0, middle), (middle - RING, middle)], fill=LINE)
    draw.line([(middle + RING, middle), (TILE, middle)], fill=LINE)
    draw.ellipse([middle - RING, middle - RING, middle + RING, middle + RING], outline=LINE)
    draw.text((3, TILE - 13), words, fill=WORDS, stroke_width=1, stroke_fill=(255, 255, 255))
    return np.asarray(part)

"""Sheets to look at: what methods make of one photo beside the truth, enlarged round the same surface points, with the
matches between neighbouring views drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from img2mv3d.conventions import FRONT
from img2mv3d.eval.comparison import TRUTH, Case, Method, Planned, Result
from img2mv3d.eval.metrics import sift_pairs
from img2mv3d.eval.scores import NEAR_DEG
from img2mv3d.files.contents import to_bytes, write_png
from img2mv3d.geometry.cameras import SIX_VIEWS, project, unproject
from img2mv3d.geometry.rings import ring_pairs
from img2mv3d.geometry.warp import seen_by_both

HALF = 20  # px round the point that are shown
TILE = 200  # px of a picture on the sheet: an enlargement of five
DETAIL = 15  # px, window in which a place must have contrast to be shown
FACING = 0.4  # cosine that both views must see it at: what is slanted looks different, however right
INSIDE = (DETAIL, 5)  # px round it that both views must see: away from outlines, where there is such a place
RING, LINE = 9, (230, 0, 160)  # px and colour of what marks the point and its epipolar line
WORDS = (90, 90, 90)
ON, OFF = (30, 150, 60), (220, 60, 40)  # colours of matches on the epipolar line, and off it
GAP = 2  # px between tiles


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


def comparison_sheet(case: Case, results: Mapping[str, Result]) -> UInt8[np.ndarray, "h w 3"]:
    """The photo, and a row for every method: its six views, the first of `spots` with its two enlargements, and the
    matches of the two views of that spot (of the first neighbours, where there is none): green on the epipolar line of
    the known cameras, red off it. Results without views of the six-view rig are left out; the truth is the last row."""
    found = spots(case)
    rows = []
    for name, result in (results | {TRUTH: Result(case.truth)}).items():
        if result.views is None or result.views.rig != SIX_VIEWS:
            continue
        shown = result.colors
        row = [framed(case.photo[..., :3] / np.float32(255) * _cover(case) + 1 - _cover(case), None, "photo")]
        row += [framed(picture, None, f"{name}, {view}") for picture, view in zip(shown, SIX_VIEWS.names, strict=True)]
        pair = (FRONT, FRONT + 1)
        if found:
            spot = found[0]
            pair = spot.view, spot.other
            row[1 + spot.view] = framed(shown[spot.view], spot.here, f"{name}, {SIX_VIEWS.names[spot.view]}")
            row += [
                enlarged(shown[spot.view], spot.here, SIX_VIEWS.names[spot.view]),
                enlarged(shown[spot.other], spot.there, SIX_VIEWS.names[spot.other]),
            ]
        row.append(_matched(case, shown, pair))
        rows.append(row)
    return tiled(rows)


def write_comparisons(
    cases: Iterable[Planned], methods: Mapping[str, Method], out: Path, report: Callable[[str], None]
) -> None:
    """OUT/ID.png of every case, a row for each method that has views of it; each path is reported."""
    out.mkdir(parents=True, exist_ok=True)
    for planned in cases:
        case = planned.make()
        made = {name: method.make(case) for name, method in methods.items()}
        path = out / f"{case.id}.png"
        write_png(path, comparison_sheet(case, {name: result for name, result in made.items() if result is not None}))
        report(str(path))


def tiled(rows: Sequence[Sequence[np.ndarray]]) -> UInt8[np.ndarray, "h w 3"]:
    """Pictures of one height, of whatever width, in rows on white."""
    height = max(picture.shape[0] for row in rows for picture in row) + GAP
    width = max(sum(picture.shape[1] + GAP for picture in row) for row in rows)
    sheet = np.full((height * len(rows) - GAP, width - GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        x = 0
        for picture in row:
            sheet[i * height : i * height + picture.shape[0], x : x + picture.shape[1]] = picture
            x += picture.shape[1] + GAP
    return sheet


def _cover(case: Case) -> Float[np.ndarray, "H W 1"]:
    return case.photo[..., 3:] / np.float32(255)


def _matched(case: Case, shown: Float[np.ndarray, "V H W 3"], pair: tuple[int, int]) -> np.ndarray:
    """Two views side by side, and lines between what SIFT takes for the same."""
    hit = (case.truth.mask >= 0.5).astype(np.float32)
    found = sift_pairs(shown, case.z, hit, SIX_VIEWS, NEAR_DEG)
    matches = found.get(pair, found.get((pair[1], pair[0])))
    left, right = pair if pair in found else (pair[1], pair[0])
    both = np.concatenate([framed(shown[left], None, ""), framed(shown[right], None, "")], axis=1)
    picture = Image.fromarray(both)
    draw, scale = ImageDraw.Draw(picture), TILE / case.z.shape[-1]
    words = "0 matches"
    if matches is not None:
        for here, there, right_one in zip(matches.first, matches.second, matches.on_line, strict=True):
            ends = [(here[0] * scale, here[1] * scale), (there[0] * scale + TILE, there[1] * scale)]
            draw.line(ends, fill=ON if right_one else OFF)
        words = f"{len(matches.on_line)} matches, {int(matches.on_line.sum())} on the line"
    draw.text((3, 1), words, fill=WORDS, stroke_width=1, stroke_fill=(255, 255, 255))
    return np.asarray(picture)


def _inner(shared: Bool[np.ndarray, "H W"], side: int) -> Float[np.ndarray, "H W"]:
    return cv2.erode(shared.astype(np.uint8), np.ones((side, side), np.uint8), borderValue=0).astype(np.float32)


def _contrast(picture: Float[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Standard deviation of the object's brightness in a window of DETAIL px; what lies beside it is no detail."""
    gray, weight = picture.mean(-1).astype(np.float32), (mask >= 0.5).astype(np.float32)
    share, mean, square = (cv2.blur(x * weight, (DETAIL, DETAIL)) for x in (np.ones_like(gray), gray, gray * gray))
    share = np.maximum(share, 1 / DETAIL**2)
    return np.sqrt(np.maximum(square / share - (mean / share) ** 2, 1e-8))


def framed(
    picture: Float[np.ndarray, "H W 3"], at: tuple[float, float] | None, words: str
) -> UInt8[np.ndarray, "h w 3"]:
    """The whole picture, TILE px, with its name and a frame round a place."""
    whole = Image.fromarray(to_bytes(picture)).resize((TILE, TILE), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(whole)
    if at is not None:
        scale = TILE / picture.shape[0]
        draw.rectangle([scale * (c + s) for s in (-HALF, HALF) for c in at], outline=LINE)
    draw.text((3, 1), words, fill=WORDS, stroke_width=1, stroke_fill=(255, 255, 255))
    return np.asarray(whole)


def enlarged(picture: Float[np.ndarray, "H W 3"], at: tuple[float, float], words: str) -> np.ndarray:
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

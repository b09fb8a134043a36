"""Neighbouring views enlarged round the same surface points, a row for each decoder: agreement as the eye has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from img2mv3d.conventions import FRONT
from img2mv3d.eval.comparison import Case, Method, Planned
from img2mv3d.eval.sheets import enlarged, framed, spots
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.train.pictures import tile, write_picture


def zoom_sheet(case: Case, shown: Mapping[str, Float[np.ndarray, "V H W 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """A row for every decoder: for each of `spots` the whole view with a frame, and both enlargements. The line is the
    epipolar line of this rig, the ring the point; what is inside must be the same thing twice. Grey where no two views
    share a point."""
    found, rows = spots(case), []
    for name, pictures in shown.items():
        row = [framed(pictures[FRONT], None, name)] if not found else []
        for spot in found:
            words = [f"{SIX_VIEWS.names[i]} ({SIX_VIEWS.azimuth_deg[i]:+.0f})" for i in (spot.view, spot.other)]
            row += [
                framed(pictures[spot.view], spot.here, name),
                enlarged(pictures[spot.view], spot.here, words[0]),
                enlarged(pictures[spot.other], spot.there, words[1]),
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

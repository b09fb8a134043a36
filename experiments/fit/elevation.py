"""How well the base of a fitted mesh tells from how far above a photo was taken, on renders of known elevation.

`python -m experiments.fit.elevation CORPUS --objects 40`
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from img2mv3d.data.corpus import Entry, Solid, load_solid
from img2mv3d.data.scene import Light, render
from img2mv3d.eval.objects import held_out
from img2mv3d.files.contents import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.mesh.base import FLAT, Base, base_of
from img2mv3d.mesh.extract import extract
from img2mv3d.plans import DRAFT, ReconstructOptions
from img2mv3d.stages.reconstruct import reconstruct
from img2mv3d.values import Views

ELEVATIONS = (0.0, 15.0, 30.0)
FRAMING_PX = 144


class Row(NamedTuple):
    """One object at one elevation (degrees).

    found: None where the mesh has no base at all.
    """

    name: str
    elevation_deg: float
    found: Base | None

    @property
    def error_deg(self) -> float:
        """Degrees off the truth; NaN without a base that is flat enough."""
        if self.found is None or self.found.share < FLAT:
            return np.nan
        return self.found.elevation_deg - self.elevation_deg


def seen_from(elevation_deg: float, yaw_deg: float) -> Float[np.ndarray, "3 3"]:
    """The rotation by which an upright object, turned by yaw, becomes what a camera at that elevation sees in front."""
    (sx, sy), (cx, cy) = (f(np.radians([elevation_deg, yaw_deg])) for f in (np.sin, np.cos))
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]]) @ about_y


def measured(solid: Solid, name: str, elevation_deg: float, yaw_deg: float, options: ReconstructOptions) -> Row:
    """Render the six exact views at 256 px, fit the surface, look for its base."""
    renders = render(
        solid, seen_from(elevation_deg, yaw_deg), FRAMING_PX, Light(occlusion=0.0), np.random.default_rng(0)
    )
    mask = to_bytes(renders.mask).astype(np.float32) / 255
    normal = decode_normals(encode_normals(renders.normal, renders.mask), mask)
    surface = reconstruct(Views(renders.color, normal, mask, SIX_VIEWS), options=options)
    return Row(name, elevation_deg, base_of(extract(surface.sdf, faces=DRAFT.export.faces).vertices))


def summary(rows: list[Row]) -> str:
    """By elevation: on how many a base was found and a turn offered, the median and the 90th percentile of the error
    in degrees where a base was found, and how many were off by more than 5 and 15 degrees.
    """
    lines = ["| elevation | objects | base found | offered | median error | 90 % below | off by > 5 | off by > 15 |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for elevation in sorted({row.elevation_deg for row in rows}):
        here = [row for row in rows if row.elevation_deg == elevation]
        errors = np.array([abs(row.error_deg) for row in here if np.isfinite(row.error_deg)])
        offered = sum(row.found is not None and row.found.worth_a_word for row in here)
        figures = [f"{np.median(errors):.1f}", f"{np.percentile(errors, 90):.1f}"] if len(errors) else ["-", "-"]
        counts = [str(int((errors > limit).sum())) for limit in (5, 15)]
        cells = [f"{elevation:g}", str(len(here)), str(len(errors)), str(offered), *figures, *counts]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chosen(entries: list[Entry], count: int) -> list[Entry]:
    """So many of them, two thirds everyday things where there are enough others."""
    rest = [e for e in entries if not e.everyday]
    first = [e for e in entries if e.everyday][: count - min(len(rest), count // 3)]
    return first + rest[: count - len(first)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--objects", type=int, default=40)
    asked = parser.parse_args()
    found: list[Row] = []
    for number, entry in enumerate(chosen(held_out(asked.corpus), asked.objects)):
        solid = load_solid(asked.corpus / "objects" / f"{entry.id}.npz")
        for elevation in ELEVATIONS:
            yaw = float(np.random.default_rng(number).uniform(-50, 50))
            found.append(measured(solid, entry.id, elevation, yaw, DRAFT.reconstruct))
            row = found[-1]
            share = "-" if row.found is None else f"{row.found.share:.2f}"
            print(f"{row.name} {elevation:g}: {row.error_deg:+.1f} degrees off, share {share}", flush=True)
    print(summary(found))

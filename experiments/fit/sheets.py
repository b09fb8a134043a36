"""Meshes of the exact-view benchmark from four sides, next to the truth.

`python -m experiments.fit.sheets MEASURED -o FOLDER`; MEASURED is a folder that `exact_views --keep METHOD` wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from experiments.fit.records import load
from img2mv3d.geometry.cameras import Camera
from img2mv3d.mesh.arrays import MeshArrays, face_normals
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.report.sheet import FOUR_SIDES_DEG, TILT_DEG, grid, picture_over_white

WORST, MANY = 5, 30  # meshes on the two sheets
CLOSE = 0.8  # world units, half of what the pictures show: the benchmark's objects stay within 0.74 of the origin
ACROSS = 3  # meshes side by side on the larger sheet
CAPTION = 36  # letters of an id that fit over two tiles


def body_from_four_sides(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], size: int
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """A bare shape (world units) as clay: every face flat and turned to the viewer, so that open meshes of unknown
    winding look like closed ones.
    """
    away = face_normals(vertices, faces)
    pictures = []
    for azimuth in FOUR_SIDES_DEG:
        camera = Camera.orbit(azimuth, TILT_DEG, half_width=CLOSE, size=size)
        turned = np.where((away @ camera.forward > 0)[:, None], faces[:, ::-1], faces)
        corners = vertices[turned].reshape(-1, 3).astype(np.float64)
        flat = MeshArrays(corners, np.arange(len(corners)).reshape(-1, 3), np.zeros((len(corners), 3), np.uint8))
        pictures.append(picture_over_white(render_mesh(flat, camera, size, style="clay")))
    return pictures


def worst_sheet(measured: Path, method: str = "final", count: int = WORST, tile: int = 150) -> Image.Image:
    """The `count` objects with the lowest F-score at 0.01, worst first: a row of the truth and the fit from four sides
    each.
    """
    rows = []
    for name, f_01 in sorted(_scores(measured, method).items(), key=lambda item: item[1])[:count]:
        kept = np.load(measured / "fields" / f"{name}.{method}.npz")
        truth = body_from_four_sides(kept["true_vertices"], kept["true_faces"], tile)
        found = body_from_four_sides(kept["vertices"], kept["faces"], tile)
        words = [name[:CAPTION], "", "truth", "", f"{method}, F 0.01 {f_01:.2f}", "", "", ""]
        rows.append([(w, Image.fromarray(p)) for w, p in zip(words, [*truth, *found], strict=True)])
    return grid(rows, tile)


def many_sheet(measured: Path, method: str = "final", count: int = MANY, tile: int = 96) -> Image.Image:
    """The first `count` objects of a benchmark as they were fitted, four sides each, ACROSS to a row."""
    cells = []
    for name, f_01 in list(_scores(measured, method).items())[:count]:
        kept = np.load(measured / "fields" / f"{name}.{method}.npz")
        words = [name[:CAPTION], "", "", f"F {f_01:.2f}"]
        sides = body_from_four_sides(kept["vertices"], kept["faces"], tile)
        cells.append([(w, Image.fromarray(p)) for w, p in zip(words, sides, strict=True)])
    return grid([list(chain(*cells[i : i + ACROSS])) for i in range(0, len(cells), ACROSS)], tile)


def main(arguments: Sequence[str] | None = None) -> None:
    """Both sheets in FOLDER."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measured", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("sheets"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, make in (("reconstruction_worst.jpg", worst_sheet), ("reconstruction_thirty.jpg", many_sheet)):
        make(options.measured).save(options.out / name, quality=80, optimize=True)
        print(options.out / name)


def _scores(measured: Path, method: str) -> dict[str, float]:
    """F 0.01 by object, in the order of measuring."""
    return {r.id: r.f_01 for r in load(measured / "reconstruction.json") if r.method == method}


if __name__ == "__main__":
    main()

"""Folders of runs as pages to look at: `python -m experiments.shape.sheets RUNS... -o pages/`.

One row an object: cut-out, the mesh from five sides, its shape from two. `--blind SEED` leaves names out, shuffles the
rows of all folders, shows six of them twice and writes what is what to key.tsv, for readers who shall not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from img2mv3d.geometry.cameras import Camera
from img2mv3d.geometry.compositing import over_white
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.report.gather import mesh_of
from img2mv3d.values import Subject

Side = tuple[float, float]
SIDES = ((0, 8), (50, 12), (90, 8), (180, 8), (-70, 15), (20, 55))  # azimuth and elevation, degrees
CLAY = ((35, 12), (90, 8))
TILE = 170
ROWS = 7  # a page
TWICE = 6


def row(run: Path, sides: Sequence[Side] = SIDES, clay: Sequence[Side] = CLAY, tile: int = TILE) -> np.ndarray:
    """One strip of tiles (px a side): cut-out, the mesh from `sides`, its shape from `clay`."""
    mesh, _ = mesh_of(run)
    vertices = mesh.vertices - (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    vertices = vertices / np.linalg.norm(vertices, axis=1).max()
    body = MeshArrays(vertices, mesh.faces, mesh.colors, mesh.uv, mesh.texture)
    looks = [(side, "shaded") for side in sides] + [(side, "clay") for side in clay]
    pictures = [render_mesh(body, Camera.orbit(a, e, half_width=1.0), tile, style=style) for (a, e), style in looks]
    image = Image.fromarray(Subject.load(run).image)
    cut = image.crop(image.getchannel("A").getbbox())
    cut.thumbnail((tile - 20, tile - 20))
    first = Image.new("RGBA", (tile, tile))
    first.paste(cut, ((tile - cut.width) // 2, (tile - cut.height) // 2))
    strip = np.concatenate([np.asarray(first), *pictures], axis=1) / 255.0
    flat: np.ndarray = (over_white(strip[..., :3], strip[..., 3:]) * 255 + 0.5).astype(np.uint8)
    return flat


def titled(strip: np.ndarray, title: str) -> np.ndarray:
    """The strip below its title."""
    canvas = Image.new("RGB", (strip.shape[1], strip.shape[0] + 14), "white")
    canvas.paste(Image.fromarray(strip), (0, 14))
    ImageDraw.Draw(canvas).text((3, 1), title, fill="black")
    return np.asarray(canvas)


def runs_of(folders: list[Path]) -> list[Path]:
    """All folders below that hold a mesh."""
    return sorted(path.parent for folder in folders for path in folder.rglob("mesh.json"))


def main(asked: argparse.Namespace) -> None:
    """Write the pages."""
    asked.out.mkdir(parents=True, exist_ok=True)
    runs = runs_of(asked.runs)
    names = [run.name for run in runs]
    if asked.blind is not None:
        rng = np.random.default_rng(asked.blind)
        runs += [runs[i] for i in rng.permutation(len(runs))[:TWICE]]
        runs = [runs[i] for i in rng.permutation(len(runs))]
        names = [f"No. {i + 1}" for i in range(len(runs))]
        lines = [f"{number}\t{run}" for number, run in enumerate(runs, 1)]
        (asked.out / "key.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for first in range(0, len(runs), ROWS):
        strips = [titled(row(runs[i]), names[i]) for i in range(first, min(first + ROWS, len(runs)))]
        Image.fromarray(np.concatenate(strips)).save(asked.out / f"page_{first // ROWS + 1:02d}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--blind", type=int)
    main(parser.parse_args())

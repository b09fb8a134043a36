"""Folders -> pictures to look at: a run (photo, cut-out, views before and after, normals, depth, mesh from four sides),
and the meshes of a benchmark, four sides each, next to the truth.

In: a folder that `run` or `eval.reconstruction` wrote. Out: PIL images. Why here: most mistakes of geometry are seen,
not tested; the README's pictures and the evaluation sheets are this module's output.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from img2mv3d.errors import PhotoError, ViewsError
from img2mv3d.files.formats import read_png, to_bytes
from img2mv3d.geometry.cameras import Camera
from img2mv3d.values import Subject, Views, load_depth, load_views

FOUR_SIDES_DEG = (0.0, 90.0, 180.0, -90.0)
TILT_DEG = 15.0  # a little from above, as people hold things
WORST, MANY = 5, 30  # meshes on the two sheets of a benchmark
CLOSE = 0.8  # world units, half of what the pictures show: the benchmark's objects stay within 0.74 of the origin
ACROSS = 3  # meshes side by side on the larger sheet
CAPTION = 36  # letters of an id that fit over two tiles


def sheet(folder: Path, photo: Path | None = None, tile: int = 160) -> Image.Image:
    """The run in `folder` as rows of tiles (`tile` px a side): photo, cut-out and mesh from four sides; plain views;
    cross-view
    views; normals; depth. photo: the original file, left out when None. Raises InputError when a file of the run is
    missing.
    """
    subject = Subject.load(folder)
    plain, views = load_views(folder / "plain"), load_views(folder / "views")
    z, hit, _ = load_depth(folder / "depth.npz", plain.mask.shape)
    first = [] if photo is None else [("photo", _fit(_over_white(read_png(photo, "RGBA", PhotoError)), tile))]
    first += [("cut-out", _fit(_checkered(subject.image), tile))]
    first += [
        (f"mesh {a:+.0f}", _fit(side, tile))
        for a, side in zip(FOUR_SIDES_DEG, mesh_from_four_sides(folder), strict=True)
    ]
    rows = [
        first,
        [(f"plain {n}", _fit(to_bytes(c), tile)) for n, c in zip(plain.rig.names, plain.color, strict=True)],
        [(f"cross-view {n}", _fit(to_bytes(c), tile)) for n, c in zip(views.rig.names, views.color, strict=True)],
        [(f"normal {n}", _fit(c, tile)) for n, c in zip(plain.rig.names, _normal_pictures(plain), strict=True)],
        [(f"depth {n}", _fit(c, tile)) for n, c in zip(plain.rig.names, depth_pictures(z, hit), strict=True)],
    ]
    return grid(rows, tile)


def grid(rows: list[list[tuple[str, Image.Image]]], tile: int) -> Image.Image:
    """Rows of (caption, picture of `tile` px) as one picture on white."""
    caption = 14
    canvas = Image.new("RGB", (tile * max(map(len, rows)), (tile + caption) * len(rows)), "white")
    draw = ImageDraw.Draw(canvas)
    for y, row in enumerate(rows):
        for x, (text, picture) in enumerate(row):
            canvas.paste(picture, (x * tile, y * (tile + caption) + caption))
            draw.text((x * tile + 3, y * (tile + caption) + 1), text, fill="black")
    return canvas


def depth_pictures(z: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """z and hit [V, H, W] (world units, opacity) -> uint8 [V, H, W, 3], near is light, nothing is white."""
    shade = np.clip(0.55 - 0.5 * z, 0.1, 1.0)[..., None].repeat(3, -1)
    return to_bytes(shade * hit[..., None] + (1 - hit[..., None]))


def mesh_from_four_sides(folder: Path, size: int = 256) -> list[np.ndarray]:
    """mesh.glb of a run, rendered from front, right, back and left: four uint8 [size, size, 3]. Raises InputError."""
    from img2mv3d.mesh.files import read_mesh
    from img2mv3d.mesh.preview import render_mesh

    mesh = read_mesh(folder / "mesh.glb")
    cameras = [Camera.orbit(a, TILT_DEG, size=size) for a in FOUR_SIDES_DEG]
    return [_over_white(render_mesh(mesh, camera, size)) for camera in cameras]


def body_from_four_sides(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], size: int
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """A bare shape (world units) as clay: every face flat and turned to the viewer, so that open meshes of unknown
    winding look like closed ones.
    """
    from img2mv3d.mesh.arrays import MeshArrays, face_normals
    from img2mv3d.mesh.preview import render_mesh

    away = face_normals(vertices, faces)
    pictures = []
    for azimuth in FOUR_SIDES_DEG:
        camera = Camera.orbit(azimuth, TILT_DEG, half_width=CLOSE, size=size)
        turned = np.where((away @ camera.forward > 0)[:, None], faces[:, ::-1], faces)
        corners = vertices[turned].reshape(-1, 3).astype(np.float64)
        flat = MeshArrays(corners, np.arange(len(corners)).reshape(-1, 3), np.zeros((len(corners), 3), np.uint8))
        pictures.append(_over_white(render_mesh(flat, camera, size, style="clay")))
    return pictures


def worst_sheet(measured: Path, method: str = "final", count: int = WORST, tile: int = 150) -> Image.Image:
    """The `count` objects with the lowest F-score at 0.01, worst first: a row of the truth and the fit from four sides
    each. measured: a folder that `eval.reconstruction --keep METHOD` wrote.
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


def runs_sheet(folders: Sequence[Path], tile: int = 80) -> Image.Image:
    """Many runs, a row each: cut-out, colours and normals of all views, mesh from four sides. Raises InputError when a
    file of a run is missing."""
    rows = []
    for folder in folders:
        views, subject = load_views(folder / "views"), Subject.load(folder)
        pictures = [_checkered(subject.image), *to_bytes(views.color), *_normal_pictures(views)]
        pictures += mesh_from_four_sides(folder)
        words = [folder.name[: CAPTION * tile // 300], *[""] * (len(pictures) - 1)]
        rows.append([(w, _fit(p, tile)) for w, p in zip(words, pictures, strict=True)])
    return grid(rows, tile)


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m img2mv3d.report.sheet MEASURED -o PICTURES: a benchmark's worst five meshes, and thirty.

    python -m img2mv3d.report.sheet RUN RUN ... -o PICTURES: runs, a row each, as runs.jpg."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="what `eval.reconstruction --keep final` or `run` wrote")
    parser.add_argument("-o", "--out", type=Path, default=Path("pictures"))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if all((folder / "run.json").is_file() for folder in given.folders):
        runs_sheet(given.folders).save(given.out / "runs.jpg", quality=80, optimize=True)
        print(given.out / "runs.jpg")
        return
    if len(given.folders) > 1:
        parser.error("one folder of a benchmark, or runs only")
    [measured] = given.folders
    for name, make in (("reconstruction_worst.jpg", worst_sheet), ("reconstruction_thirty.jpg", many_sheet)):
        make(measured).save(given.out / name, quality=80, optimize=True)
        print(given.out / name)


def _scores(measured: Path, method: str) -> dict[str, float]:
    """F 0.01 by object, in the order of measuring."""
    from experiments.fit.records import load

    return {r.id: r.f_01 for r in load(measured / "reconstruction.json") if r.method == method}


def _normal_pictures(views: Views) -> np.ndarray:
    if views.normal is None:
        raise ViewsError("these views have no normals; a sheet needs them")
    cover = views.mask[..., None]
    return to_bytes((views.normal / 2 + 0.5) * cover + 1 - cover)


def _over_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return to_bytes(rgba[..., :3] / 255 * alpha + 1 - alpha)


def _checkered(rgba: np.ndarray) -> np.ndarray:
    y, x = np.indices(rgba.shape[:2]) // 16
    board = np.where((x + y) % 2, 0.8, 1.0)[..., None]
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return to_bytes(rgba[..., :3] / 255 * alpha + board * (1 - alpha))


def _fit(pixels: np.ndarray, tile: int) -> Image.Image:
    picture = Image.fromarray(pixels)
    picture.thumbnail((tile, tile))
    canvas = Image.new("RGB", (tile, tile), "white")
    canvas.paste(picture, ((tile - picture.width) // 2, (tile - picture.height) // 2))
    return canvas


if __name__ == "__main__":
    main()

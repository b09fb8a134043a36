"""Folders of runs as pictures to look at: photo, cut-out, views before and after, normals, depth, mesh."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from img2mv3d.errors import PhotoError, ViewsError
from img2mv3d.files.contents import read_png, to_bytes
from img2mv3d.geometry.cameras import Camera
from img2mv3d.geometry.compositing import over_white
from img2mv3d.values import Subject, Views, load_depth, load_views

FOUR_SIDES_DEG = (0.0, 90.0, 180.0, -90.0)
TILT_DEG = 15.0  # a little from above, as people hold things
CAPTION = 36  # letters of a name that fit over 300 px


def sheet(folder: Path, photo: Path | None = None, tile: int = 160) -> Image.Image:
    """The run in `folder` as rows of tiles (`tile` px a side): photo, cut-out and mesh from four sides; plain views;
    cross-view views; normals; depth.

    Raises InputError when a file of the run is missing.

    photo: the original file, left out when None.
    """
    subject = Subject.load(folder)
    plain, views = load_views(folder / "plain"), load_views(folder / "views")
    z, hit, _ = load_depth(folder / "depth.npz", plain.mask.shape)
    first = [] if photo is None else [("photo", _fit(picture_over_white(read_png(photo, "RGBA", PhotoError)), tile))]
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
    return to_bytes(over_white(shade, hit[..., None]))


def mesh_from_four_sides(folder: Path, size: int = 256) -> list[np.ndarray]:
    """mesh.glb of a run, rendered from front, right, back and left: four uint8 [size, size, 3]. Raises InputError."""
    from img2mv3d.mesh.files import read_mesh
    from img2mv3d.mesh.preview import render_mesh

    mesh = read_mesh(folder / "mesh.glb")
    cameras = [Camera.orbit(a, TILT_DEG, size=size) for a in FOUR_SIDES_DEG]
    return [picture_over_white(render_mesh(mesh, camera, size)) for camera in cameras]


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
    """`python -m img2mv3d.report.sheet RUN RUN ... -o FOLDER`: runs.jpg, a row a run."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="runs")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    runs_sheet(options.folders).save(options.out / "runs.jpg", quality=85, optimize=True)
    print(options.out / "runs.jpg")


def _normal_pictures(views: Views) -> np.ndarray:
    if views.normal is None:
        raise ViewsError("these views have no normals; a sheet needs them")
    cover = views.mask[..., None]
    return to_bytes(over_white(views.normal / 2 + 0.5, cover))


def picture_over_white(rgba: np.ndarray) -> np.ndarray:
    """uint8 RGBA with straight alpha -> uint8 RGB over white."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return to_bytes(over_white(rgba[..., :3] / 255, alpha))


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

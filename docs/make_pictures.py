"""docs/images/gallery.jpg and coffee.jpg out of runs with today's weights: `python docs/make_pictures.py RUNS`.

RUNS holds a run of each photo of ROWS in a folder of its name, and one of examples/coffee.jpg in coffee/.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from img2mv3d.geometry.cameras import Camera
from img2mv3d.geometry.compositing import over_white
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.report.gather import mesh_of
from img2mv3d.report.sheet import sheet
from img2mv3d.values import Subject

HERE = Path(__file__).parent
ROWS = ("duck_real", "bear_real", "sloth_real", "robot_real", "boot_real_exif6", "dog_bag_real", "rc_car_real")
SIDES = ((0, 10), (45, 10), (90, 10), (180, 10), (-90, 10), (0, 50))  # azimuth and elevation, degrees
TILE = 150


def row(run: Path) -> np.ndarray:
    """Cut-out, the mesh from SIDES, its shape."""
    mesh, _ = mesh_of(run)
    vertices = mesh.vertices - (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    vertices = vertices / np.linalg.norm(vertices, axis=1).max()
    body = MeshArrays(vertices, mesh.faces, mesh.colors, mesh.uv, mesh.texture)
    pictures = [render_mesh(body, Camera.orbit(a, e, half_width=1.0), TILE) for a, e in SIDES]
    pictures.append(render_mesh(body, Camera.orbit(30, 10, half_width=1.0), TILE, style="clay"))
    image = Image.fromarray(Subject.load(run).image)
    cut = image.crop(image.getchannel("A").getbbox())
    cut.thumbnail((TILE - 20, TILE - 20))
    first = Image.new("RGBA", (TILE, TILE))
    first.paste(cut, ((TILE - cut.width) // 2, (TILE - cut.height) // 2))
    tiles = [np.asarray(first), *pictures]
    strip = np.concatenate(tiles, axis=1) / 255.0
    flat: np.ndarray = (over_white(strip[..., :3], strip[..., 3:]) * 255 + 0.5).astype(np.uint8)
    return flat


def main(runs: Path) -> None:
    """Write both pictures."""
    rows = [row(runs / name) for name in (*ROWS, "coffee")]
    Image.fromarray(np.concatenate(rows)).save(HERE / "images" / "gallery.jpg", quality=88)
    demo = sheet(runs / "coffee", HERE.parent / "examples" / "coffee.jpg")
    demo.save(HERE / "images" / "coffee.jpg", quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

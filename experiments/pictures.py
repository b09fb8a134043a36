"""gallery.jpg, facing.jpg, demo.jpg of docs/images out of today's runs: `python -m experiments.pictures RUNS`.

RUNS holds a run of each photo of ROWS in a folder of its name, those of examples/ among them, and one of
examples/coffee.jpg in coffee/, one of the bear with `--facing 25` in bear_faced/.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.shape.sheets import row
from img2mv3d.report.sheet import sheet

ROOT = Path(__file__).parents[1]
ROWS = ("duck", "bear_real", "sloth_real", "robot_real", "boot_real_exif6", "dog_bag_real", "rc_car_real")
SIDES = ((0, 10), (45, 10), (90, 10), (180, 10), (-90, 10), (0, 50))  # azimuth and elevation, degrees
CLAY = ((30, 10),)
TILE = 150


def main(runs: Path) -> None:
    """Write the pictures."""
    images = ROOT / "docs" / "images"
    rows = [row(runs / name, SIDES, CLAY, TILE) for name in (*ROWS, "coffee")]
    Image.fromarray(np.concatenate(rows)).save(images / "gallery.jpg", quality=88)
    rows = [row(runs / name, SIDES, CLAY, TILE) for name in ("bear_real", "bear_faced")]
    Image.fromarray(np.concatenate(rows)).save(images / "facing.jpg", quality=88)
    demo = sheet(runs / "duck", ROOT / "examples" / "duck.jpg")
    demo.save(images / "demo.jpg", quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

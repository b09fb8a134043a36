"""gallery.jpg, facing.jpg, larger.jpg, demo.jpg of docs/images out of today's runs: `python -m experiments.pictures
RUNS`.

RUNS holds a run of each photo of ROWS in a folder of its name, those of examples/ among them, and one of
examples/coffee.jpg in coffee/, one of the bear with `--facing 25` in bear_faced/, one of the can in can_real/ and its
views of `decode --resolution 512` in can_512/.
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
SPOTS = (("front", 0.36, 0.4), ("front_right", 0.4, 0.4))  # view, left and upper edge of a spot, shares of a view
SPOT, SPOT_PX = 0.28, 300


def spots(run: Path) -> np.ndarray:
    """The spots of a run's views side by side, enlarged, over white."""
    found = []
    for view, left, top in SPOTS:
        picture = Image.open(run / "views" / f"color_{view}.png").convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        corners = (round(place * picture.width) for place in (left, top, left + SPOT, top + SPOT))
        spot = white.crop(tuple(corners)).resize((SPOT_PX, SPOT_PX), Image.Resampling.LANCZOS)
        found.append(np.asarray(spot.convert("RGB")))
    return np.concatenate(found, axis=1)


def main(runs: Path) -> None:
    """Write the pictures."""
    images = ROOT / "docs" / "images"
    rows = [row(runs / name, SIDES, CLAY, TILE) for name in (*ROWS, "coffee")]
    Image.fromarray(np.concatenate(rows)).save(images / "gallery.jpg", quality=88)
    rows = [row(runs / name, SIDES, CLAY, TILE) for name in ("bear_real", "bear_faced")]
    Image.fromarray(np.concatenate(rows)).save(images / "facing.jpg", quality=88)
    larger = np.concatenate([spots(runs / name) for name in ("can_real", "can_512")])
    Image.fromarray(larger).save(images / "larger.jpg", quality=90)
    demo = sheet(runs / "duck", ROOT / "examples" / "duck.jpg")
    demo.save(images / "demo.jpg", quality=88)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

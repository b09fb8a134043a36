"""Photos of held-out objects to look at: `python -m experiments.shape.photos CORPORA... -o photos --count 30`.

Objects of `test`, real scans first, each from 20 degrees above at a yaw by its name, shaded or evenly lit, cut out.
`--split unseen` takes held-out objects of neither `dev` nor `test`, by chance. `--sides 45 90` photographs each from
there, too: OUT/NAME/45.png, as `run --views OUT/NAME` takes it.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np

from img2mv3d.data.corpus import load_solid
from img2mv3d.data.scene import EVEN_LIGHT, random_light, render
from img2mv3d.data.shape_pictures import turned_by
from img2mv3d.data.splits import ids
from img2mv3d.eval.objects import front_photo
from img2mv3d.eval.protocol import FRAMING_PX, REAL
from img2mv3d.files.contents import write_png

PITCH_DEG = 20.0


def pose_of(name: str, azimuth_deg: float = 0.0) -> np.ndarray:
    """How an object of this name is turned in its photo, or in one from a camera that went round it."""
    return turned_by(float(zlib.crc32(name.encode()) % 360) - azimuth_deg, PITCH_DEG)


def chosen(split: str) -> list[str]:
    """Real scans first; of "unseen" neither those of `dev` nor of `test`, by chance."""
    if split != "unseen":
        return sorted(ids(split), key=lambda name: (not name.startswith(REAL), name))
    names = ids(split) - ids("test") - ids("dev")
    return sorted(names, key=lambda name: (not name.startswith(REAL), zlib.crc32(name.encode())))


def main(asked: argparse.Namespace) -> None:
    """Write OUT/NAME.png."""
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in chosen(asked.split)[: asked.count]:
        path = next((p for c in asked.corpora if (p := c / "objects" / f"{name}.npz").exists()), None)
        if path is None:
            continue
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        light, solid = EVEN_LIGHT if asked.light == "even" else random_light(rng), load_solid(path)
        for azimuth in (0.0, *asked.sides):
            seen = render(solid, pose_of(name, azimuth), FRAMING_PX, light, rng)
            file = asked.out / (f"{name}/{azimuth:g}.png" if azimuth else f"{name}.png")
            file.parent.mkdir(exist_ok=True)
            write_png(file, front_photo(seen.color, seen.mask))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--light", choices=("even", "shaded"), default="shaded")
    parser.add_argument("--split", default="test")
    parser.add_argument("--sides", type=float, nargs="*", default=())
    main(parser.parse_args())

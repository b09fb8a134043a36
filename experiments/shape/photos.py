"""Photos of held-out objects to look at: `python -m experiments.shape.photos CORPORA... -o photos --count 30`.

Objects of `test`, real scans first, each from 20 degrees above at a yaw by its name, shaded, cut out.
"""

from __future__ import annotations

import argparse
import zlib
from pathlib import Path

import numpy as np

from img2mv3d.data.corpus import load_solid
from img2mv3d.data.scene import random_light, render
from img2mv3d.data.shape_pictures import turned_by
from img2mv3d.data.splits import ids
from img2mv3d.eval.objects import front_photo
from img2mv3d.eval.protocol import FRAMING_PX, REAL
from img2mv3d.files.contents import write_png

PITCH_DEG = 20.0


def main(asked: argparse.Namespace) -> None:
    """Write OUT/NAME.png."""
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in sorted(ids("test"), key=lambda name: (not name.startswith(REAL), name))[: asked.count]:
        path = next((p for c in asked.corpora if (p := c / "objects" / f"{name}.npz").exists()), None)
        if path is None:
            continue
        number = zlib.crc32(name.encode())
        rng = np.random.default_rng(number)
        seen = render(load_solid(path), turned_by(float(number % 360), PITCH_DEG), FRAMING_PX, random_light(rng), rng)
        write_png(asked.out / f"{name}.png", front_photo(seen.color, seen.mask))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=30)
    main(parser.parse_args())

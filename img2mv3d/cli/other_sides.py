"""Photos of other sides as typed: --left, --right, and a folder whose files are named by their azimuths.

In: values of flags. Out: (azimuth in degrees, path) of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from img2mv3d.cli.wanted import ENDINGS, OTHERS
from img2mv3d.conventions import VIEW_AZIMUTH_DEG, VIEW_NAMES
from img2mv3d.errors import InputError, UsageError

FLAGS = {"left": -90.0, "right": 90.0}  # where the camera stood, seen from the first photo's
NAMED = dict(zip(VIEW_NAMES, VIEW_AZIMUTH_DEG, strict=True))
HOW = "name it by its azimuth, such as 90.jpg (what is right in the photo is looked at) or right.jpg"


def sides_of(typed: Mapping[str, Any]) -> tuple[tuple[float, Path], ...]:
    """All of them, by azimuth in (-180, 180]. Raises InputError where the folder is none, UsageError where a file name
    says no azimuth, or two photos have the same one."""
    found = [(azimuth, Path(typed[name])) for name, azimuth in FLAGS.items() if name in typed]
    if "views" in typed:
        found += _in_folder(Path(typed["views"]))
    for azimuth, path in found:
        if azimuth == 0:
            raise UsageError(f"{path}: azimuth 0 is the photo itself; {HOW}")
        if (same := [p for a, p in found if a == azimuth and p != path]) != []:
            raise UsageError(f"{path} and {same[0]} are both at azimuth {azimuth:g}: give one of them")
    return tuple(sorted(found))


def _in_folder(folder: Path) -> list[tuple[float, Path]]:
    if not folder.is_dir():
        raise InputError(f"--views {folder}: no such folder")
    photos = sorted(p for p in folder.iterdir() if p.suffix.lower() in (*ENDINGS, *OTHERS))
    if not photos:
        raise InputError(f"--views {folder}: no photos in there")
    return [(_azimuth(path), path) for path in photos]


def _azimuth(path: Path) -> float:
    try:
        azimuth = NAMED[path.stem] if path.stem in NAMED else float(path.stem)
    except ValueError:
        azimuth = math.nan
    if not math.isfinite(azimuth):
        raise UsageError(f"{path}: {HOW}")
    return 180.0 - (180.0 - azimuth) % 360.0

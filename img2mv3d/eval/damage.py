"""What a fit makes of views that are wrong in known ways: exact views, damaged one way at a time, and the remedies.

In: exact views of held-out meshes. Out: damaged views; a table of damages by remedies. Why here: generated views err in
all of these ways at once, and only with the truth known can be told which remedy helps against what.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import affine_transform, binary_erosion, gaussian_filter
from scipy.spatial.transform import Rotation

from img2mv3d.data.corpus import load_solid
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.reconstruction import exact_views, held_out, score
from img2mv3d.eval.surface import visible_points
from img2mv3d.neus.fit import FINAL, Fit, FitOptions, fit
from img2mv3d.values import Views

SHIFT_PX = 3.0  # of 256
SCALE = 0.03
BLUR_PX = 3.0
ERODED_PX = 2
HOLES = 4  # a view
HOLE_PX = 10
TURN_DEG = (10.0, 20.0)  # of normals; smooth over a view
TURN_PX = 24.0  # how far such errors reach


def shifted(views: Views, rng: np.random.Generator) -> Views:
    """Every view but the front moved by up to SHIFT_PX and scaled by up to SCALE."""
    return _moved(views, rng.uniform(-SHIFT_PX, SHIFT_PX, (6, 2)), 1 + rng.uniform(-SCALE, SCALE, 6))


def blurred(views: Views, rng: np.random.Generator) -> Views:
    """Normals and masks out of focus, as a decoder paints them."""
    normal = np.stack([gaussian_filter(n, (BLUR_PX, BLUR_PX, 0)) for n in views.normal])
    mask = np.stack([gaussian_filter(m, BLUR_PX / 2) for m in views.mask])
    return _with(views, normal, mask)


def eroded(views: Views, rng: np.random.Generator) -> Views:
    """Masks too small by ERODED_PX in every second view."""
    mask = views.mask.copy()
    for i in range(0, len(mask), 2):
        mask[i] *= binary_erosion(mask[i] > 0.5, iterations=ERODED_PX)
    return _with(views, views.normal, mask)


def holed(views: Views, rng: np.random.Generator) -> Views:
    """HOLES holes of HOLE_PX in every mask but the front's."""
    mask = views.mask.copy()
    for view in mask[1:]:
        rows, columns = np.nonzero(view > 0.5)
        for k in rng.integers(len(rows), size=HOLES):
            view[rows[k] : rows[k] + HOLE_PX, columns[k] : columns[k] + HOLE_PX] = 0
    return _with(views, views.normal, mask)


def turned(views: Views, rng: np.random.Generator) -> Views:
    """Normals off by 10 to 20 degrees, smoothly over a view and differently in each."""
    shape = views.mask.shape[1:]
    normal = []
    for view in views.normal:
        axis = np.stack([gaussian_filter(rng.normal(size=shape), TURN_PX) for _ in range(3)], -1)
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        angle = np.radians(rng.uniform(*TURN_DEG))
        turn = Rotation.from_rotvec((axis * angle).reshape(-1, 3))
        normal.append(turn.apply(view.reshape(-1, 3)).reshape(view.shape))
    return _with(views, np.stack(normal), views.mask)


def swapped(views: Views, rng: np.random.Generator) -> Views:
    """The right view upside down: another object's, for all that a fit can know."""
    normal, mask = views.normal.copy(), views.mask.copy()
    normal[2], mask[2] = normal[2, ::-1] * [1, -1, 1], mask[2, ::-1]
    return _with(views, normal, mask)


def everything(views: Views, rng: np.random.Generator) -> Views:
    """Moved, turned and blurred: what a young generator does."""
    return blurred(turned(shifted(views, rng), rng), rng)


DAMAGES: dict[str, Callable[[Views, np.random.Generator], Views]] = {
    "none": lambda views, rng: views,
    "shifted": shifted,
    "blurred": blurred,
    "eroded": eroded,
    "holed": holed,
    "turned": turned,
    "swapped": swapped,
    "everything": everything,
}

# a remedy as the fit without it; "all" is the fit as it is
REMEDIES: dict[str, FitOptions] = {
    "all": FINAL,
    "without calm": replace(FINAL, calm=1.0),
    "without hold": replace(FINAL, hold=0.0),
    "without rim": replace(FINAL, rim=0.0),
    "without tolerance": replace(FINAL, tolerated=0),
    "with drop": replace(FINAL, drop=0.15),
}


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Markdown: mean F-score at 0.02 and mean absolute z by damage (lines) and remedy (columns)."""
    damages = list(dict.fromkeys(str(r["damage"]) for r in rows))
    remedies = list(dict.fromkeys(str(r["remedy"]) for r in rows))
    lines = ["| damage | " + " | ".join(remedies) + " |", "|---" * (len(remedies) + 1) + "|"]
    for damage in damages:
        cells = []
        for remedy in remedies:
            found = [r for r in rows if r["damage"] == damage and r["remedy"] == remedy]
            f_score, z = (np.mean([float(str(r[key])) for r in found]) for key in ("f_02", "z_mean"))
            cells.append(f"{f_score:.3f}, {z:.4f}")
        lines.append(f"| {damage} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m img2mv3d.eval.damage MESHES --count 12 -o FOLDER"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--remedies", default=",".join(REMEDIES))
    parser.add_argument("-o", "--out", type=Path, default=Path("damage"))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for entry in held_out(given.meshes, given.count):
        solid = load_solid(given.meshes / "objects" / f"{entry.id}.npz")
        views, z, vertices = exact_views(solid)
        truth = visible_points(vertices, solid.faces, np.random.default_rng(1))
        for damage, harm in DAMAGES.items():
            worse = harm(views, np.random.default_rng(7))
            for remedy in given.remedies.split(","):
                found = _fit(worse, REMEDIES[remedy])
                figures = (0.0, 9.0, 9.0, 180.0, 0.0, 0.0) if found is None else score(found.sdf, views, z, truth)[:6]
                told = dict(zip(("iou", "z_mean", "z_median", "normal_deg", "f_01", "f_02"), figures, strict=True))
                rows.append({"id": entry.id, "damage": damage, "remedy": remedy, **told})
        (given.out / "damage.json").write_text(json.dumps(rows, indent=1))
        (given.out / "damage.md").write_text(table(rows))
    print(table(rows))


def _fit(views: Views, options: FitOptions) -> Fit | None:
    try:
        return fit(views.normal, views.mask, views.rig, options)
    except NothingFoundError:
        return None


def _moved(views: Views, offset: Float[np.ndarray, "V 2"], scale: Float[np.ndarray, " V"]) -> Views:
    middle = (np.array(views.mask.shape[1:]) - 1) / 2
    normal, mask = views.normal.copy(), views.mask.copy()
    for i in range(1, len(mask)):
        matrix = np.eye(2) / scale[i]
        start = middle - matrix @ (middle + offset[i])
        mask[i] = affine_transform(views.mask[i], matrix, start, order=1)
        for c in range(3):
            normal[i, ..., c] = affine_transform(views.normal[i, ..., c], matrix, start, order=1)
    return _with(views, normal, mask)


def _with(views: Views, normal: np.ndarray, mask: np.ndarray) -> Views:
    """The views with other normals and masks: normals of unit length where the mask covers anything."""
    mask = mask.clip(0, 1).astype(np.float32)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    unit = np.where((length > 0.1) & (mask[..., None] > 0), normal / np.maximum(length, 1e-6), 0).astype(np.float32)
    return replace(views, normal=unit, mask=mask)


if __name__ == "__main__":
    main()

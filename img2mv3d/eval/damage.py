"""What a fit makes of views that are wrong in known ways: exact views, damaged one way at a time, and the remedies.

In: exact views of held-out meshes. Out: damaged views; a table of damages by remedies. Why here: generated views err in
all of these ways at once, and only with the truth known can be told which remedy helps against what.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import affine_transform, binary_erosion, gaussian_filter
from scipy.spatial.transform import Rotation

from img2mv3d.conventions import FRONT
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.exact import exact_views, untouched
from img2mv3d.eval.reconstruction import score
from img2mv3d.eval.records import NOTHING
from img2mv3d.eval.surface import visible_points
from img2mv3d.formats import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.kept import photo_kept
from img2mv3d.geometry.masks import view_masks
from img2mv3d.geometry.opposites import agreed_masks
from img2mv3d.neus.fit import FINAL, Fit, FitOptions, fit
from img2mv3d.values import Views
from img2mv3d.weights import load_bundle

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


def decoded(views: Views, rng: np.random.Generator) -> Views:
    """Encoded and decoded again by mini's networks, masks taken from what comes out; the front's is the photo's."""
    bundle = load_bundle("mini")
    encoder, decoder = bundle.encoder(), bundle.plain_decoder()
    coded = encode_normals(views.normal, views.mask).astype(np.float32) / 255
    with torch.no_grad():
        color, coded = (
            torch.cat([decoder.decode(encoder.encode(one[None])) for one in torch.from_numpy(maps).movedim(-1, 1)])
            .clamp(0, 1)
            .movedim(1, -1)
            .numpy()
            for maps in (views.color.astype(np.float32), coded)
        )
    mask = view_masks(color, coded, views.mask[FRONT])
    return replace(views, normal=decode_normals(to_bytes(coded), mask), mask=mask)


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
    "decoded": decoded,
    "everything": everything,
}

@dataclass(frozen=True)
class Remedy:
    """options: of the fit. masks: what is done to the silhouettes before it."""

    options: FitOptions = FINAL
    masks: Callable[[Views], Views] = lambda views: views


def agreeing(views: Views) -> Views:
    """Opposite outlines mirror images of each other, the back's the photo's."""
    return replace(views, mask=agreed_masks(views.mask, views.rig, known=True))


def keeping(views: Views) -> Views:
    """`agreeing`, and room for all that the photo shows: the masks as `stages.depth` hands them to the fit."""
    views = agreeing(views)
    return replace(views, mask=photo_kept(views.mask, views.rig))


# the first is what `run` does, each of the others leaves one thing out or adds one
REMEDIES: dict[str, Remedy] = {
    "all": Remedy(masks=keeping),
    "without photo kept": Remedy(masks=agreeing),
    "without agreement": Remedy(),
    "without calm": Remedy(replace(FINAL, calm=1.0), keeping),
    "without hold": Remedy(replace(FINAL, hold=0.0), keeping),
    "without rim": Remedy(replace(FINAL, rim=0.0), keeping),
    "without tolerance": Remedy(replace(FINAL, tolerated=0), keeping),
    "with drop": Remedy(replace(FINAL, drop=0.15), keeping),
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
    parser.add_argument("--grid", type=int, default=192, help="finest level of the fits, nodes a side")
    parser.add_argument("-o", "--out", type=Path, default=Path("damage"))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for entry in untouched(given.meshes, given.count):
        solid = load_solid(given.meshes / "objects" / f"{entry.id}.npz")
        rows += [{"id": entry.id, **row} for row in measure(solid, given.remedies.split(","), given.grid)]
        (given.out / "damage.json").write_text(json.dumps(rows, indent=1))
        (given.out / "damage.md").write_text(table(rows))
    print(table(rows))


def measure(solid: Solid, remedies: Sequence[str], grid: int) -> list[dict[str, object]]:
    """One object: a row for each damage and remedy, with f_02 and z_mean as `records.Figures`."""
    views, z, vertices = exact_views(solid)
    truth = visible_points(vertices, solid.faces, np.random.default_rng(1))
    rows: list[dict[str, object]] = []
    for damage, harm in DAMAGES.items():
        worse = harm(views, np.random.default_rng(7))
        for remedy in remedies:
            found = _fit(worse, REMEDIES[remedy], grid)
            figures = NOTHING if found is None else score(found.sdf, views, z, truth)
            rows.append({"damage": damage, "remedy": remedy, "f_02": figures.f_02, "z_mean": figures.z_mean})
    return rows


def _fit(views: Views, remedy: Remedy, grid: int) -> Fit | None:
    views = remedy.masks(views)
    try:
        return fit(views.normal, views.mask, views.rig, remedy.options.scaled(grid))
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

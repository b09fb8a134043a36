"""What a fit makes of views that are wrong in known ways, and what each remedy brings against each damage.

In: exact views of held-out meshes. Out: rows and tables of damages by remedies. Why here: generated views err in all of
these ways at once, and only with the truth known can be told which remedy helps against what.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.errors import NothingFoundError
from experiments.fit.alignment import placements, realigned, realigned_normals
from img2mv3d.eval.exact import exact_views, untouched
from img2mv3d.eval.generated import case_of, latents_of
from experiments.fit.perturbations import HARMS, painted, swapped
from experiments.fit.exact_views import score
from experiments.fit.records import NOTHING, paired
from img2mv3d.eval.surface import visible_points
from img2mv3d.geometry.kept import photo_kept
from img2mv3d.geometry.opposites import agreed_masks
from img2mv3d.neus.fit import FINAL, Fit, FitOptions, fit
from img2mv3d.values import Views

WITHOUT = "without "
SWAPPED, GENERATED = "swapped", "generated"  # damages that need more than the views
DAMAGES = (*HARMS, SWAPPED, GENERATED)
FIGURES = ("f_01", "f_02", "f_05", "z_mean", "z_median", "iou")


@dataclass(frozen=True)
class Row:
    """One object, damage and remedy; figures as `records.Record`."""

    id: str
    damage: str
    remedy: str
    f_01: float
    f_02: float
    f_05: float
    z_mean: float
    z_median: float
    iou: float


class Scene(NamedTuple):
    """given: views to fit. views, z, points: the truth, as `reconstruction.score` wants it."""

    given: Views
    views: Views
    z: Float[np.ndarray, "V H W"]
    points: Float[np.ndarray, "P 3"]


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
    return _room(agreeing(views))


def aligning(views: Views) -> Views:
    """Every view moved and scaled to where the others want it, and `keeping`."""
    where = placements(views.mask, views.rig)
    return keeping(replace(views, mask=realigned(views.mask, where), normal=realigned_normals(views.normal, where)))


def _room(views: Views) -> Views:
    return replace(views, mask=photo_kept(views.mask, views.rig))


# the first is what `run` does, each of the others leaves one thing out or adds one
REMEDIES: dict[str, Remedy] = {
    "all": Remedy(masks=keeping),
    "without photo kept": Remedy(masks=agreeing),
    "without agreement": Remedy(masks=_room),
    "without calm": Remedy(replace(FINAL, calm=1.0), keeping),
    "without hold": Remedy(replace(FINAL, hold=0.0), keeping),
    "without rim": Remedy(replace(FINAL, rim=0.0), keeping),
    "without tolerance": Remedy(replace(FINAL, tolerated=0), keeping),
    "with alignment": Remedy(masks=aligning),
    "with drop": Remedy(replace(FINAL, drop=0.15), keeping),
}


def table(rows: Sequence[Row]) -> str:
    """Markdown: mean F-score at 0.02 and mean absolute z by damage (lines) and remedy (columns)."""
    remedies = _in_order(rows)
    lines = ["| damage | " + " | ".join(remedies) + " |", "|---" * (len(remedies) + 1) + "|"]
    for damage in dict.fromkeys(r.damage for r in rows):
        found = [[r for r in rows if (r.damage, r.remedy) == (damage, remedy)] for remedy in remedies]
        cells = [
            f"{np.mean([r.f_02 for r in f]):.3f}, {np.mean([r.z_mean for r in f]):.4f}" if f else "" for f in found
        ]
        lines.append(f"| {damage} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def effects(rows: Sequence[Row], figure: str = "f_02", digits: int = 3) -> str:
    """Markdown: what each remedy brings, damage by damage: the figure with it minus without it on the same object, mean
    and 95 % interval."""
    by_cell = {(r.damage, r.remedy, r.id): getattr(r, figure) for r in rows}
    first, *others = _in_order(rows)
    titles = [remedy.removeprefix(WITHOUT) for remedy in others]
    lines = [f"| {figure} | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for damage in dict.fromkeys(r.damage for r in rows):
        cells = []
        for remedy in others:
            found = {i: v for (d, r, i), v in by_cell.items() if (d, r) == (damage, remedy)}
            pairs = [(by_cell[damage, first, i], v) for i, v in found.items() if (damage, first, i) in by_cell]
            sign = 1 if remedy.startswith(WITHOUT) else -1
            cells.append(paired([sign * (with_all - other) for with_all, other in pairs], digits) if pairs else "")
        lines.append(f"| {damage} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def measure(
    name: str, solid: Solid, other: Views, remedies: Sequence[str], damages: Sequence[str], grid: int
) -> list[Row]:
    """One object: a row for each damage and remedy. other: exact views of another object. damages: of DAMAGES."""
    views, z, vertices = exact_views(solid)
    truth = visible_points(vertices, solid.faces, np.random.default_rng(1))
    rows = []
    for damage in damages:
        if damage == GENERATED:
            scene = invented(solid)
        elif damage == SWAPPED:
            scene = Scene(swapped(views, other), views, z, truth)
        else:
            scene = Scene(HARMS[damage](views, np.random.default_rng(7)), views, z, truth)
        for remedy in remedies:
            found = _fit(scene.given, REMEDIES[remedy], grid)
            figures = NOTHING if found is None else score(found.sdf, scene.views, scene.z, scene.points)
            rows.append(Row(name, damage, remedy, *(getattr(figures, f) for f in FIGURES)))
    return rows


def invented(solid: Solid, bundle: str = "mini") -> Scene:
    """What a bundle's generator makes of a photo of the object, decoded on its own and by nothing mended."""
    loaded = load_bundle(bundle)
    case = case_of("", solid, loaded.framing_px)
    latents = latents_of(case.photo, loaded.generator(), loaded.framing_px)
    front = case.photo[..., 3].astype(np.float32) / 255
    given = replace(case.views, **painted(latents.color, latents.normal, front, loaded.plain_decoder()))
    return Scene(given, case.views, case.z, case.points)


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m experiments.fit.robustness MESHES --count 12 -o FOLDER

    Rows that FOLDER holds of other remedies and damages stay, so that one more can be measured later."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--remedies", default=",".join(REMEDIES))
    parser.add_argument("--grid", type=int, default=192, help="finest level of the fits, nodes a side")
    parser.add_argument("--damages", default=",".join(DAMAGES))
    parser.add_argument("-o", "--out", type=Path, default=Path("damage"))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    remedies, damages, kept = given.remedies.split(","), given.damages.split(","), given.out / "damage.json"
    rows = [Row(**row) for row in json.loads(kept.read_text())] if kept.exists() else []
    rows = [row for row in rows if row.remedy not in remedies or row.damage not in damages]
    solids = {e.id: load_solid(given.meshes / "objects" / f"{e.id}.npz") for e in untouched(given.meshes, given.count)}
    names = list(solids)
    for name, another in zip(names, names[1:] + names[:1], strict=True):
        other = exact_views(solids[another])[0]
        rows += measure(name, solids[name], other, remedies, damages, given.grid)
        kept.write_text(json.dumps([asdict(row) for row in rows], indent=1))
        (given.out / "damage.md").write_text("\n".join([table(rows), effects(rows), effects(rows, "z_mean", 4)]))
    print((given.out / "damage.md").read_text())


def _in_order(rows: Sequence[Row]) -> list[str]:
    """The remedies that were measured, as REMEDIES has them."""
    measured = {r.remedy for r in rows}
    return [remedy for remedy in REMEDIES if remedy in measured]


def _fit(views: Views, remedy: Remedy, grid: int) -> Fit | None:
    views = remedy.masks(views)
    try:
        return fit(views.normal, views.mask, views.rig, remedy.options.scaled(grid))
    except NothingFoundError:
        return None


if __name__ == "__main__":
    main()

"""What a fit makes of views that are perturbed in known ways, and what each part of it brings against each.

`python -m experiments.fit.robustness MESHES --count 12 -o FOLDER`
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

from experiments.fit.alignment import placements, realigned, realigned_normals
from experiments.fit.exact_views import score
from experiments.fit.perturbations import PERTURBATIONS, decoded_plainly, swapped
from experiments.fit.records import NOTHING
from experiments.fit.truth import exact_views
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.comparison import paired
from img2mv3d.eval.conditions import latents_of
from img2mv3d.eval.objects import photographed, untouched
from img2mv3d.eval.surface import visible_points
from img2mv3d.geometry.antipodal import symmetrised_silhouettes
from img2mv3d.geometry.completion import complete_silhouettes
from img2mv3d.neus.fit import FINAL, Fit, FitOptions, fit
from img2mv3d.values import Views

WITHOUT = "without "
SWAPPED, GENERATED = "swapped", "generated"  # perturbations that need more than the views
ALL = (*PERTURBATIONS, SWAPPED, GENERATED)
FIGURES = ("f_01", "f_02", "f_05", "z_mean", "z_median", "iou")


@dataclass(frozen=True)
class Row:
    """One object, perturbation and variant; figures as `records.Record`."""

    id: str
    perturbation: str
    variant: str
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
class Variant:
    """options: of the fit. masks: what is done to the silhouettes before it."""

    options: FitOptions = FINAL
    masks: Callable[[Views], Views] = lambda views: views


def symmetrised(views: Views) -> Views:
    """Opposite outlines mirror images of each other, the back's the photo's."""
    return replace(views, mask=symmetrised_silhouettes(views.mask, views.rig, known=True))


def completed(views: Views) -> Views:
    """`symmetrised`, and room for all that the photo shows: the masks as `stages.depth` hands them to the fit."""
    return _room(symmetrised(views))


def aligning(views: Views) -> Views:
    """Every view moved and scaled to where the others want it, and `completed`."""
    where = placements(views.mask, views.rig)
    return completed(replace(views, mask=realigned(views.mask, where), normal=realigned_normals(views.normal, where)))


def _room(views: Views) -> Views:
    return replace(views, mask=complete_silhouettes(views.mask, views.rig))


# the first is what `run` does, each of the others leaves one thing out or adds one
VARIANTS: dict[str, Variant] = {
    "all": Variant(masks=completed),
    "without completion": Variant(masks=symmetrised),
    "without symmetry": Variant(masks=_room),
    "without curvature scale": Variant(replace(FINAL, disagreement_scale=1.0), completed),
    "without hull prior": Variant(replace(FINAL, hull_prior_weight=0.0), completed),
    "without silhouette term": Variant(replace(FINAL, silhouette_weight=0.0), completed),
    "without tolerance": Variant(replace(FINAL, tolerated=0), completed),
    "with alignment": Variant(masks=aligning),
    "with outliers dropped": Variant(replace(FINAL, outlier_fraction=0.15), completed),
}


def table(rows: Sequence[Row]) -> str:
    """Markdown: mean F-score at 0.02 and mean absolute z by perturbation (lines) and variant (columns)."""
    variants = _in_order(rows)
    lines = ["| perturbation | " + " | ".join(variants) + " |", "|---" * (len(variants) + 1) + "|"]
    for perturbation in dict.fromkeys(r.perturbation for r in rows):
        found = [[r for r in rows if (r.perturbation, r.variant) == (perturbation, variant)] for variant in variants]
        cells = [
            f"{np.mean([r.f_02 for r in f]):.3f}, {np.mean([r.z_mean for r in f]):.4f}" if f else "" for f in found
        ]
        lines.append(f"| {perturbation} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def effects(rows: Sequence[Row], figure: str = "f_02", digits: int = 3) -> str:
    """Markdown: what each variant brings, perturbation by perturbation: the figure with it minus without it on the same
    object, mean and 95 % interval."""
    by_cell = {(r.perturbation, r.variant, r.id): getattr(r, figure) for r in rows}
    first, *others = _in_order(rows)
    titles = [variant.removeprefix(WITHOUT) for variant in others]
    lines = [f"| {figure} | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for perturbation in dict.fromkeys(r.perturbation for r in rows):
        cells = []
        for variant in others:
            found = {i: v for (d, r, i), v in by_cell.items() if (d, r) == (perturbation, variant)}
            whole = {i: by_cell.get((perturbation, first, i)) for i in found}
            pairs = [(whole[i], v) for i, v in found.items() if whole[i] is not None]
            sign = 1 if variant.startswith(WITHOUT) else -1
            cells.append(paired([sign * (with_all - other) for with_all, other in pairs], digits) if pairs else "")
        lines.append(f"| {perturbation} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def measure(
    name: str, solid: Solid, other: Views, variants: Sequence[str], perturbations: Sequence[str], grid: int
) -> list[Row]:
    """One object: a row for each perturbation and variant.

    other: exact views of another object.
    perturbations: of ALL.
    """
    views, z, vertices = exact_views(solid)
    truth = visible_points(vertices, solid.faces, np.random.default_rng(1))
    rows = []
    for perturbation in perturbations:
        if perturbation == GENERATED:
            scene = invented(solid)
        elif perturbation == SWAPPED:
            scene = Scene(swapped(views, other), views, z, truth)
        else:
            scene = Scene(PERTURBATIONS[perturbation](views, np.random.default_rng(7)), views, z, truth)
        for variant in variants:
            found = _fit(scene.given, VARIANTS[variant], grid)
            figures = NOTHING if found is None else score(found.sdf, scene.views, scene.z, scene.points)
            rows.append(Row(name, perturbation, variant, *(getattr(figures, f) for f in FIGURES)))
    return rows


def invented(solid: Solid, bundle: str = "mini") -> Scene:
    """What a bundle's generator makes of a photo of the object, decoded on its own and by nothing mended."""
    loaded = load_bundle(bundle)
    case = photographed("", solid, loaded.framing_px)
    latents = latents_of(case.photo, loaded.generator(), loaded.framing_px)
    assert case.mesh is not None
    placed, faces = case.mesh
    front = case.photo[..., 3].astype(np.float32) / 255
    given = replace(case.truth, **decoded_plainly(latents.color, latents.normal, front, loaded.plain_decoder()))
    points = visible_points(placed, faces, np.random.default_rng(1))
    return Scene(given, case.truth, case.z, points)


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m experiments.fit.robustness MESHES --count 12 -o FOLDER

    Rows that FOLDER holds of other variants and perturbations stay, so that one more can be measured later."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--grid", type=int, default=192, help="finest level of the fits, nodes a side")
    parser.add_argument("--perturbations", default=",".join(ALL))
    parser.add_argument("-o", "--out", type=Path, default=Path("robustness"))
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    variants, perturbations = given.variants.split(","), given.perturbations.split(",")
    kept = given.out / "robustness.json"
    rows = [Row(**row) for row in json.loads(kept.read_text())] if kept.exists() else []
    rows = [row for row in rows if row.variant not in variants or row.perturbation not in perturbations]
    solids = {e.id: load_solid(given.meshes / "objects" / f"{e.id}.npz") for e in untouched(given.meshes, given.count)}
    names = list(solids)
    for name, another in zip(names, names[1:] + names[:1], strict=True):
        other = exact_views(solids[another])[0]
        rows += measure(name, solids[name], other, variants, perturbations, given.grid)
        kept.write_text(json.dumps([asdict(row) for row in rows], indent=1))
        (given.out / "robustness.md").write_text("\n".join([table(rows), effects(rows), effects(rows, "z_mean", 4)]))
    print((given.out / "robustness.md").read_text())


def _in_order(rows: Sequence[Row]) -> list[str]:
    """The variants that were measured, as VARIANTS has them."""
    measured = {r.variant for r in rows}
    return [variant for variant in VARIANTS if variant in measured]


def _fit(views: Views, variant: Variant, grid: int) -> Fit | None:
    views = variant.masks(views)
    try:
        return fit(views.normal, views.mask, views.rig, variant.options.scaled(grid))
    except NothingFoundError:
        return None


if __name__ == "__main__":
    main()

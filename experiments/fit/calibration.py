"""Whether the depth's confidence is calibrated: of the pixels called right with 70 %, 70 % should be.

`python -m experiments.fit.calibration MESHES --train 12 --val 8` prints the regression's weights, then what was said
against what was found on held-out objects.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from experiments.fit.perturbations import everything
from experiments.fit.robustness import completed
from experiments.fit.truth import exact_views
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.data.corpus import Entry, Solid, load_solid, read_manifest
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.methods import Generation
from img2mv3d.eval.objects import photographed, untouched
from img2mv3d.neus.confidence import NAMES, RIGHT, WEIGHTS, features
from img2mv3d.neus.fit import QUICK, fit
from img2mv3d.neus.render import render_views
from img2mv3d.values import Views

PIXELS = 3000  # of each object and kind of views
BINS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)

Pixels = tuple[Float[np.ndarray, "P F"], Float[np.ndarray, " P"]]
Kind = Callable[[Solid], tuple[Views, Float[np.ndarray, "V H W"]]]


def kinds(bundle: str = "mini") -> dict[str, Kind]:
    """Views and true z: as they are, perturbed in all ways, and made by a bundle from a photo."""
    loaded = load_bundle(bundle)
    make = Generation(loaded).decoded(loaded)

    def perturbed(solid: Solid) -> tuple[Views, np.ndarray]:
        views, z, _ = exact_views(solid)
        return completed(everything(views, np.random.default_rng(7))), z

    def generated(solid: Solid) -> tuple[Views, np.ndarray]:
        case = photographed("", solid, loaded.framing_px)
        views = make(case).views
        assert views is not None
        return views, case.z

    return {"exact": lambda solid: exact_views(solid)[:2], "perturbed": perturbed, "generated": generated}


def pixels_of(views: Views, z: Float[np.ndarray, "V H W"], rng: np.random.Generator) -> Pixels:
    """(features, absolute error of z) of PIXELS random pixels that the coarse fit hits; where the truth has none, the
    error is 9."""
    assert views.normal is not None
    seen = render_views(fit(views.normal, views.mask, views.rig, QUICK).sdf, views.rig, views.mask.shape[1])
    hit = seen.opacity > 0.5
    error = np.where(z != 0, np.abs(seen.z - z), 9.0)[hit]
    chosen = rng.choice(len(error), min(PIXELS, len(error)), replace=False)
    return features(seen, views.normal, views.mask, views.rig)[hit][chosen], error[chosen]


def regression(signs: Float[np.ndarray, "P F"], right: Bool[np.ndarray, " P"]) -> Float[np.ndarray, " G"]:
    """Weights and constant of a logistic regression, by Newton's method, with a touch of ridge."""
    design = np.concatenate([signs, np.ones((len(signs), 1))], axis=1)
    weights = np.zeros(design.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-(design @ weights)))
        slope = design.T @ (right - chance) - 1e-3 * weights
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(bend, slope)
    return weights


def table(said: Float[np.ndarray, " P"], error: Float[np.ndarray, " P"]) -> str:
    """Markdown: by bin of confidence, its mean, the share that is right, the median error; and the gap between both."""
    lines = ["| said | pixels | right | median abs z error |", "|---|---|---|---|"]
    gap = 0.0
    for low, high in pairwise(BINS):
        here = (said >= low) & ((said < high) | (high == BINS[-1]))
        if here.any():
            found = float((error[here] < RIGHT).mean())
            gap += here.mean() * abs(found - float(said[here].mean()))
            median = float(np.median(error[here]))
            lines.append(f"| {said[here].mean():.2f} | {here.sum()} | {found:.2f} | {min(median, 9):.3f} |")
    return "\n".join(lines) + f"\n\nExpected calibration error {gap:.3f}.\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The weights and the tables on stdout."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--train", type=int, default=12, help="objects for the regression; 0: the weights in use")
    parser.add_argument("--val", type=int, default=8)
    given = parser.parse_args(arguments)
    makers = kinds()
    weights = np.array(WEIGHTS)
    if given.train:
        found = _collect(_training(given.meshes, given.train), makers, given.meshes)
        signs, error = (np.concatenate([pair[k] for pair in found.values()]) for k in (0, 1))
        weights = regression(signs, error < RIGHT)
        print("WEIGHTS = (" + ", ".join(f"{w:.3f}" for w in weights) + ")  # " + ", ".join([*NAMES, "constant"]))
    for kind, (signs, error) in _collect(untouched(given.meshes, given.val), makers, given.meshes).items():
        said = 1 / (1 + np.exp(-(signs @ weights[:-1] + weights[-1])))
        print(f"\n{kind}\n\n{table(said, error)}")


def _training(meshes: Path, count: int) -> list[Entry]:
    entries = [e for e in read_manifest(meshes / "manifest.tsv") if e.split == "train" and e.weight > 0]
    entries = [e for e in entries if e.everyday and (meshes / "objects" / f"{e.id}.npz").exists()]
    return [entries[i] for i in np.random.default_rng(5).permutation(len(entries))[:count]]


def _collect(entries: Sequence[Entry], makers: dict[str, Kind], meshes: Path) -> dict[str, Pixels]:
    rng = np.random.default_rng(0)
    found: dict[str, list[Pixels]] = {kind: [] for kind in makers}
    for entry in entries:
        solid = load_solid(meshes / "objects" / f"{entry.id}.npz")
        for kind, make in makers.items():
            try:
                found[kind].append(pixels_of(*make(solid), rng))
            except NothingFoundError:
                continue
    return {
        kind: (np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs]))
        for kind, pairs in found.items()
        if pairs
    }


if __name__ == "__main__":
    main()

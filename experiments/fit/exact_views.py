"""How good the fit is when the views are exact: hull, hull + normals, coarse and final fit on held-out meshes.

`python -m experiments.fit.exact_views MESHES --count 60 --methods hull,quick,final --keep final -o FOLDER`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from experiments.fit.normal_integration import integrated_field
from experiments.fit.records import NOTHING, Figures, Record, table
from experiments.fit.truth import Truth, truth_of
from img2mv3d import machine
from img2mv3d.data.corpus import load_solid
from img2mv3d.data.raycast import Raycaster
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.objects import untouched
from img2mv3d.eval.surface import surface_score, visible_points
from img2mv3d.geometry.cameras import pixel_centres, rays
from img2mv3d.geometry.hull import carve
from img2mv3d.mesh.extract import extract, is_closed, isosurface
from img2mv3d.mesh.fidelity import silhouette_iou
from img2mv3d.neus.fit import FINAL, QUICK, fit
from img2mv3d.values import Views

HULL_NODES = 128
EXPORTED_FACES = 20_000  # of the mesh that a run writes when nothing else is asked for


class Made(NamedTuple):
    """What a method makes of exact views.

    sdf: world units, axes x, y, z on [-1, 1]^3.
    source: "neus" or "hull".
    """

    sdf: Float[np.ndarray, "N N N"]
    source: str


def measure(
    name: str,
    truth: Truth,
    methods: Sequence[str],
    keep: Callable[[str, Made], None] | None = None,
) -> list[Record]:
    """All methods on one object; a method that finds nothing scores `NOTHING`. keep(method, made): sees each field."""
    records = []
    shares = {"unseen_share": float(1 - truth.seen.mean()), "thin_share": float(truth.thin.mean())}
    for method in methods:
        held = machine.resident_memory()
        machine.reset_peak_memory()
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            made = METHODS[method](truth.views)
        except NothingFoundError:
            made = None
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        peak_mb = max(machine.peak_memory() - held, 0) / 1e6
        figures = NOTHING if made is None else score(made.sdf, truth.views, truth.z, truth.surface.points, truth.seen)
        source = "nothing" if made is None else made.source
        cost = {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2), "peak_mb": round(peak_mb, 1)}
        records.append(Record(id=name, method=method, **asdict(figures), source=source, **cost, **shares))
        if keep is not None and made is not None:
            keep(method, made)
    return records


def score(
    sdf: Float[np.ndarray, "N N N"],
    views: Views,
    z: Float[np.ndarray, "V H W"],
    truth: Float[np.ndarray, "P 3"],
    seen: Bool[np.ndarray, " P"] | None = None,
) -> Figures:
    """A field against the truth.

    sdf: world units.
    z: of the truth, world units, 0 outside.
    truth: visible points of the true surface.
    seen: which of them one of the six cameras sees; without it all do.
    """
    vertices, faces = isosurface(sdf)
    world = Raycaster(vertices, faces)
    cross = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    outward = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-20)
    size = views.mask.shape[1]
    iou, off, angle = [], [], []
    for i, camera in enumerate(views.rig.cameras(size)):
        origin, direction = rays(camera, pixel_centres(size).astype(np.float64).reshape(-1, 2))
        hits = world.first(origin - 2 * direction, direction)
        found, wanted = (hits.face >= 0).reshape(size, size), views.mask[i] > 0.5
        both = found & wanted
        iou.append(both.sum() / max((found | wanted).sum(), 1))
        off.append(np.abs(hits.t.reshape(size, size) - 2 - z[i])[both])
        cosine = (outward[hits.face].reshape(size, size, 3)[both] * views.normal[i][both]).sum(-1)
        angle.append(np.degrees(np.arccos(cosine.clip(-1, 1))))
    off, angle = np.concatenate(off), np.concatenate(angle)
    points = visible_points(vertices, faces, np.random.default_rng(2))
    seen = np.ones(len(truth), bool) if seen is None else seen
    whole = surface_score(points, truth)
    parts = [surface_score(points, truth, part=p) if p.any() else whole for p in (seen, ~seen)]
    empty = len(off) == 0
    return Figures(
        float(np.mean(iou)),
        NOTHING.z_mean if empty else float(off.mean()),
        NOTHING.z_median if empty else float(np.median(off)),
        NOTHING.normal_deg if empty else float(np.median(angle)),
        *(whole.f_score[f] for f in (0.01, 0.02, 0.05)),
        *(part.f_score[f] for part in parts for f in (0.01, 0.02)),
        *(100 * min(part.missing, 1.0) for part in parts),
        is_closed(faces),
        _exported_iou(sdf, views),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The tables on stdout and in FOLDER."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--count", type=int, default=60, help="held-out objects, none that settings were tuned on")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--keep", default="", help="methods whose fields are written, next to the true meshes")
    parser.add_argument("-o", "--out", type=Path, default=Path("reconstruction"))
    given = parser.parse_args(arguments)
    records: list[Record] = []
    (given.out / "fields").mkdir(parents=True, exist_ok=True)
    for entry in untouched(given.meshes, given.count):
        truth = truth_of(load_solid(given.meshes / "objects" / f"{entry.id}.npz"))
        keep = _keeper(given.out / "fields", entry.id, truth, given.keep.split(","))
        records += measure(entry.id, truth, given.methods.split(","), keep)
        (given.out / "reconstruction.json").write_text(json.dumps([asdict(r) for r in records], indent=1))
        (given.out / "reconstruction.md").write_text(table(records))
    print(table(records))


def _keeper(folder: Path, name: str, truth: Truth, methods: Sequence[str]) -> Callable[[str, Made], None]:
    """Writes a method's mesh beside the true one: vertices, faces of both, in the world."""

    def keep(method: str, made: Made) -> None:
        if method in methods:
            vertices, faces = isosurface(made.sdf)
            arrays = {"vertices": vertices, "faces": faces, "true_vertices": truth.vertices, "true_faces": truth.faces}
            np.savez_compressed(folder / f"{name}.{method}.npz", **arrays)

    return keep


def _exported_iou(sdf: np.ndarray, views: Views) -> float:
    try:
        mesh = extract(sdf, faces=EXPORTED_FACES)
    except NothingFoundError:  # smoothing may take away all of a body that is thinner than a cell
        return 0.0
    return float(silhouette_iou(mesh.vertices, mesh.faces, views.mask, views.rig).mean())


def _hull(views: Views) -> Made:
    return Made(carve(views.mask, views.rig, HULL_NODES), "hull")


def _integrated(views: Views) -> Made:
    return Made(integrated_field(views.normal, views.mask, views.rig, HULL_NODES), "hull")


def _quick(views: Views) -> Made:
    found = fit(views.normal, views.mask, views.rig, QUICK)
    return Made(found.sdf, str(found.figures["source"]))


def _final(views: Views) -> Made:
    found = fit(views.normal, views.mask, views.rig, FINAL)
    return Made(found.sdf, str(found.figures["source"]))


def _blind(views: Views) -> Made:
    """The final fit of views without normals: silhouettes alone."""
    found = fit(np.zeros((*views.mask.shape, 3), np.float32), views.mask, views.rig, FINAL)
    return Made(found.sdf, str(found.figures["source"]))


METHODS: dict[str, Callable[[Views], Made]] = {
    "hull": _hull,
    "hull + normals": _integrated,
    "quick": _quick,
    "final": _final,
    "blind": _blind,
}


if __name__ == "__main__":
    main()

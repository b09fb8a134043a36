"""How good the fit is when the views are exact: hull, quick fit and final fit on held-out meshes, row by row.

In: a folder of the mesh corpus. Out: `Record` per object and method, tables as Markdown, plain dicts for JSON.
Why here: the budgets of the fit are stated on exact views; what generated views cost on top is another table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from img2mv3d.data.corpus import Entry, Solid, load_solid, read_manifest, without_twins
from img2mv3d.data.raycast import Raycaster
from img2mv3d.data.scene import Light, place, shoot
from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.surface import surface_score, visible_points
from img2mv3d.formats import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS, pixel_centres, rays
from img2mv3d.geometry.hull import carve
from img2mv3d.mesh.extract import is_closed, isosurface
from img2mv3d.neus.fit import FINAL, QUICK, fit
from img2mv3d.values import Views

SPHERE = 0.5 / 0.675  # world radius of an object's bounding sphere: its corpus radius 1/2 in Wonder3D's object units
HULL_NODES = 128


@dataclass(frozen=True)
class Record:
    """One method on one object. iou: mean of the views' silhouettes. z_mean, z_median: absolute, world units, on pixels
    that both hit. normal_deg: median angle. f_01, f_02: F-scores at 1 and 2 % of the box diagonal over visible points.
    closed: every edge joins two faces. source: "neus" or "hull". cpu_s, wall_s: of the fit.
    """

    id: str
    method: str
    iou: float
    z_mean: float
    z_median: float
    normal_deg: float
    f_01: float
    f_02: float
    closed: bool
    source: str
    cpu_s: float
    wall_s: float


def held_out(folder: Path, count: int, seed: int = 0) -> list[Entry]:
    """Held-out objects without cut-outs and without twins in the training set, two thirds of them everyday things."""
    entries = [e for e in without_twins(read_manifest(folder / "manifest.tsv")) if not e.cutout]
    entries = [e for e in entries if (folder / "objects" / f"{e.id}.npz").exists()]
    order = np.random.default_rng(seed).permutation(len(entries))
    everyday = [entries[i] for i in order if entries[i].everyday]
    rest = [entries[i] for i in order if not entries[i].everyday]
    first = everyday[: count - min(len(rest), count // 3)]
    return first + rest[: count - len(first)]


def exact_views(solid: Solid) -> tuple[Views, Float[np.ndarray, "V H W"], Float[np.ndarray, "N 3"]]:
    """(views as files would hold them, z, vertices in the world): upright, as large as Wonder3D frames its objects."""
    width, height = np.ptp(solid.vertices[:, 0]), np.ptp(solid.vertices[:, 1])
    framing = round(float(max(width, height)) * SPHERE * 2 * 128)
    upright = np.eye(3)
    shots = shoot(solid, upright, framing, Light(occlusion=0.0), np.random.default_rng(0))
    mask = to_bytes(shots.mask).astype(np.float32) / 255
    normal = decode_normals(encode_normals(shots.normal, shots.mask), mask)
    placed, _ = place(solid.vertices, upright, framing)
    return Views(shots.color, normal, mask, SIX_VIEWS), shots.z, placed


def measure(name: str, solid: Solid, methods: Sequence[str]) -> list[Record]:
    """All methods on one object; a method that finds nothing scores zero."""
    views, z, vertices = exact_views(solid)
    truth = visible_points(vertices, solid.faces, np.random.default_rng(1))
    records = []
    for method in methods:
        cpu, wall = time.process_time(), time.perf_counter()
        try:
            sdf, source = METHODS[method](views)
        except NothingFoundError:
            sdf, source = None, "nothing"
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        figures = (0.0, 9.0, 9.0, 180.0, 0.0, 0.0, False) if sdf is None else score(sdf, views, z, truth)
        records.append(Record(name, method, *figures, source, round(cpu, 2), round(wall, 2)))
    return records


def score(
    sdf: Float[np.ndarray, "N N N"], views: Views, z: Float[np.ndarray, "V H W"], truth: Float[np.ndarray, "P 3"]
) -> tuple[float, float, float, float, float, float, bool]:
    """A field against the truth: (iou, z_mean, z_median, normal_deg, f_01, f_02, closed), see `Record`.

    sdf: world units. z: of the truth, world units, 0 outside. truth: visible points of the true surface.
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
    f_score = surface_score(visible_points(vertices, faces, np.random.default_rng(2)), truth).f_score
    empty = len(off) == 0
    return (
        float(np.mean(iou)),
        9.0 if empty else float(off.mean()),
        9.0 if empty else float(np.median(off)),
        180.0 if empty else float(np.median(angle)),
        f_score[0.01],
        f_score[0.02],
        is_closed(faces),
    )


def table(records: Sequence[Record]) -> str:
    """Mean / median by method as Markdown, and each method against the hull, paired, with 95 % intervals."""
    lines = [
        "| method | objects | IoU | mean abs z | median abs z | normals, deg | F 0.01 | F 0.02 | closed | fell back "
        "| CPU s | wall s |",
        "|" + "---|" * 12,
    ]
    by_method: dict[str, list[Record]] = {}
    for record in records:
        by_method.setdefault(record.method, []).append(record)
    for method, rows in by_method.items():
        cells = [_pair([getattr(r, name) for r in rows], digits) for name, digits in _COLUMNS]
        closed, back = sum(r.closed for r in rows), sum(r.source == "hull" for r in rows) if method != "hull" else 0
        times = [f"{np.mean([getattr(r, n) for r in rows]):.1f}" for n in ("cpu_s", "wall_s")]
        lines.append(f"| {method} | {len(rows)} | " + " | ".join([*cells, f"{closed}", f"{back}", *times]) + " |")
    hull = {r.id: r for r in by_method.get("hull", [])}
    for method, rows in by_method.items():
        if method == "hull" or not hull:
            continue
        gains = [f"{n} {_paired([getattr(r, n) - getattr(hull[r.id], n) for r in rows])}" for n in _GAINS]
        ratio = np.median([r.z_mean / max(hull[r.id].z_mean, 1e-9) for r in rows])
        lines.append(f"\n{method} - hull, paired: {', '.join(gains)}; median ratio of z_mean {ratio:.2f}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m img2mv3d.eval.reconstruction MESHES --count 24 --methods hull,quick,final -o FOLDER"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--methods", default="hull,quick,final")
    parser.add_argument("-o", "--out", type=Path, default=Path("reconstruction"))
    given = parser.parse_args(arguments)
    records: list[Record] = []
    given.out.mkdir(parents=True, exist_ok=True)
    for entry in held_out(given.meshes, given.count):
        solid = load_solid(given.meshes / "objects" / f"{entry.id}.npz")
        records += measure(entry.id, solid, given.methods.split(","))
        (given.out / "reconstruction.json").write_text(json.dumps([asdict(r) for r in records], indent=1))
        (given.out / "reconstruction.md").write_text(table(records))
    print(table(records))


_COLUMNS = (("iou", 3), ("z_mean", 4), ("z_median", 4), ("normal_deg", 1), ("f_01", 3), ("f_02", 3))
_GAINS = ("f_01", "f_02", "z_mean", "iou")


def _hull(views: Views) -> tuple[np.ndarray, str]:
    sdf = carve(views.mask, views.rig, HULL_NODES)
    return sdf, "hull"


def _quick(views: Views) -> tuple[np.ndarray, str]:
    found = fit(views.normal, views.mask, views.rig, QUICK)
    return found.sdf, str(found.figures["source"])


def _final(views: Views) -> tuple[np.ndarray, str]:
    found = fit(views.normal, views.mask, views.rig, FINAL)
    return found.sdf, str(found.figures["source"])


def _blind(views: Views) -> tuple[np.ndarray, str]:
    """The final fit of views without normals: silhouettes alone."""
    found = fit(np.zeros((*views.mask.shape, 3), np.float32), views.mask, views.rig, FINAL)
    return found.sdf, str(found.figures["source"])


METHODS: dict[str, Callable[[Views], tuple[np.ndarray, str]]] = {
    "hull": _hull,
    "quick": _quick,
    "final": _final,
    "blind": _blind,
}


def _pair(values: Sequence[float], digits: int) -> str:
    return f"{np.mean(values):.{digits}f} / {np.median(values):.{digits}f}"


def _paired(gains: Sequence[float]) -> str:
    """Mean and half width of the 95 % interval of a mean of differences."""
    half = 1.96 * np.std(gains, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else float("nan")
    return f"{np.mean(gains):+.3f} +- {half:.3f}"


if __name__ == "__main__":
    main()

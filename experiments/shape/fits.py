"""What a fit makes of a body's own views: `python -m experiments.shape.fits CORPORA... --split test --count 25`.

Real scans, evenly lit: the body exported directly, the final fit that begins with the silhouettes' hull, the one that
begins with the body, and the latter faired; less the body, with 95 % intervals: F-scores, outline IoU, the median angle
of normals in the six views, and closed pieces that the mesh falls into. `--damage shifted holed swapped ...` damages
the views before both fits, as `experiments.fit.perturbations` does.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from experiments.fit.perturbations import PERTURBATIONS, swapped
from experiments.shape.dev import cases
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.eval.comparison import interval
from img2mv3d.eval.protocol import LISTED_PITCHES, REAL
from img2mv3d.eval.scores import shape_figures
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.mesh.arrays import vertex_normals
from img2mv3d.mesh.draft import body_maps
from img2mv3d.mesh.extract import isosurface
from img2mv3d.mesh.fairing import faired
from img2mv3d.mesh.raster import rasterise
from img2mv3d.plans import ReconstructOptions
from img2mv3d.stages.body import predict_body
from img2mv3d.stages.reconstruct import reconstruct
from img2mv3d.values import Body, Views

FIGURES = ("f_02", "f_05", "outline_iou", "normal_deg", "pieces")
SWAPPED = "swapped"


def angle(mesh: tuple[np.ndarray, np.ndarray], truth: Views) -> float:
    """Median angle in degrees between the mesh's normals and the true ones where both are seen, all views."""
    found = []
    normals = vertex_normals(*mesh)
    for i, camera in enumerate(SIX_VIEWS.cameras(truth.mask.shape[1])):
        seen = rasterise(*mesh, camera)
        hit = (seen.face >= 0) & (truth.mask[i] > 0.9)
        mine = np.einsum("pc,pcd->pd", seen.bary[hit], normals[mesh[1][seen.face[hit]]])
        mine /= np.linalg.norm(mine, axis=1, keepdims=True)
        found.append(np.degrees(np.arccos((mine * truth.normal[i][hit]).sum(1).clip(-1, 1))))
    return float(np.median(np.concatenate(found)))


def given(views: Views, damage: str, other: Views | None) -> Views:
    """The views as a fit gets them. other: of the object before."""
    if damage == SWAPPED:
        return views if other is None else swapped(views, other)
    return PERTURBATIONS[damage](views, np.random.default_rng(7))


def meshes_of(views: Views, body: Body, seconds: dict[str, float]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the two fits make of the views, and the latter faired; their CPU seconds are added up."""
    meshes = {}
    for name, prior in (("fit from the hull", None), ("fit from the body", body)):
        began = time.process_time()
        surface = reconstruct(views, options=ReconstructOptions(), body=prior)
        seconds[name] = seconds.get(name, 0) + time.process_time() - began
        meshes[name] = isosurface(surface.sdf, smoothing=0.5)
    vertices, faces = meshes["fit from the body"]
    meshes["the same, faired"] = faired(vertices, faces, 2 / (surface.sdf.shape[0] - 1)), faces
    return meshes


def pieces(faces: np.ndarray) -> int:
    """Closed surfaces that the mesh falls into."""
    count = int(faces.max()) + 1
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    return int(connected_components(coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)))[0])


def main(asked: argparse.Namespace) -> None:
    """Print a table for each kind of damage."""
    net = load_bundle(asked.bundle).shape()
    rows: dict[tuple[str, str], list[list[float]]] = {}
    seconds: dict[str, float] = {}
    known = (c for c, truth in cases(asked.corpora, asked.split, asked.pitches, ("even",)) if c.id.startswith(REAL))
    former: Views | None = None
    for case in islice(known, asked.count):
        body = predict_body(case.photo, net=net)
        maps = body_maps(body.field, SIX_VIEWS)
        views = Views(np.ones((*maps.mask.shape, 3), np.float32), maps.normal, maps.mask, SIX_VIEWS)
        for damage in asked.damage:
            meshes = {"body": isosurface(body.field, smoothing=0.5)}
            meshes |= meshes_of(given(views, damage, former), body, seconds)
            for name, mesh in meshes.items():
                figures = shape_figures(case, mesh, shift=True)
                row = [*(figures[f] for f in FIGURES[:-2]), angle(mesh, case.truth), pieces(mesh[1])]
                rows.setdefault((damage, name), []).append(row)
        former = views
        print(case.id, {name: [round(v, 3) for v in found[-1]] for name, found in rows.items()}, flush=True)
    print("| damage | |", " | ".join(FIGURES), "|")
    for (damage, name), found in rows.items():
        base = np.array(rows[damage, "body"])
        gains = [interval((np.array(found) - base)[:, k]) for k in range(len(FIGURES))]
        cells = [f"{m:.3f} ({g:+.3f} +- {w:.3f})" for m, (g, w) in zip(np.mean(found, axis=0), gains, strict=True)]
        print(f"| {damage} | {name} |", " | ".join(cells), "|", flush=True)
    fits = max(sum(map(len, rows.values())) // 4, 1)  # four meshes of each pair
    print("CPU s a fit:", {name: round(spent / fits, 1) for name, spent in seconds.items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--bundle", type=Path, default=Path("weights/mini"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--pitches", type=float, nargs="+", default=LISTED_PITCHES)
    parser.add_argument("--damage", nargs="+", choices=(*PERTURBATIONS, SWAPPED), default=["none"])
    parser.add_argument("--count", type=int, default=25)
    main(parser.parse_args())

"""What a fit makes of a body's own views: `python -m experiments.shape.fits CORPORA... --bundle weights/mini`.

On `dev`: the body exported directly, the final fit that begins with the silhouettes' hull, the one that begins with the
body, and the latter faired. Means of F-scores, outline IoU and the median angle of normals in the six views.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from experiments.shape.dev import cases
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.eval.comparison import interval
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
from img2mv3d.values import Views

FIGURES = ("f_02", "f_05", "outline_iou", "normal_deg")


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


def main(asked: argparse.Namespace) -> None:
    """Print a table."""
    net = load_bundle(asked.bundle).shape()
    rows: dict[str, list[list[float]]] = {}
    seconds: dict[str, float] = {}
    for case, truth in cases(asked.corpora, "dev"):
        if truth.light != "even":
            continue
        body = predict_body(case.photo, net=net)
        maps = body_maps(body.field, SIX_VIEWS)
        views = Views(np.ones((*maps.mask.shape, 3), np.float32), maps.normal, maps.mask, SIX_VIEWS)
        meshes = {"body": isosurface(body.field, smoothing=0.5)}
        for name, prior in (("fit from the hull", None), ("fit from the body", body)):
            began = time.process_time()
            surface = reconstruct(views, options=ReconstructOptions(), body=prior)
            seconds[name] = seconds.get(name, 0) + time.process_time() - began
            meshes[name] = isosurface(surface.sdf, smoothing=0.5)
        vertices, faces = meshes["fit from the body"]
        meshes["the same, faired"] = faired(vertices, faces, 2 / (surface.sdf.shape[0] - 1)), faces
        for name, mesh in meshes.items():
            figures = shape_figures(case, mesh, shift=True)
            rows.setdefault(name, []).append([*(figures[f] for f in FIGURES[:-1]), angle(mesh, case.truth)])
        print(case.id, {name: [round(v, 3) for v in found[-1]] for name, found in rows.items()}, flush=True)
    base = np.array(rows["body"])
    print("| |", " | ".join(FIGURES), "| CPU s |")
    for name, found in rows.items():
        gains = [interval((np.array(found) - base)[:, k]) for k in range(len(FIGURES))]
        cells = [f"{m:.3f} ({g:+.3f} +- {w:.3f})" for m, (g, w) in zip(np.mean(found, axis=0), gains, strict=True)]
        print(f"| {name} |", " | ".join(cells), f"| {seconds.get(name, 0) / len(found):.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--bundle", type=Path, default=Path("weights/mini"))
    main(parser.parse_args())

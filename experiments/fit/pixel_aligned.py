"""What of the decoded views helps the final fit: `python -m experiments.fit.pixel_aligned CORPORA... --weight 1`.

On `dev`: each scan once, alternately level and from 20 degrees above, evenly lit. Views are generated from the photo
(--from body: the bundle's shape first; --from noise: no body at all), decoded across each other and one by one, and the
final fit reads one thing more of them. Means of F-scores, outline IoU, the median angle of normals in the six views and
the PSNR of the five unseen ones, with paired intervals against the first row, and CPU seconds of a fit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from experiments.shape.dev import case_of
from experiments.shape.fits import angle
from img2mv3d.bundles.decoders import choose
from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.data.corpus import load_solid
from img2mv3d.data.splits import ids
from img2mv3d.eval.comparison import Case, interval
from img2mv3d.eval.conditions import latents_of
from img2mv3d.eval.protocol import LISTED_PITCHES
from img2mv3d.eval.scores import shape_figures
from img2mv3d.files.contents import decode_normals, to_bytes
from img2mv3d.geometry.masks import view_masks
from img2mv3d.geometry.similarity import psnr
from img2mv3d.mesh.extract import isosurface
from img2mv3d.neus.fit import FINAL, fit
from img2mv3d.plans import DecodeOptions, DepthOptions
from img2mv3d.stages.body import predict_body
from img2mv3d.stages.decode import decode
from img2mv3d.stages.depth import body_views, decoded_normals, fit_depth, plain_views, seen_depth
from img2mv3d.stages.reconstruct import targets
from img2mv3d.values import Body, Views

FIGURES = ("f_02", "f_05", "outline_iou", "normal_deg", "psnr")
BASE = "nothing of the decoder"


class Read(NamedTuple):
    """What a fit reads. weight: of the colours."""

    views: Views
    weight: float = 0.0


def variants(
    case: Case, bundle: Bundle, begins: str, weights: list[float], second: bool
) -> tuple[dict[str, Read], Body | None]:
    """By name, BASE first, and the body."""
    body = predict_body(case.photo, net=bundle.shape()) if begins == "body" else None
    latents = latents_of(case.photo, bundle.generator(), bundle.framing_px, body=body)
    plain = bundle.plain_decoder()
    if body is None:
        views = plain_views(latents, decoder=plain, revolution_prior=bundle.revolution_prior(latents))
    else:
        views = body_views(latents, body, decoder=plain)
    depth = fit_depth(views, options=DepthOptions(), body=body)
    told = {"decoder": choose("crossview", bundle).make(), "body": body}
    across = decode(latents, depth, options=DecodeOptions(decode_normals=True), **told)
    alone = decode(latents, depth, options=DecodeOptions(decoder="plain"), **told)
    base = replace(across, normal=views.normal)
    coded = decoded_normals(latents, plain)
    plainly = replace(base, normal=decode_normals(to_bytes(coded), base.mask))
    outlines = view_masks(across.color, coded, base.mask[0])
    normal = base.normal * (outlines[..., None] > 0)
    found = {
        BASE: Read(base),
        "normals across": Read(across),
        **({} if body is None else {"normals plain": Read(plainly)}),
        "outlines of decoded views": Read(replace(base, mask=outlines, normal=normal)),
    }
    if second:
        again = seen_depth(fitted(Read(base, weights[0]), body), depth.plain)
        views = decode(latents, again, options=DecodeOptions(), **told)
        found["second pass"] = Read(replace(base, color=views.color), weights[0])
    for weight in weights:
        found[f"colours across, {weight:g}"] = Read(base, weight)
        found[f"colours plain, {weight:g}"] = Read(replace(base, color=alone.color), weight)
    return found, body


def fitted(read: Read, body: Body | None) -> np.ndarray:
    """The final fit's field."""
    told = targets(read.views, body)
    options = replace(FINAL, color_weight=read.weight)
    return fit(told.normal, told.mask, read.views.rig, options, prior=told.prior, color=read.views.color).sdf


def chosen(corpora: list[Path], first: int, count: int) -> Iterator[Case]:
    """Every scan once, from `first` on, up to number `count`."""
    for number, name in list(enumerate(sorted(ids("dev"))))[first:count]:
        path = next(p for c in corpora if (p := c / "objects" / f"{name}.npz").exists())
        yield case_of(name, load_solid(path), LISTED_PITCHES[number % 2], "even", "dev")[0]


def main(asked: argparse.Namespace) -> None:
    """Print a table."""
    torch.set_num_threads(1)
    bundle = load_bundle(asked.bundle)
    rows: dict[str, list[list[float]]] = {}
    for case in chosen(asked.corpora, asked.first, asked.count):
        reads, body = variants(case, bundle, asked.begins, asked.weight, asked.second)
        for name, read in reads.items():
            began = time.process_time()
            field = fitted(read, body)
            seconds = time.process_time() - began
            mesh = isosurface(field, smoothing=0.5)
            figures = dict(shape_figures(case, mesh, shift=True))
            figures["normal_deg"] = angle(mesh, case.truth)
            pairs = zip(read.views.color[1:], case.truth.color[1:], strict=True)
            figures["psnr"] = float(np.mean([psnr(*pair) for pair in pairs]))
            rows.setdefault(name, []).append([*(figures[f] for f in FIGURES), seconds])
        print(case.id, {name: [round(v, 3) for v in found[-1]] for name, found in rows.items()}, flush=True)
    base = np.array(rows[BASE])
    print("| |", " | ".join(FIGURES), "| CPU s |")
    for name, found in rows.items():
        gains = [interval((np.array(found) - base)[:, k]) for k in range(len(FIGURES))]
        means = np.mean(found, axis=0)
        cells = [f"{m:.3f} ({g:+.4f} +- {w:.4f})" for m, (g, w) in zip(means, gains, strict=False)]
        print(f"| {name} |", " | ".join(cells), f"| {means[-1]:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--bundle", type=Path, default=Path("weights/mini"))
    parser.add_argument("--from", dest="begins", choices=("body", "noise"), default="body")
    parser.add_argument("--weight", type=float, nargs="*", default=[1.0])
    parser.add_argument("--second", action="store_true", help="and of views that were decoded twice")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=12)
    main(parser.parse_args())

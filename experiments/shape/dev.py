"""Bodies of shape networks against the truth: `python -m experiments.shape.dev CORPORA... --bundle weights/mini`.

The twelve scans of `dev`, each level and from 20 degrees above, evenly lit and shaded, the body exported directly,
after the best shift along the line of sight. One line a bundle: F-scores, outline IoU, error of the extent's logarithm
and of the elevation; then each less the first one, with 95 % intervals. `--objects 60` takes that many others instead.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.shape.photos import chosen
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.data.mirrors import mirror_shares, seen_shares
from img2mv3d.data.scene import EVEN_LIGHT, place, random_light, render
from img2mv3d.data.shape_pictures import turned_by
from img2mv3d.data.splits import ids
from img2mv3d.eval.comparison import Case, interval
from img2mv3d.eval.objects import first_surface, front_photo, views_of
from img2mv3d.eval.protocol import FRAMING_PX, LISTED_PITCHES
from img2mv3d.eval.scores import shape_figures
from img2mv3d.files.contents import encode_normals, to_bytes
from img2mv3d.geometry.symmetry import TURNS
from img2mv3d.mesh.extract import isosurface
from img2mv3d.nets.shape import ShapeNet
from img2mv3d.stages.body import predict_body

LIGHTS = ("even", "shaded")
FIGURES = ("f_02", "f_05", "f_10", "outline_iou", "chamfer", "log_ratio", "pitch")


class Truth(NamedTuple):
    """pitch: of the camera, degrees. light: one of LIGHTS. ratio: extent in depth over the long side. facing_deg: of
    the best mirror plane, as `predict_body` takes it."""

    pitch: float
    light: str
    ratio: float
    facing_deg: float


def cases(
    corpora: list[Path], split: str, pitches: Sequence[float] = LISTED_PITCHES, lights: Sequence[str] = LIGHTS
) -> Iterator[tuple[Case, Truth]]:
    """Each case with what is known of it."""
    for name in sorted(ids(split)):
        path = next((p for c in corpora if (p := c / "objects" / f"{name}.npz").exists()), None)
        if path is None:
            continue
        solid = load_solid(path)
        for pitch in pitches:
            for kind in lights:
                yield case_of(name, solid, pitch, kind, split)


def one_each(corpora: list[Path], count: int) -> Iterator[tuple[Case, Truth]]:
    """A picture of each of so many held-out objects of neither `dev` nor `test`, by chance: level and from above,
    evenly lit and shaded by turns."""
    known = ((n, p) for n in chosen("unseen") for c in corpora if (p := c / "objects" / f"{n}.npz").exists())
    for i, (name, path) in enumerate(islice(known, count)):
        pitch, kind = LISTED_PITCHES[i % len(LISTED_PITCHES)], LIGHTS[i // len(LISTED_PITCHES) % len(LIGHTS)]
        yield case_of(name, load_solid(path), pitch, kind, "unseen")


def case_of(name: str, solid: Solid, pitch: float, kind: str, split: str) -> tuple[Case, Truth]:
    """One object from so many degrees above, in one of LIGHTS."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {pitch:g}".encode()))
    yaw = float(rng.uniform(0, 360))
    pose = turned_by(yaw, pitch)
    light = EVEN_LIGHT if kind == "even" else random_light(rng)
    seen = render(solid, pose, FRAMING_PX, light, rng)
    truth = views_of(seen.color, to_bytes(seen.mask), encode_normals(seen.normal, seen.mask))
    placed = place(solid.vertices, pose, FRAMING_PX)[0]
    width, height, depth = np.ptp(placed, axis=0)
    case = Case(
        f"{name}@{pitch:g} {kind}",
        split,
        front_photo(seen.color, seen.mask),
        truth,
        first_surface(seen, truth),
        (placed, solid.faces),
    )
    shares = seen_shares(mirror_shares(solid.vertices, solid.faces), yaw)
    return case, Truth(pitch, kind, float(depth / max(width, height)), -float(TURNS[shares.argmax()]))


def figures(case: Case, net: ShapeNet, truth: Truth, told: bool, faced: bool) -> dict[str, float]:
    """FIGURES of one case."""
    known = {"depth_ratio": truth.ratio} if told else {}
    known |= {"facing_deg": truth.facing_deg} if faced else {}
    body = predict_body(case.photo, net=net, **known)
    found = dict(shape_figures(case, isosurface(body.field), shift=True))
    found["log_ratio"] = abs(float(np.log(body.depth_ratio / truth.ratio)))
    found["pitch"] = abs(body.pitch_deg - truth.pitch)
    return found


def main(asked: argparse.Namespace) -> None:
    """Print a table."""
    nets = {str(path): load_bundle(path).shape() for path in asked.bundle}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in nets}
    measured = one_each(asked.corpora, asked.objects) if asked.objects else cases(asked.corpora, asked.split)
    for case, truth in measured:
        if truth.light not in asked.light:
            continue
        for name, net in nets.items():
            about = {"pitch_deg": truth.pitch, "light": truth.light}
            rows[name].append(about | figures(case, net, truth, asked.told, asked.faced))
    print(
        "| |", " | ".join(FIGURES), "|", " | ".join(f"f_05 {p:g} {k}" for p in LISTED_PITCHES for k in asked.light), "|"
    )
    for name, found in rows.items():
        means = [np.mean([row[f] for row in found]) for f in FIGURES[:-1]] + [np.median([r["pitch"] for r in found])]
        parts = [
            np.mean([row["f_05"] for row in found if (row["pitch_deg"], row["light"]) == (p, k)])
            for p in LISTED_PITCHES
            for k in asked.light
        ]
        print(f"| {name} |", " | ".join(f"{v:.3f}" for v in (*means, *parts)), "|", flush=True)
    first, *others = rows
    for name in others:
        pairs = [[b[f] - a[f] for a, b in zip(rows[first], rows[name], strict=True)] for f in FIGURES]
        gains = " | ".join("{:+.4f} +- {:.4f}".format(*interval(np.array(pair))) for pair in pairs)
        print(f"| {name} less {first} | {gains} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--bundle", type=Path, nargs="+", default=[Path("weights/mini")])
    parser.add_argument("--split", default="dev")
    parser.add_argument("--objects", type=int, default=0, help="instead of a split: one picture of so many others")
    parser.add_argument("--light", nargs="+", choices=LIGHTS, default=LIGHTS)
    parser.add_argument("--told", action="store_true", help="the true extent in depth is told")
    parser.add_argument("--faced", action="store_true", help="the true mirror plane is told")
    main(parser.parse_args())

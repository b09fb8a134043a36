"""What of the training set could stand for a network: its nearest object, and the average of all of them.

`python -m experiments.baselines MESHES DATA --bundle mini --count 30 -o FOLDER` compares a bundle with both, and with
the photo copied to all sides.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.data.renders import RenderSet, Sample
from img2mv3d.eval import objects
from img2mv3d.eval.comparison import Case, Method, Result, paired_table, run
from img2mv3d.eval.methods import copied, photo_methods, white
from img2mv3d.eval.objects import views_of
from img2mv3d.eval.own_surface import OwnSurface
from img2mv3d.eval.scores import CONSISTENCY, VIEWS
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.neus.fit import QUICK
from img2mv3d.values import Views

THUMB = 64  # px to which photos are shrunk to find the nearest


def nearest(sets: RenderSet, names: Sequence[str]) -> Callable[[Case], Result]:
    """The views of the training set whose photo looks most like the case's (least squares, RGB and alpha)."""
    fronts = np.stack([_thumb(sets.load(name).photo) for name in names])

    def make(case: Case) -> Result:
        found = ((fronts - _thumb(case.photo)) ** 2).sum(axis=(1, 2, 3)).argmin()
        return Result(_views(sets.load(names[int(found)])))

    return make


def average(sets: RenderSet, names: Sequence[str]) -> Callable[[Case], Result]:
    """The mean of all training views, the same for every photo."""
    total: list[np.ndarray] = []
    for name in names:
        views = _views(sets.load(name))
        assert views.normal is not None
        parts = [part.astype(np.float64) for part in (views.color, views.normal, views.mask)]
        total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
    color, normal, mask = (part / max(len(names), 1) for part in total)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    normal = np.where(mask[..., None] >= 0.5, normal / np.maximum(length, 1e-6), 0)
    mean = Views(*(p.astype(np.float32) for p in (color, normal, mask)), SIX_VIEWS)
    return lambda case: Result(mean)


def _views(sample: Sample) -> Views:
    return views_of(sample.color.astype(np.float32) / 255, sample.mask, sample.normal)


def _thumb(photo: UInt8[np.ndarray, "H W 4"]) -> Float[np.ndarray, "h w 4"]:
    color, alpha = white(photo)
    return cv2.resize(np.concatenate([color, alpha[..., None]], -1), (THUMB, THUMB), interpolation=cv2.INTER_AREA)


def main(arguments: Sequence[str] | None = None) -> None:
    """The table on stdout and in FOLDER/baselines.md, its rows in FOLDER/baselines.tsv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", default="mini")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("-o", "--out", type=Path, default=Path("baselines"))
    options = parser.parse_args(arguments)
    bundle, sets = load_bundle(options.bundle), RenderSet(options.data)
    names = sets.names("train")
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    methods = photo_methods(options.bundle, [])
    methods["photo copied"] = Method(lambda case: Result(copied(case.photo)), "copied")
    methods["nearest training object"] = Method(nearest(sets, names), digest)
    methods["average of training"] = Method(average(sets, names), digest)
    cases = objects.planned(options.meshes, options.count, bundle.framing_px)
    metrics = (VIEWS, CONSISTENCY, OwnSurface().shape(QUICK))
    table = paired_table(run(methods, cases, metrics, options.out / "baselines.tsv"), options.bundle)
    (options.out / "baselines.md").write_text(table, encoding="utf-8")
    print(table)


if __name__ == "__main__":
    main()

"""The two tables of methods that see one photo: their views, and their surface.

In: a corpus, names of methods. Out: what `comparison.run` takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.eval import objects
from img2mv3d.eval.comparison import TRUTH, Method, Metric, Planned, Result
from img2mv3d.eval.methods import copied, photo_methods
from img2mv3d.eval.own_surface import OwnSurface
from img2mv3d.eval.scores import CONSISTENCY, VIEWS

Planning = tuple[dict[str, Method], Iterator[Planned], list[Metric], str]


def planned(what: str, meshes: Path, bundle: str, given: list[str], count: int) -> Planning:
    """Methods, photographed objects, metrics, and the method that the others are compared with. what: "views", or
    "mesh" as a surface."""
    cases = objects.planned(meshes, count, load_bundle(bundle).framing_px)
    if what == "views":
        extra = {"photo copied": Method(lambda case: Result(copied(case.photo)), "copied")}
        methods = photo_methods(bundle, given)
        return methods | extra, cases, [VIEWS, CONSISTENCY], next(reversed(methods))
    extra = {TRUTH: Method(lambda case: Result(case.truth), "truth")}
    methods = photo_methods(bundle, given)
    return methods | extra, cases, [OwnSurface().shape(shift=True)], next(reversed(methods))

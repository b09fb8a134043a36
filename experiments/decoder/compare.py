"""`python -m experiments.decoder.compare DATA --method NAME=FOLDER --more --soften NAME --zooms 4`: decoders and
variants.

As `img2mv3d eval consistency`, which knows shipped networks alone; on top: parts switched off, true depth, a second
pass, pairs at equal sharpness, sheets of enlargements.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.decoder.equal_sharpness import as_soft_as, sharpness_by_view
from experiments.decoder.train import NOTES, WEIGHTS
from experiments.decoder.train import load as load_variant
from experiments.decoder.zoom_sheets import write_sheets
from img2mv3d.bundles.weights import Bundle, load_bundle
from img2mv3d.eval.comparison import TRUTH, Case, Method, Result, Row, paired_table, run
from img2mv3d.eval.conditions import planned
from img2mv3d.eval.methods import PLAIN, crossview_pictures, decoder_method, decoders, named
from img2mv3d.eval.scores import CONSISTENCY, VIEWS
from img2mv3d.nets.crossview import CrossViewDecoder
from img2mv3d.plans import DepthOptions
from img2mv3d.stages.depth import fit_depth

SOFTER = ", as soft as "  # between the names of a method that was blurred and of the one that it is now as soft as
SWITCHES: Mapping[str, dict[str, Callable]] = {  # methods of the network that then add nothing
    "attention off": {"attend": lambda i, x, level, jitter: x},
    "front pyramid off": {"add_front": lambda x, features: x},
    "photo warp off": {"add_warped": lambda x, warped: x, "blend_warped": lambda picture, features, warped: picture},
}


def all_methods(bundle: Bundle, name: str, given: Sequence[str], more: bool = False) -> dict[str, Method]:
    """Those of `eval consistency`, and every cross-view decoder with its attention off.

    given: "NAME=BUNDLE" or "NAME=FOLDER" of `experiments.decoder.train`.
    more: each also with its other parts off, with the true depth (and masks), and in a second pass.
    """
    methods = {k: v for k, v in decoders(bundle, name, []).items() if k in (TRUTH, PLAIN, "multi-view blending")}
    for called, source in named(given or [f"cross-view={name}"]).items():
        net, digest = loaded(source)
        methods[called] = decoder_method(crossview_pictures(net), digest)
        for part in SWITCHES if more else list(SWITCHES)[:1]:
            methods[f"{called}, {part}"] = decoder_method(without(net, part), digest)
        if more:
            methods[f"{called}, true depth"] = with_true_depth(methods[called])
            methods[f"{called}, true depth and masks"] = with_true_depth(methods[called], masks=True)
            methods[f"{called}, second pass"] = second_pass(methods[called])
    return methods


def loaded(source: str) -> tuple[CrossViewDecoder, str]:
    """A decoder and its digest, of a bundle or of a variant's folder."""
    folder = Path(source)
    if (folder / NOTES).is_file():
        return load_variant(folder), hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    bundle = load_bundle(source)
    return bundle.crossview_decoder(), bundle.digest


def without(net: CrossViewDecoder, part: str) -> Callable[[Case], Tensor]:
    """The decoder with one of SWITCHES off; it is as it was afterwards."""
    pictures = crossview_pictures(net)

    def decode(case: Case) -> Tensor:
        vars(net).update(SWITCHES[part])
        try:
            return pictures(case)
        finally:
            for name in SWITCHES[part]:
                del vars(net)[name]

    return decode


def with_true_depth(method: Method, masks: bool = False) -> Method:
    """The same, told the true depth where the object is, and, if asked for, its true masks."""

    def make(case: Case) -> Result | None:
        assert case.depth is not None
        solid = case.truth.mask >= 0.5
        changes = (
            {"z": case.z, "hit": solid.astype(np.float32)} if masks else {"z": np.where(solid, case.z, case.depth.z)}
        )
        return method.make(replace(case, depth=replace(case.depth, **changes)))

    return Method(make, method.digest)


def second_pass(method: Method) -> Method:
    """The same once more, with the depth of a coarse fit to what it made first; once only where depth is exact."""

    def make(case: Case) -> Result | None:
        first = method.make(case)
        if case.condition == "clean" or first is None or first.views is None:
            return first
        return method.make(replace(case, depth=fit_depth(first.views, options=DepthOptions())))

    return Method(make, method.digest)


def softened_to(method: Method, other: Method) -> Method:
    """A method whose views are blurred, each as little as brings it down to the other's sharpness."""

    def make(case: Case) -> Result | None:
        one, two = method.make(case), other.make(case)
        if one is None or two is None:
            return None
        hit = (case.truth.mask >= 0.5).astype(np.float32)
        return Result(one.views, as_soft_as(one.colors, hit, sharpness_by_view(two.colors, hit)))

    return Method(make, f"{method.digest} {other.digest}")


def at_equal_sharpness(methods: Mapping[str, Method], name: str) -> dict[str, Method]:
    """Two more methods a pair of `name` and each other one: each as soft as the other."""
    others = [other for other in methods if other not in (TRUTH, name)]
    pairs = [pair for other in others for pair in ((name, other), (other, name))]
    return {f"{a}{SOFTER}{b}": softened_to(methods[a], methods[b]) for a, b in pairs}


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """The table on stdout; rows and table in FOLDER/ablation.tsv and .md, sheets in FOLDER/zooms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--bundle", default="mini", help="whose encoder, denoiser and plain decoder")
    parser.add_argument("--method", action="append", default=[], metavar="NAME=BUNDLE|FOLDER")
    parser.add_argument("--condition", action="append", choices=("clean", "perturbed"))
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--soften", metavar="NAME")
    parser.add_argument("--zooms", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("ablation"))
    options = parser.parse_args(arguments)
    bundle, conditions = load_bundle(options.bundle), options.condition or ["clean", "perturbed"]
    methods = all_methods(bundle, options.bundle, options.method, options.more)
    with torch.no_grad():
        cases = planned(bundle, options.data, options.zooms, conditions)
        write_sheets(cases, methods, options.out / "zooms")
    if options.soften:
        methods |= at_equal_sharpness(methods, options.soften)
    cases = planned(bundle, options.data, options.count, conditions)
    rows = run(methods, cases, [VIEWS, CONSISTENCY], options.out / "ablation.tsv")
    table = paired_table(rows, PLAIN)
    (options.out / "ablation.md").write_text(table, encoding="utf-8")
    print(table)
    return rows


if __name__ == "__main__":
    main()

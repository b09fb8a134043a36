"""Paired tables of methods: differences object by object, bold only when the interval excludes zero."""

import numpy as np

from experiments.decoder.ablation import at_equal_sharpness, bold, less
from img2mv3d.eval.comparison import Row

FIGURES = ("psnr_front", "psnr_mask", "psnr_45", "psnr_90", "psnr_back", "inliers", "matches", "sharpness")


def row(name: str, method: str, error: float, condition: str = "perturbed") -> Row:
    return Row(name, condition, method, dict.fromkeys(FIGURES, 1.0) | {"reprojection": error})


def cells(table: str) -> dict[str, list[str]]:
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_a_difference_is_bold_when_its_interval_excludes_zero():
    assert bold(np.array([1.0, 1.1, 0.9]), 2) == "**+1.00 +- 0.11**"
    assert bold(np.array([1.0, -1.0, 0.3]), 1) == "+0.1 +- 1.1"


def test_methods_are_compared_object_by_object_on_what_both_have():
    rows = [row("a", "ours", 0.1), row("b", "ours", 0.5), row("c", "ours", 0.9)]
    rows += [row("b", "other", 0.6), row("a", "other", 0.2), row("a", "x", 9.0, "clean")]
    found = cells(less(rows, "perturbed", "ours"))
    column = found["method less ours"].index("reprojection")
    assert list(found) == ["method less ours", "---", "*ours itself*", "other"]
    assert found["*ours itself*"][column] == "0.5000" and found["other"][column] == "**+0.1000 +- 0.0000**"


def test_at_equal_sharpness_both_sides_of_a_pair_are_the_softened_ones():
    rows = [row(i, "other, as soft as ours", w) for i, w in (("a", 0.3), ("b", 0.5))]
    rows += [row(i, "ours, as soft as other", w) for i, w in (("a", 0.2), ("b", 0.4))]
    rows += [row(i, method, 9.0) for i in "ab" for method in ("ours", "other")]
    found = cells(at_equal_sharpness(rows, "ours"))
    assert found["other"] == ["1.00", "0.4000", "0.3000", "**+0.1000 +- 0.0000**", "+0.00 +- 0.00"]

"""Paired tables of arms: differences object by object, bold only when the interval excludes zero."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.decoder.ablation import at_equal_sharpness, less, paired
from img2mv3d.eval.consistency import Record, load_records

DOCS = Path(__file__).parents[2] / "docs"


def record(name: str, arm: str, warp: float) -> Record:
    return replace(Record(name, "spoilt", arm, *[1.0] * 10), warp=warp)


def cells(table: str) -> dict[str, list[str]]:
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines()]
    return {row[0]: row[1:] for row in rows}


def test_a_difference_is_bold_when_its_interval_excludes_zero():
    assert paired(np.array([1.0, 1.1, 0.9]), 2) == "**+1.00 +- 0.11**"
    assert paired(np.array([1.0, -1.0, 0.3]), 1) == "+0.1 +- 1.1"


def test_arms_are_compared_object_by_object_on_what_both_have():
    rows = [record("a", "ours", 0.1), record("b", "ours", 0.5), record("c", "ours", 0.9)]
    rows += [record("b", "other", 0.6), record("a", "other", 0.2), replace(record("a", "x", 9.0), setting="exact")]
    found = cells(less(rows, "spoilt", "ours"))
    warp = found["arm less ours"].index("warp")
    assert list(found) == ["arm less ours", "---", "*ours itself*", "other"]
    assert found["*ours itself*"][warp] == "0.5000" and found["other"][warp] == "**+0.1000 +- 0.0000**"


def test_at_equal_sharpness_both_sides_of_a_pair_are_the_softened_ones():
    rows = [record(i, "other, as soft as ours", w) for i, w in (("a", 0.3), ("b", 0.5))]
    rows += [record(i, "ours, as soft as other", w) for i, w in (("a", 0.2), ("b", 0.4))]
    rows += [record(i, arm, 9.0) for i in "ab" for arm in ("ours", "other")]
    found = cells(at_equal_sharpness(rows, "ours"))
    assert found["other"] == ["1.00", "0.4000", "0.3000", "**+0.1000 +- 0.0000**", "+0.00 +- 0.00"]


@pytest.mark.parametrize("setting", ["spoilt", "exact"])
def test_the_tables_of_the_page_are_those_of_the_records(setting: str):
    page, records = (DOCS / "decoder.md").read_text(), load_records(DOCS / "ablation.tsv")
    there = cells(page.split(f"\n{setting}:\n\n")[1].split("\n\n")[0])
    arms = list(there)[3:]
    assert len(arms) > 10 and cells(less(records, setting, "ours", arms)) == there


def test_the_pages_table_at_equal_sharpness_is_that_of_the_records():
    page, records = (DOCS / "decoder.md").read_text(), load_records(DOCS / "equal_sharpness.tsv")
    there = cells(page.split("\nAt equal sharpness")[1].split("\n\n")[1])
    assert cells(at_equal_sharpness(records, "ours", list(there)[2:])) == there

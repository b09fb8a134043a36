"""The framework: what is known is not made again, pairs are compared on the objects that both have, files come back."""

from pathlib import Path

import numpy as np
import pytest

from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.comparison import (
    NOTHING,
    Case,
    Method,
    Metric,
    Planned,
    Result,
    Row,
    interval,
    load_rows,
    paired_table,
    run,
    save_rows,
)
from tests.patterned import patterned_ball

BRIGHT = Metric(("bright", "dark"), lambda case, result: {"bright": float(result.colors.mean())})
SILENT = {"report": lambda line: None}


def rows(method: str, *values: float, name: str = "figure", condition: str = "clean") -> list[Row]:
    return [Row(i, condition, method, {name: float(v)}) for i, v in zip("abcdef", values, strict=False)]


def shown(asked: list[str], name: str, digest: str = "1") -> Method:
    def make(case: Case) -> Result:
        asked.append(name)
        return Result(case.truth)

    return Method(make, digest)


def test_what_is_known_is_not_made_again_and_other_weights_are(tmp_path: Path):
    asked: list[str] = []
    cases = [Planned("ball", "clean", "x", lambda: asked.append("case") or patterned_ball())]
    path = tmp_path / "rows.tsv"
    methods = {"one": shown(asked, "one"), "two": shown(asked, "two")}
    first = run(methods, cases, [BRIGHT], path, **SILENT)
    assert asked == ["case", "one", "two"] and np.isnan(first[0].figures["dark"])
    again = run(methods, cases, [BRIGHT], path, **SILENT)
    assert len(asked) == 3 and [r.method for r in again] == ["one", "two"]
    assert again[0].figures["bright"] == first[0].figures["bright"]  # to the last digit: tables are the same
    run(methods | {"one": shown(asked, "one", "2")}, cases, [BRIGHT], path, **SILENT)
    assert asked[3:] == ["case", "one"]
    assert run(methods, cases, [BRIGHT], path, **SILENT) and len(asked) == 5  # nothing was lost
    more = Metric(("more",), lambda case, result: {"more": 1.0})
    found = run(methods, cases, [BRIGHT, more], path, **SILENT)
    assert asked[5:] == ["case", "one", "two"] and {"bright", "more"} <= set(found[0].figures)


def test_a_method_without_a_result_has_no_row(tmp_path: Path):
    def fails(case: Case) -> Result:
        raise NothingFoundError("no object")

    said: list[str] = []
    methods = {"nobody": Method(lambda case: None), "fails": Method(fails)}
    cases = [Planned("ball", "clean", "", patterned_ball)]
    assert run(methods, cases, [BRIGHT], report=said.append) == []
    assert said[:2] == ["ball: nothing of nobody", "ball, fails: no object"]


def test_the_table_compares_methods_on_the_objects_that_all_have():
    text = paired_table([*rows("plain", 1, 2, 9), *rows("new", 2, 3)], "plain")
    assert "clean, 2 objects" in text and "2.50 (+1.00 +- 0.00)" in text


def test_a_column_compares_objects_of_which_all_that_know_it_have_it():
    own = [*rows("plain", 1, 5, name="late"), *rows("new", NOTHING, 6, name="late"), *rows("old", 0, 0, name="early")]
    lines = {line.split("|")[1].strip(): line for line in paired_table(own, "plain").splitlines() if line[:1] == "|"}
    assert lines["plain"] == "| plain | 5.00 | - |" and lines["new"] == "| new | 6.00 | - |"
    assert lines["old"] == "| old | - | 0.00 |"


def test_columns_are_those_that_were_asked_for():
    text = paired_table([Row("a", "clean", "x", {"psnr": 1.0, "iou": 0.5, "none": NOTHING})], "x", ["iou", "none"])
    assert "| method | iou |" in text


def test_the_interval_is_that_of_a_mean():
    mean, half = interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(1.96 / np.sqrt(3))
    assert np.isnan(interval([1.0])[1])


def test_rows_survive_a_file(tmp_path: Path):
    one = [Row("a", "clean", "x", {"psnr": 1.5, "iou": 0.25}, "abc"), Row("b", "clean", "x", {"psnr": 2.0}, "abc")]
    save_rows(tmp_path / "rows.tsv", one)
    assert load_rows(tmp_path / "rows.tsv") == one


def test_files_of_the_first_version_are_read_in_todays_words(tmp_path: Path):
    (tmp_path / "old.tsv").write_text(
        "id\tsetting\tarm\tpsnr_others\twarp\tagreeing\na\tspoilt\tplain, blended\t1\t2\t3\n"
    )
    (row,) = load_rows(tmp_path / "old.tsv")
    assert (row.condition, row.method, row.made_by) == ("perturbed", "multi-view blending", "")
    assert row.figures == {"psnr_mask": 1, "reprojection": 2, "inliers": 3}

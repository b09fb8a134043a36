"""Tables say what the records say."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from experiments.fit.records import Record, by_method, load, table

PLAIN = dict(
    iou=0.99, z_mean=0.02, z_median=0.004, normal_deg=5.0, f_01=0.8, f_02=0.9, f_05=0.97, f_01_seen=0.85,
    f_02_seen=0.95, f_01_unseen=0.5, f_02_unseen=0.6, missing_seen=0.4, missing_unseen=2.0, closed=True,
    exported_iou=0.98, source="neus", cpu_s=4.0, wall_s=5.0, peak_mb=200.0,
)  # fmt: skip


def record(name: str, method: str, **other) -> Record:
    return Record(id=name, method=method, **{**PLAIN, **other})


def test_means_stand_before_medians_and_methods_in_their_order() -> None:
    records = [record(n, m, f_01=f) for n, fs in (("a", (0.2, 0.6)), ("b", (0.4, 0.7)), ("c", (0.9, 0.8)))
               for m, f in zip(("quick", "final"), fs, strict=True)]  # fmt: skip
    assert list(by_method(records)) == ["quick", "final"]
    text = table(records)
    assert "0.500 / 0.400" in text and "0.700 / 0.700" in text and text.index("| quick |") < text.index("| final |")


def test_gains_are_paired_by_object_and_not_by_place() -> None:
    hull = [record("a", "hull", f_01=0.1, z_mean=0.04), record("b", "hull", f_01=0.5, z_mean=0.08)]
    quick = [record("b", "quick", f_01=0.6, z_mean=0.02), record("a", "quick", f_01=0.2, z_mean=0.02)]
    line = next(line for line in table([*hull, *quick]).splitlines() if line.startswith("| quick - hull |"))
    assert "+0.100 +- 0.000" in line and "2 of 2" in line and "0.38" in line


def test_objects_of_thin_plates_have_their_own_table_only_if_there_are_some() -> None:
    assert "thin level plates" not in table([record("a", "final", thin_share=0.05)])
    text = table([record("a", "final", thin_share=0.05, f_02=0.9), record("b", "final", thin_share=0.4, f_02=0.3)])
    assert "0.300 / 0.300" in text.partition("thin level plates")[2]


def test_fits_that_fell_back_are_counted_and_the_hull_s_are_not() -> None:
    text = table([record("a", "hull", source="hull"), record("a", "final", source="hull"), record("b", "final")])
    final = next(line for line in text.splitlines() if line.startswith("| final |"))
    hull = next(line for line in text.splitlines() if line.startswith("| hull |"))
    assert final.endswith("| 2 | 1 |") and hull.endswith("| 1 |  |")


def test_records_come_back_and_those_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "reconstruction.json"
    path.write_text(json.dumps([asdict(record("a", "final"))]))
    assert load(path) == [record("a", "final")]
    path.write_text(json.dumps([{"id": "a", "method": "final", "iou": 1.0}]))
    with pytest.raises(ValueError, match="measure again"):
        load(path)

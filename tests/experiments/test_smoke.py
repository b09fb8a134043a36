"""Every module of experiments/ can be imported, and its records be read."""

import importlib
from pathlib import Path

import pytest

from img2mv3d.eval.comparison import load_rows

ROOT = Path(__file__).parents[2]
MODULES = sorted(p for p in (ROOT / "experiments").rglob("*.py") if p.name != "__init__.py")
RECORDS = sorted((ROOT / "experiments" / "records").glob("*.tsv.gz"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_every_module_is_imported(path: Path) -> None:
    assert importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)).__doc__


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: p.name)
def test_records_are_read_in_todays_words(path: Path) -> None:
    rows = load_rows(path)
    assert rows and {r.condition for r in rows} <= {"clean", "perturbed", "generated"} and rows[0].figures


def test_the_report_tells_what_the_records_say() -> None:
    rows = load_rows(ROOT / "experiments" / "records" / "ablation.tsv.gz")
    mine = [r.figures for r in rows if (r.condition, r.method) == ("perturbed", "shipped")]
    mean = sum(f["reprojection"] for f in mine) / len(mine)
    assert len(mine) == 60 and f"| **shipped** | {mean:.4f} |" in (
        ROOT / "experiments" / "reports" / "cross-view-decoder.md"
    ).read_text(encoding="utf-8")

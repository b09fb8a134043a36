"""Benchmarks: what is written is what was measured, in the order in which it was."""

from pathlib import Path

from experiments.benches.runs import Row, attention, machine, write


def test_the_report_shows_every_row_with_its_budget(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "b.md", {"A": [Row("x", "1.0 s", "2 s")], "B": [Row("y", "3 MB")]}, "Here.")
    text = (tmp_path / "docs" / "b.md").read_text()
    assert "| x | 1.0 s | 2 s |" in text and "| y | 3 MB |  |" in text and text.index("## A") < text.index("## B")


def test_truncated_and_full_attention_are_measured_side_by_side() -> None:
    truncated, full, ratio = attention(size=16, width=32, repeats=1)
    assert "7 points" in truncated.what and "16 points" in full.what and ratio.budget == ">= 4x each"


def test_the_machine_is_told() -> None:
    assert "cores" in machine() and "torch" in machine()

"""Which held-out objects are taken, and that no case is made for nothing."""

from pathlib import Path

from img2mv3d.data.renders import RenderSet
from img2mv3d.eval.cases import Case, held_out, only
from tests.patterned import patterned_ball


def test_held_out_objects_come_once_each_and_everyday_ones_first(tmp_path: Path):
    lines = ["id\tpose\tsplit\tsource\tlicence\tweight"]
    lines += ["ship\t0\tval\tx\tCC0\t0.3", "cup\t0\tval\tx\tCC0\t3"]
    lines += ["cup\t1\tval\tx\tCC0\t3", "hat\t0\ttrain\tx\tCC0\t3"]
    (tmp_path / "index.tsv").write_text("\n".join(lines) + "\n")
    assert held_out(RenderSet(tmp_path), 5) == ["cup.0", "ship.0"]


def test_no_case_is_made_after_the_last_that_is_wanted():
    def made():
        yield patterned_ball()
        raise AssertionError("nobody wants it")

    found: list[Case] = list(only(made(), ["exact"]))
    assert [case.setting for case in found] == ["exact"]

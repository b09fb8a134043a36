"""The sum of many photos: in the order of the list, bounded words for each."""

from pathlib import Path

from img2mv3d.cli.tally import Tally
from img2mv3d.cli.tasks import Outcome


def well(name: str, *warnings: str) -> Outcome:
    stages = {"export": {"how": "computed", "now_seconds": 2.0}}
    facts = {"result": f"/out/{name}.glb", "warnings": list(warnings), "stages": stages}
    return Outcome(Path(name), facts=facts, seconds=2.5)


def test_the_summary_has_the_order_of_the_list_and_the_counters() -> None:
    tally = Tally([Path("a"), Path("b"), Path("c"), Path("d")])
    tally.add(2, Outcome(Path("c"), 3, "c: no photo", kind="PhotoError"))
    tally.add(1, well("b"))
    tally.add(0, well("a", "cut"))
    assert tally.line(9.0) == "2 of 4 done in 9.0 s, 1 not begun; failed: c"
    assert tally.failed == {"c": "no photo"} and tally.warnings() == ["a: cut"] and tally.statuses == {3}
    summary = tally.summary(9.0)
    assert [p["photo"] for p in summary["photos"]] == ["a", "b", "c"]
    assert summary["photos"][0] == {"photo": "a", "status": 0, "result": "/out/a.glb", "seconds": 2.5}
    counted = summary["counters"]
    assert (
        counted["done"] == 2 and counted["failed"] == {"PhotoError": 1} and counted["stage_seconds"] == {"export": 4.0}
    )


def test_a_warning_of_many_names_three() -> None:
    tally = Tally([Path(str(n)) for n in range(1000)])
    for n in range(1000):
        tally.add(n, well(str(n), "cut"))
    assert tally.warnings() == ["0, 1, 2 and 997 more: cut"] and len(tally.warned["cut"]) == 3

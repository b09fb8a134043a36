"""A seat on a node: it refuses what does not fit, and what dies there takes everything along."""

import threading
import time
from pathlib import Path

import pytest

from img2mv3d.cluster import seat
from img2mv3d.cluster.seat import Seat, objection, versions
from tests.serve.works import Echo, Unwell


@pytest.fixture
def sign(tmp_path: Path) -> Path:
    (tmp_path / "sign").touch()
    return tmp_path / "sign"


def test_another_version_is_refused_in_one_line(sign: Path) -> None:
    assert objection(versions(), sign) == ""
    told = objection("img2mv3d 9.9, torch 1.0", sign)
    assert versions() in told and "img2mv3d 9.9" in told and "\n" not in told


def test_a_node_that_does_not_see_the_results_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat, "LATE", 0.3)
    assert f"does not see {tmp_path}" in objection(versions(), tmp_path / "sign")


def test_a_network_drive_may_be_late(tmp_path: Path) -> None:
    threading.Timer(0.5, (tmp_path / "sign").touch).start()
    assert objection(versions(), tmp_path / "sign") == ""


def stopped_when_it_tells(one: Seat) -> None:
    while one.news() is None:
        time.sleep(0.01)
    one.stop()


def test_a_task_waits_for_the_process_and_a_lost_one_is_told(sign: Path) -> None:
    one = Seat()
    try:
        assert one.open(versions(), str(sign), 3) == ""
        threading.Timer(0.2, one.start, [Echo()]).start()
        assert one.do("a", 600 << 20).facts["threads"] == "3"
        assert one.do("die", 600 << 20).lost == "killed" and one.do("grow 700", 400 << 20).lost == "memory"
        assert one.news() is None
        threading.Thread(target=stopped_when_it_tells, args=[one], daemon=True).start()
        assert one.do("sleep 30", 600 << 20).reason == "stopped" and one.news() == ("tick", {})
    finally:
        if one._worker:
            one._worker.close()


def test_one_that_cannot_start_says_why(sign: Path) -> None:
    one = Seat()
    one.open(versions(), str(sign), 1)
    assert "no weights here" in one.start(Unwell()) and one.do("a", 1).lost == "start"

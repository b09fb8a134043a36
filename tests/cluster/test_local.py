"""This machine as an engine: processes that stay, a killed one is told as such, and all end together."""

import time

import psutil
import pytest

from img2mv3d.cluster.engine import Need, News
from img2mv3d.cluster.local import Local
from img2mv3d.cluster.policy import drive
from img2mv3d.errors import UsageError
from tests.serve.works import Echo

NEED = Need(cpus=1, memory=200 << 20)


def test_tasks_run_side_by_side_in_processes_that_stay() -> None:
    found = dict(drive(Local(Echo(), NEED, 2), ["a", "sleep 0.2", "b", "sleep 0.2", "c"], NEED.memory))
    assert [found[n].facts["said"] for n in range(5)] == ["a", "sleep 0.2", "b", "sleep 0.2", "c"]
    assert len({outcome.facts["pid"] for outcome in found.values()}) <= 2
    assert {outcome.facts["threads"] for outcome in found.values()} == {"1"}


@pytest.mark.parametrize("cpus", [1, 2])
def test_threads_are_those_of_the_need_whatever_the_shell_says(cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    found = dict(drive(Local(Echo(), Need(cpus, NEED.memory), 1), ["a"], NEED.memory))
    assert found[0].facts["threads"] == str(cpus)


def test_a_task_that_kills_its_process_is_set_aside_and_the_others_are_done() -> None:
    heard: list[News] = []
    found = dict(drive(Local(Echo(), NEED, 1), ["die", "a", "raise"], NEED.memory, heard.append))
    assert found[1].ok and "set aside: its process died 3 times" in found[0].reason
    assert "ValueError" in found[2].reason
    assert [n.data["lost"] for n in heard if n.kind == "again"] == ["killed"] * 2


def test_a_greedy_task_gets_more_memory_the_next_time() -> None:
    heard: list[News] = []
    found = dict(drive(Local(Echo(), NEED, 1), ["grow 400"], NEED.memory, heard.append))
    assert found[0].ok and [n.data["lost"] for n in heard if n.kind == "again"] == ["memory"]


def test_left_early_nothing_stays_behind() -> None:
    heard: list[News] = []
    started = time.monotonic()
    for _ in drive(Local(Echo(), NEED, 2), ["child", "a"], NEED.memory, heard.append):
        while not any(n.kind == "child" for n in heard):
            break
        break
    assert time.monotonic() - started < 20
    assert not [p for p in psutil.Process().children(recursive=True) if "sleep(60)" in " ".join(p.cmdline())]


def test_more_memory_than_the_machine_has_is_told_at_once() -> None:
    with pytest.raises(UsageError, match=r"needs 1 CPU, 1000\d*\.\d GB, this machine has"):
        Local(Echo(), Need(memory=10**15), 1)

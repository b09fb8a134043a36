"""Worker processes: warm, replaceable, and never the end of anything but their own task."""

import os
import threading
import time

import psutil
import pytest

from img2mv3d.serve import workers
from img2mv3d.serve.workers import Outcome, Worker
from tests.serve.served import wait_for
from tests.serve.works import Echo, Slow, Unwell


@pytest.fixture(scope="module")
def worker():
    worker = Worker(Echo(), memory=600 << 20)
    yield worker
    worker.close()


def run(worker: Worker, task: str, *, stop: threading.Event | None = None, seconds: float | None = None, told=None):
    events = told if told is not None else []
    return worker.run(task, lambda *event: events.append(event), stop or threading.Event(), seconds)


def test_a_process_stays_for_the_next_task(worker: Worker) -> None:
    first, second = run(worker, "a"), run(worker, "b")
    assert first.ok and first.facts["said"] == "a" and worker.ready
    assert first.facts["pid"] == second.facts["pid"] == worker.pid != os.getpid()


def test_what_the_work_raises_is_its_outcome_in_one_line(worker: Worker) -> None:
    outcome = run(worker, "raise")
    assert not outcome.ok and outcome.reason == "a defect of img2mv3d (ValueError: a long story)"


def test_a_killed_process_fails_its_task_and_the_next_one_runs(worker: Worker) -> None:
    outcome = run(worker, "die")
    assert not outcome.ok and "killed" in outcome.reason
    assert run(worker, "again").ok


def test_a_task_stops_when_it_is_told_to_and_the_process_stays(worker: Worker) -> None:
    run(worker, "warm")
    stop, pid, told = threading.Event(), worker.pid, []
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    assert not run(worker, "sleep 20", stop=stop, told=told).ok
    assert time.monotonic() - started < 5 and worker.pid == pid and ("tick", {}) in told


def test_one_that_does_not_listen_is_killed(worker: Worker) -> None:
    run(worker, "warm")
    started = time.monotonic()
    outcome = run(worker, "deaf 30", seconds=0.2)
    assert outcome == Outcome(False, "it took too long and was stopped") and time.monotonic() - started < 10
    assert run(worker, "again").ok


def test_one_that_takes_too_much_memory_is_killed_with_a_reason(worker: Worker) -> None:
    outcome = run(worker, "grow 900")
    assert not outcome.ok and "too much memory" in outcome.reason and "0.6 GiB" in outcome.reason
    assert run(worker, "again").ok


def test_its_children_die_with_it() -> None:
    worker, told = Worker(Echo()), []
    thread = threading.Thread(target=lambda: run(worker, "child", told=told))
    thread.start()
    wait_for(lambda: told)
    child = told[0][1]["pid"]
    os.kill(worker.pid, 9)  # as the kernel does when memory is short
    thread.join(10)
    wait_for(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    worker.close()


def test_one_that_cannot_start_says_why() -> None:
    worker = Worker(Unwell())
    assert run(worker, "x") == Outcome(False, "no weights here", lost="start")
    assert not worker.ready


def test_one_that_hangs_while_it_loads_holds_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, stop = Worker(Slow()), threading.Event()
    outcome = run(worker, "x", seconds=0.2)
    assert outcome == Outcome(False, "the worker process took too long to load and was stopped", lost="start")
    threading.Timer(0.3, stop.set).start()
    assert run(worker, "x", stop=stop) == Outcome(False, "stopped", lost="start")
    monkeypatch.setattr(workers, "LOADING", 0.2)
    assert "too long to load" in run(worker, "x").reason and worker.pid is None


def test_a_task_that_comes_while_it_loads_waits_for_it() -> None:
    worker = Worker(Echo())
    warming = threading.Thread(target=worker.start)
    warming.start()
    wait_for(lambda: worker.pid is not None)
    assert run(worker, "early").facts["said"] == "early"
    warming.join(10)
    assert worker.ready and not warming.is_alive()
    worker.close()


def test_threads_are_set_before_anything_is_loaded() -> None:
    worker = Worker(Echo(), threads=3)
    assert run(worker, "x").facts["threads"] == "3"
    worker.close()

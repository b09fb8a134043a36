"""Tasks side by side: all are done, workers are kept, and a killed one takes only its own task along."""

import os

import pytest

from img2mv3d.cli.pools import Lost, in_processes
from tests.pool_tasks import double, fragile, process, talkative


def test_every_task_is_done_once() -> None:
    assert dict(in_processes(double, [1, 2, 3, 4, 5], 2)) == {1: 2, 2: 4, 3: 6, 4: 8, 5: 10}
    assert list(in_processes(double, [], 3)) == []


def test_jobs_are_processes_that_go_on_to_further_tasks() -> None:
    pids = [pid for _, pid in in_processes(process, [0.5] * 6, 2)]
    assert len(set(pids)) == 2 and os.getpid() not in pids


def test_a_killed_process_loses_its_task_alone() -> None:
    found = dict(in_processes(fragile, ["a", "kill", "b", "c"], 1))
    assert isinstance(found.pop("kill"), Lost) and found == {"a": "a", "b": "b", "c": "c"}


def test_a_task_is_heard_of_when_it_begins_and_as_often_as_it_tells() -> None:
    heard: list[tuple[str, object]] = []
    found = dict(in_processes(talkative, ["a", "kill", "b"], 1, lambda task, news: heard.append((task, news))))
    assert isinstance(found["kill"], Lost) and found["b"] == "b"
    assert heard == [(task, news) for task in ("a", "kill", "b") for news in (None, "half", "whole")]


def test_what_a_task_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="raise"):
        list(in_processes(fragile, ["raise"], 2))

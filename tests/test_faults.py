"""Calls on files that fail, power that goes, processes that are killed, bits that flip, crowds: nothing is lost,
nothing wrong is used, and the same command ends as if nothing had been.

A small draw of each; the slow tests, and `python -m tests.faults.errors` and its neighbours, do them all.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from img2mv3d.files.forms import ANY, fits
from img2mv3d.files.owner import Taken, owned
from tests.faults import crowd, errors, kills, power, rot
from tests.faults.commands import SCENES
from tests.faults.recorder import Call, Judge, Listing, failure, watching

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are followed as Linux makes them")


@pytest.mark.parametrize("name", ["run of another photo", "export to a file", "weights fetch, damaged"])
def test_a_call_that_fails_is_one_line_and_costs_nothing(name: str, tmp_path: Path) -> None:
    assert errors.drawn(tmp_path, name, 3) == {}


@pytest.mark.parametrize("name", ["run of another photo", "weights fetch"])
def test_power_that_goes_at_any_moment_costs_nothing_that_was_told_as_done(name: str, tmp_path: Path) -> None:
    assert power.drawn(tmp_path, name, 1) == {}


def test_a_kill_at_any_moment_costs_nothing(tmp_path: Path) -> None:
    counts, wrong = kills.many(("run after an edit", "run of another photo"), 4, tmp_path)
    assert wrong == [] and counts.total() >= 4


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    counts, wrong = rot.many(100, tmp_path)
    assert wrong == [] and counts.total() == 100


@pytest.mark.parametrize("situation", crowd.SITUATIONS)
def test_many_at_one_cache_get_what_is_right(situation: str, tmp_path: Path) -> None:
    with crowd.stand_ins(), crowd.SITUATIONS[situation]():
        assert crowd.one_store(tmp_path, 3, 6)[1] == []


def test_two_at_once_in_one_folder_get_what_is_right_even_without_locks(tmp_path: Path) -> None:
    with crowd.stand_ins(), crowd.without_locks():
        assert crowd.one_out(tmp_path, 2, 2)[1] == []


# ----------------------------------------------------------------------------------------------- all of them, slowly


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_every_call_of_a_command_may_fail(name: str) -> None:
    assert errors.main([name]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_power_may_go_at_every_moment_of_a_command(name: str) -> None:
    assert power.main([name]) == 0


@pytest.mark.slow
def test_a_thousand_kills(tmp_path: Path) -> None:
    counts, wrong = kills.many(kills.NAMES, 1000, tmp_path)
    print(counts)
    assert wrong == []


@pytest.mark.slow
def test_ten_thousand_flips(tmp_path: Path) -> None:
    counts, wrong = rot.many(10_000, tmp_path)
    print(counts)
    assert wrong == []


@pytest.mark.slow
def test_eight_processes_a_hundred_times() -> None:
    assert crowd.main(8, 100) == 0


# --------------------------------------------------------------------------------------- what the tests stand on


class Refusing(Judge):
    """Every write is refused."""

    def before(self, call: Call) -> None:
        if call.kind == "write":
            raise failure(28, call.path)


def test_every_kind_of_call_is_seen_and_can_be_refused(tmp_path: Path) -> None:
    """The tests above would hold if nothing were seen: this one would not."""
    from img2mv3d.files.durable import copy_durably, remove_lost_drafts, sync_folder, waiting_lock, write_atomically

    calls: list[Call] = []
    with watching(tmp_path, Listing(calls)):
        write_atomically(tmp_path / "a", b"1")
        copy_durably(tmp_path / "a", tmp_path / "b" / "c")
        sync_folder(tmp_path / "b")
        remove_lost_drafts(tmp_path)
        with waiting_lock(tmp_path / "lock", 1, lambda: None):
            pass
    assert {"make", "open", "read", "write", "fsync", "rename", "unlink", "mkdir", "list", "lock"} <= {
        call.kind for call in calls
    }
    with watching(tmp_path, Refusing()), pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a", b"2")
    assert (tmp_path / "a").read_bytes() == b"1" and [p.name for p in tmp_path.iterdir() if p.name[0] == "."] == []


def test_what_is_not_synced_is_gone_with_the_power(tmp_path: Path) -> None:
    """A disk that forgets nothing would prove nothing."""
    (tmp_path / "before").mkdir()
    root, log = tmp_path / "work", power.Log()

    def left(way: str) -> dict[str, bytes]:
        disk = power.Disk(root, tmp_path / "before")
        for call, data in log.done:
            disk.happens(call, data)
        disk.lay_out(tmp_path / "after", way, power.random.Random(0))
        return {str(p.relative_to(tmp_path / "after")): p.read_bytes() for p in (tmp_path / "after").rglob("*")}

    log.done = [(Call("make", "", f"{root}/a"), b""), (Call("write", "", f"{root}/a"), b"")]
    assert (left("all names"), left("safe names")) == ({"a": b""}, {})
    log.done += [(Call("fsync", "", f"{root}/a"), b"1"), (Call("rename", "", f"{root}/a", f"{root}/b"), b"")]
    assert (left("all names"), left("safe names")) == ({"b": b"1"}, {})
    log.done += [(Call("fsync", "", str(root)), b"")]
    assert left("safe names") == {"b": b"1"}


def test_a_folder_belongs_to_the_living_process_that_is_named_there(tmp_path: Path) -> None:
    path = tmp_path / "owner"
    hold = "import sys, pathlib; from img2mv3d.files.owner import owned\nwith owned(pathlib.Path(sys.argv[1])):"
    line = [sys.executable, "-c", f"{hold}\n print('here', flush=True); sys.stdin.read()", str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(line, env=env, **pipes) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "here\n"
        with pytest.raises(Taken), owned(path):
            pass
        other.kill()
    with owned(path):  # the dead one's name is still there
        assert str(os.getpid()) in path.read_text()
    assert not path.exists() and list(tmp_path.iterdir()) == []


def test_where_no_name_can_be_left_a_run_goes_on(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "owner", tmp_path):
        with contextlib.suppress(IsADirectoryError), owned(path):
            pass
    (tmp_path / "owner").write_text("{")
    with owned(tmp_path / "owner"):
        pass


@pytest.mark.parametrize(
    ("value", "form", "good"),
    [
        ({"a": 1}, {"a": int}, True),
        ({"a": True}, {"a": int}, False),
        ({"a": True}, {"a": bool}, True),
        ({}, {"a": int}, False),
        ({}, {"a?": int}, True),
        ({"a": None}, {"a?": int}, False),
        ({"a": None}, {"a?": (int, None)}, True),
        ({"x": {"a": "b"}}, {ANY: {"a": str}}, True),
        ({"x": []}, {ANY: {"a": str}}, False),
        ([1, "a"], [int], False),
        ("a", [str], False),
    ],
)
def test_a_form_is_met_or_not(value: object, form: object, good: bool) -> None:
    assert fits(value, form) is good

"""Slurm as the engine, by stand-ins for its programs: few jobs that pull, and our own files are the truth."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("submitit")

from img2mv3d.cluster import mailbox, slurm
from img2mv3d.cluster.engine import Need
from img2mv3d.cluster.policy import drive
from img2mv3d.cluster.slurm import Slurm, clean_environment
from img2mv3d.errors import UsageError
from tests.cluster.fake_slurm import install
from tests.serve.works import Echo

NEED = Need(cpus=1, memory=200 << 20)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in install(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_a_job_does_not_hand_its_own_variables_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/elsewhere.conf")
    with clean_environment():
        assert "SLURM_CPUS_PER_TASK" not in os.environ and os.environ["SLURM_CONF"] == "/etc/elsewhere.conf"
    assert os.environ["SLURM_CPUS_PER_TASK"] == "1"


@pytest.mark.slow
def test_few_jobs_do_many_tasks_without_accounting_and_leave_nothing(place: Path) -> None:
    out = place / "out"
    found = dict(drive(Slurm(Echo(), NEED, 2, out), [f"task {n}" for n in range(25)] + ["raise"], NEED.memory))
    assert [found[n].facts["said"] for n in range(25)] == [f"task {n}" for n in range(25)]
    assert "ValueError" in found[25].reason and {o.facts["threads"] for o in found.values() if o.ok} == {"1"}
    assert len(list(place.glob("env-*.json"))) == 1 and list(out.iterdir()) == []
    script = (place / "script-1.sh").read_text()
    assert "--cpus-per-task=1" in script and "--mem=614M" in script and "--array=0-1" in script
    assert "srun" not in script and not [n for n in json.loads((place / "env-1.json").read_text()) if "SLURM" in n]


@pytest.mark.slow
def test_what_kills_its_process_is_set_aside(place: Path) -> None:
    found = dict(drive(Slurm(Echo(), NEED, 1, place / "out"), ["die", "a"], NEED.memory))
    assert "its process died 3 times" in found[0].reason and found[1].ok


@pytest.mark.slow
def test_a_job_that_goes_is_noticed_and_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "DEAD", 12.0)
    engine = Slurm(Echo(), NEED, 1, place / "out")

    def kill() -> None:
        os.killpg(int((place / "pid-1-0").read_text()), signal.SIGKILL)

    heard = []

    def hear(news) -> None:
        heard.append(news)
        if len(heard) == 1:
            threading.Timer(12.0, kill).start()

    found = dict(drive(engine, ["sleep 8"] * 3, NEED.memory, hear))
    assert "tick" in {n.kind for n in heard}  # how far a task is comes with the signs of life
    assert all(outcome.ok for outcome in found.values())
    assert [n.data["lost"] for n in heard if n.kind == "again"][:1] == ["node"]
    assert len(list(place.glob("env-*.json"))) == 2


def test_more_jobs_than_slurm_takes_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in install(tmp_path, most=3).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"jobs cannot be sent .*Invalid job array"):
        Slurm(Echo(), NEED, 50, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_cancelled_its_jobs_end_within_seconds(place: Path) -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        for _ in drive(Slurm(Echo(), NEED, 1, place / "out"), ["a", "sleep 60"], NEED.memory):
            raise KeyboardInterrupt
    pid = int((place / "pid-1-0").read_text())
    while Path(f"/proc/{pid}").exists() and time.monotonic() - started < 60:
        time.sleep(0.2)
    assert not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/cmdline").read_bytes() == b""


def test_an_abandoned_folder_is_removed_by_the_next_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in install(tmp_path, most=0).items():
        monkeypatch.setenv(name, value)
    for name, age in (("old", mailbox.FORGOTTEN + 60), ("new", 60)):
        box = mailbox.Mailbox(tmp_path / "out" / f"{slurm.BOX}{name}")
        box.make()
        (box.folder / "alive" / "head").touch()
        os.utime(box.folder / "alive" / "head", (time.time() - age,) * 2)
    with pytest.raises(UsageError):
        Slurm(Echo(), NEED, 1, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [f"{slurm.BOX}new"]

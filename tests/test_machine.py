"""What a machine has, told without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from img2mv3d import machine

ROOT = Path(__file__).parents[1]


def test_a_quota_cuts_the_processors_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(machine, "CGROUP_CPU", tmp_path / "cpu.max")
    monkeypatch.setattr(machine, "CGROUP_CPU_V1", (tmp_path / "quota", tmp_path / "period"))
    assert machine.cpu_count() == 8
    for text, count in (("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert machine.cpu_count() == count
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "quota").write_text("300000"), (tmp_path / "period").write_text("100000")
    assert machine.cpu_count() == 3


def test_the_user_may_say_how_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.thread_count() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2,1")  # of a list for nested levels the first
    assert machine.thread_count() == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert machine.thread_count() == machine.cpu_count()


def test_hidden_cards_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.guess_device() == "cpu"


def test_the_guess_is_right_about_this_torch() -> None:
    import torch

    assert machine.torch_cuda_build() == torch.version.cuda
    assert (machine.guess_device() == "cuda") == torch.cuda.is_available()


def test_peak_memory_is_that_of_the_last_stretch() -> None:
    """In a process of its own: one that has freed much before would take the block out of that."""
    code = """
from img2mv3d import machine
big = bytearray(256 << 20)
del big
machine.reset_peak_memory()
before = machine.peak_memory()
block = b"x" * (64 << 20)
print(machine.peak_memory() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert 32 << 20 < int(done.stdout) < 128 << 20


def test_what_was_freed_is_not_held() -> None:
    block = np.ones(64 << 17)
    held = machine.resident_memory()
    del block
    assert machine.resident_memory() < held - (48 << 20)


def test_free_disk_is_told_for_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    assert machine.free_disk(tmp_path / "not" / "yet") > 0

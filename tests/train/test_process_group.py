"""Two processes train as one: there really are two, they take the mean of their gradients, and one of them writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from img2mv3d.train.loop import NEXT_SEED, LoopOptions, run_loop
from img2mv3d.train.process_group import ProcessGroup, joined
from tests.process_group_tasks import Line

ROOT = Path(__file__).parents[2]


def torchrun(*words: str, processes: int = 2) -> str:
    """What a command under torchrun said on both streams."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run([*run, *words], cwd=ROOT, env=env, text=True, **streams)
    if done.returncode and "terminate called without an active exception" in done.stdout:  # torch's threads, at the end
        done = subprocess.run([*run, *words], cwd=ROOT, env=env, text=True, **streams)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("group")
    torchrun("-m", "tests.process_group_tasks", str(folder))
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_there_are_two_and_they_agree(told):
    one, two = told[1]
    assert one["size"] == two["size"] == 2
    assert one["agreed"] == two["agreed"] == 5 and one["any"] and two["any"]


def test_gradients_are_means_and_what_one_lacks_counts_as_zero(told):
    for process in told[1]:
        assert process["grads"] == [[1.5, 3.0], [0.5, 0.5], None]


def test_both_end_with_the_weights_of_one_process_that_saw_both_batches(told, tmp_path: Path):
    one, two = told[1]
    assert one["weight"] == two["weight"]

    class Both(Line):
        other = torch.Generator().manual_seed(NEXT_SEED)

        def loss(self, progress, rng):
            return (super().loss(progress, rng) + super().loss(progress, self.other)) / 2

    task = Both()
    run_loop(task, nn.Linear(2, 1), tmp_path, LoopOptions(steps=6, warmup=2), report=lambda line: None)
    assert one["weight"] == pytest.approx(task.net.weight[0].tolist(), abs=1e-6)


def test_the_first_one_writes_and_says_how_many_they_are(told):
    folder, (one, two) = told
    assert one["said"][0] == "run: 2 processes" and two["said"] == []
    assert len((folder / "run" / "figures.tsv").read_text().splitlines()) == 1
    record = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)
    assert len(record["others"]) == 1 and not torch.equal(record["others"][0], record["rng"])


def test_alone_nothing_is_sent_anywhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    group, parameter = joined(), nn.Parameter(torch.zeros(1))
    group.mean_gradients([parameter])
    assert (
        group == ProcessGroup(0, 1)
        and group.first
        and group.agree(3.0) == 3
        and not group.any(False)
        and parameter.grad is None
    )


@pytest.mark.slow
def test_the_same_command_trains_a_decoder_on_two(toy: Path, tmp_path: Path):
    words = ["train", "decoder", str(toy), "--steps", "2", "--minutes", "0.05", "--full-images"]
    said = torchrun("-m", "img2mv3d", *words, "-o", str(tmp_path / "out"))
    assert said.count("crossview: 2 processes") == 1
    assert "processes = 2" in (tmp_path / "out" / "bundle" / "manifest.toml").read_text()

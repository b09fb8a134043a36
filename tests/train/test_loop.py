"""Laws of the training loop."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from img2mv3d.train.loop import LoopOptions, TrainState, run_loop


class Line:
    """Fit a line through noisy points."""

    def __init__(self, broken: bool = False) -> None:
        torch.manual_seed(0)
        self.net, self.broken = nn.Linear(2, 1), broken

    def loss(self, progress: float, rng: torch.Generator) -> Tensor:
        x = torch.rand(8, 2, generator=rng)
        error = self.net(x)[:, 0] - x[:, 0] + 0.1 * torch.randn(8, generator=rng)
        return error.square().mean() * (float("nan") if self.broken else 1.0)

    def sheet(self, net: nn.Module) -> np.ndarray:
        return np.zeros((4, 4, 3), np.uint8)

    def held_out(self, net: nn.Module) -> dict[str, float]:
        return {"weight": float(net.weight[0, 0])}


def fit(folder: Path, *stretches: int, total: int = 40) -> tuple[nn.Module, TrainState]:
    """Train in several stretches, each as a fresh process would."""
    for end in stretches:
        average = nn.Linear(2, 1)
        task = Line()
        if end < total:  # interrupted there
            steps, loss = iter(range(end)), task.loss

            def stopping(progress: float, rng: torch.Generator, steps=steps, loss=loss) -> Tensor:
                if next(steps, None) is None:
                    (folder / "stop").touch()
                return loss(progress, rng)

            task.loss = stopping
        state = run_loop(task, average, folder, LoopOptions(steps=total, warmup=5), report=lambda line: None)
        (folder / "stop").unlink(missing_ok=True)
    return average, state


def test_a_resumed_training_ends_with_the_same_bits_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, one = fit(tmp_path / "a", 40)
    parts, two = fit(tmp_path / "b", 13, 40)
    assert one.step == two.step == 40
    assert torch.equal(whole.weight, parts.weight) and torch.equal(whole.bias, parts.bias)
    first, second = (torch.load(tmp_path / x / "checkpoint.pt", weights_only=True)["net"] for x in "ab")
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_average_follows_the_network_and_is_what_is_exported(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    average, _ = fit(tmp_path / "a", 40)
    net = torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)["net"]
    assert not torch.equal(average.weight, net["weight"])
    assert (average.weight - net["weight"]).abs().max() < 0.2
    assert torch.equal(load_file(tmp_path / "a" / "ema.safetensors")["weight"], average.weight)


def test_every_checkpoint_leaves_pictures_and_a_log(tmp_path: Path) -> None:
    fit(tmp_path / "a", 40)
    for name in ("sheet.png", "curve.png", "log.tsv", "figures.tsv"):
        assert (tmp_path / "a" / name).stat().st_size > 0
    assert not [p for p in (tmp_path / "a").iterdir() if p.name.startswith(".")]


def test_a_loss_that_stays_no_number_ends_the_training_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no number 5 times"):
        run_loop(Line(broken=True), nn.Linear(2, 1), tmp_path, LoopOptions(steps=40), report=lambda line: None)

"""One training loop for every network: AdamW, cosine, moving average, checkpoints that resume to the bit."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from img2mv3d.files.durable import sync_file
from img2mv3d.train.pictures import draw_curve, write_picture
from img2mv3d.train.process_group import ProcessGroup, joined

LOG_SECONDS = 20.0
NEXT_SEED = 1_000_003  # between the seeds of a group's processes
MAX_BAD_STEPS = 5  # losses in a row that are no number, after which a training gives up


@dataclass(frozen=True)
class LoopOptions:
    """Budget and optimiser of a training.

    minutes: wall clock, earlier runs of the same folder counted in.
    steps: instead of minutes, for exact repetition.
    lr, lr_end: cosine from one to the other after `warmup` steps.
    new_lr_factor: for parameters that the task calls new.
    ema: decay of the moving average.
    clip: largest gradient norm.
    checkpoint_minutes: between checkpoints.
    """

    minutes: float = 10.0
    steps: int | None = None
    lr: float = 1e-3
    lr_end: float = 3e-5
    warmup: int = 30
    new_lr_factor: float = 1.0
    weight_decay: float = 0.01
    ema: float = 0.995
    clip: float = 1.0
    checkpoint_minutes: float = 3.0
    seed: int = 0


@runtime_checkable
class Task(Protocol):
    """What a training is about. `net` is trained; `average` is its moving average, to be used in `sheet` and
    `held_out`.

    loss(progress, rng): a batch's loss, [] with gradient; progress in [0, 1) of the budget; all randomness from rng
    (CPU). sheet(net): uint8 [H, W, 3], samples to look at. held_out(net): figures on held-out objects, by name.
    """

    net: nn.Module

    def loss(self, progress: float, rng: torch.Generator) -> Tensor: ...

    def sheet(self, net: nn.Module) -> np.ndarray: ...

    def held_out(self, net: nn.Module) -> dict[str, float]: ...


@dataclass
class TrainState:
    """Where a training stands.

    losses: mean loss of each logged stretch as (step, minutes, loss).
    figures: (step, name, value).
    """

    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float, float]] = field(default_factory=list)
    figures: list[tuple[int, str, float]] = field(default_factory=list)


def run_loop(
    task: Task, average: nn.Module, folder: Path, options: LoopOptions, report: Callable[[str], None] = print
) -> TrainState:
    """Train `task.net` within the budget and leave the moving average in `average` and in `folder`/ema.safetensors.

    Started by torchrun, several processes take one step together: each has random numbers of its own, and the mean of
    their gradients counts. The first one writes, tells, and has the clock.

    An existing `folder`/checkpoint.pt is continued; with `steps` as budget the continued run ends with the same bits as
    an uninterrupted one. A file named `stop` in the folder ends the training at the next step, as if the budget were
    spent. Raises RuntimeError when the loss stays no number.

    average: a second network of the same form; its values are overwritten.
    """
    group = joined()
    folder.mkdir(parents=True, exist_ok=True)
    rng = torch.Generator().manual_seed(options.seed + group.rank * NEXT_SEED)
    optimiser = _optimiser(task, options)
    average.load_state_dict(task.net.state_dict())
    average.requires_grad_(False)
    state = _resume(folder, task.net, average, optimiser, rng, group)
    group.share(task.net)
    if not group.first:
        report = _silent
    if group.size > 1:
        report(f"{folder.name}: {group.size} processes")
    if state.step:
        report(f"{folder.name}: continued at step {state.step}, {state.seconds / 60:.1f} min")
    last = saved = logged = time.monotonic()
    stretch: list[float] = []
    bad = 0
    task.net.train()
    while (done := group.agree(_spent(folder, state, options))) < 1:
        _set_rate(optimiser, options, done, state.step)
        loss = task.loss(done, rng)
        optimiser.zero_grad(set_to_none=True)
        if not group.any(not torch.isfinite(loss)):
            bad = 0
            loss.backward()
            group.mean_gradients(task.net.parameters())
            nn.utils.clip_grad_norm_(task.net.parameters(), options.clip)
            optimiser.step()
            _average(average, task.net, min(options.ema, (1 + state.step) / (10 + state.step)))
            stretch.append(float(loss.detach()))
        elif (bad := bad + 1) >= MAX_BAD_STEPS:
            raise RuntimeError(f"{folder.name}: the loss was no number {bad} times in a row at step {state.step}")
        state.step += 1
        now = time.monotonic()
        state.seconds += now - last
        last = now
        if group.first and now - logged > LOG_SECONDS and stretch:
            logged = now
            _log(folder, state, stretch, optimiser.param_groups[0]["lr"], report)
        if group.agree(float(now - saved > 60 * options.checkpoint_minutes)):
            saved = now
            _save(group, folder, task, average, optimiser, rng, state, report)
            last = time.monotonic()  # checkpoints and sheets do not count against the budget's schedule
            task.net.train()
    if stretch and group.first:
        _log(folder, state, stretch, optimiser.param_groups[0]["lr"], report)
    _save(group, folder, task, average, optimiser, rng, state, report)
    return state


def train_average(task: Task, folder: Path, options: LoopOptions, report: Callable[[str], None] = print) -> nn.Module:
    """The moving average of `task.net` after `run_loop`, ready for use: another network of the same class."""
    average = copy.deepcopy(task.net)
    run_loop(task, average, folder, options, report)
    return average.eval()


def copy_parameters(target: nn.Module, source: nn.Module) -> None:
    """Give `target` the values of `source`, which has the same form."""
    target.load_state_dict(source.state_dict())


def save_weights(net: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """All tensors of a network as safetensors in `dtype`, written under a temporary name and renamed."""
    tensors = {k: v.detach().to("cpu", dtype).contiguous().clone() for k, v in net.state_dict().items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(tensors, temporary)
    sync_file(temporary)
    os.replace(temporary, path)


def _optimiser(task: Task, options: LoopOptions) -> torch.optim.Optimizer:
    new = {id(p) for p in getattr(task, "new_parameters", lambda: [])()}
    groups = [
        {"params": [p for p in task.net.parameters() if p.requires_grad and id(p) not in new], "factor": 1.0},
        {"params": [p for p in task.net.parameters() if id(p) in new], "factor": options.new_lr_factor},
    ]
    groups = [g for g in groups if g["params"]]
    return torch.optim.AdamW(groups, lr=options.lr, weight_decay=options.weight_decay, betas=(0.9, 0.99))


def _spent(folder: Path, state: TrainState, options: LoopOptions) -> float:
    """Share of the budget that is gone; all of it once somebody asked to stop."""
    return 1.0 if (folder / "stop").exists() else _progress(state, options)


def _progress(state: TrainState, options: LoopOptions) -> float:
    if options.steps is not None:
        return state.step / max(options.steps, 1)
    return state.seconds / max(60 * options.minutes, 1e-9)


def _set_rate(optimiser: torch.optim.Optimizer, options: LoopOptions, done: float, step: int) -> None:
    rate = options.lr_end + (options.lr - options.lr_end) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
    rate *= min(1.0, (step + 1) / max(options.warmup, 1))
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]


@torch.no_grad()
def _average(average: nn.Module, net: nn.Module, decay: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
    for mine, theirs in zip(average.buffers(), net.buffers(), strict=True):
        mine.copy_(theirs)


def _silent(line: str) -> None:
    """What all but the first process say."""


def _log(folder: Path, state: TrainState, stretch: list[float], rate: float, report: Callable[[str], None]) -> None:
    mean = sum(stretch) / len(stretch)
    stretch.clear()
    state.losses.append((state.step, state.seconds / 60, mean))
    line = f"{state.step}\t{state.seconds / 60:.2f}\t{mean:.5f}\t{rate:.2e}"
    with (folder / "log.tsv").open("a") as file:
        file.write(line + "\n")
    report(f"{folder.name}: step {state.step}, {state.seconds / 60:.1f} min, loss {mean:.4f}, rate {rate:.1e}")


def _save(
    group: ProcessGroup,
    folder: Path,
    task: Task,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    rng: torch.Generator,
    state: TrainState,
    report: Callable[[str], None],
) -> None:
    """Checkpoint (one file, renamed into place), averaged weights, held-out figures, curve and sheet."""
    average.eval()
    states = group.gather(rng.get_state())
    if not group.first:
        return
    with torch.no_grad():
        figures = task.held_out(average)
        sheet = task.sheet(average)
    state.figures += [(state.step, name, value) for name, value in figures.items()]
    record = {
        "net": task.net.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "rng": states[0],
        "others": states[1:],  # of a group
        "step": state.step,
        "seconds": state.seconds,
        "losses": state.losses,
        "figures": state.figures,
    }
    temporary = folder / f".checkpoint.{os.getpid()}"
    torch.save(record, temporary)
    sync_file(temporary)  # hours of work: a power cut must not leave an empty file under the old name
    os.replace(temporary, folder / "checkpoint.pt")
    save_weights(average, folder / "ema.safetensors")
    write_picture(folder / "sheet.png", sheet)
    write_picture(folder / "curve.png", draw_curve(state.losses, state.figures))
    with (folder / "figures.tsv").open("a") as file:
        file.writelines(f"{state.step}\t{state.seconds / 60:.2f}\t{k}\t{v:.5f}\n" for k, v in figures.items())
    report(f"{folder.name}: step {state.step}, held out: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))


def _resume(
    folder: Path,
    net: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    rng: torch.Generator,
    group: ProcessGroup,
) -> TrainState:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return TrainState()
    record = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict(record["net"])
    average.load_state_dict(record["average"])
    optimiser.load_state_dict(record["optimiser"])
    states = [record["rng"], *record.get("others", [])]
    if group.rank < len(states):  # of a larger group than before, the new ones begin with their own seeds
        rng.set_state(states[group.rank])
    return TrainState(
        record["step"],
        record["seconds"],
        [tuple(x) for x in record["losses"]],
        [tuple(x) for x in record["figures"]],
    )

"""`run` with many photos: one after the other or side by side, each with its own folder, its own line, its own error.

In: photos, flags as typed. Out: a folder for each, lines, an exit status. A bad photo does not end the batch.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from img2mv3d.cli.carry import carry_one, facts_of, plan_of
from img2mv3d.cli.flags import ONE_PHOTO
from img2mv3d.cli.guard import as_known, one_line
from img2mv3d.cli.lines import draws, say
from img2mv3d.cli.pools import Lost, in_processes
from img2mv3d.cli.screen import Quiet
from img2mv3d.cli.seeds import Seeds
from img2mv3d.cli.wanted import names_for
from img2mv3d.errors import UsageError


@dataclass(frozen=True)
class Task:
    """One photo to carry as far as `until`, into `out`.

    typed: flags that were typed.
    seeds: how many are tried.
    report: whether report.html is written.
    threads: for each process.
    """

    photo: Path
    out: Path
    until: str
    typed: Mapping[str, Any]
    seeds: Seeds
    report: bool = True
    threads: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one photo. status: an exit status, 0 is good. error: one line. facts: what --json tells. notes:
    sentences that came up on the way. trace: of the error.
    """

    photo: Path
    status: int = 0
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trace: str = ""
    seconds: float = 0.0

    def as_json(self) -> str:
        """One line."""
        told = {"photo": str(self.photo), "ok": self.status == 0, "status": self.status}
        more = self.facts if self.status == 0 else {"error": self.error, "seconds": round(self.seconds, 3)}
        return json.dumps(told | more | {"notes": self.notes})

    def line(self) -> str:
        """One line for people."""
        if self.status:
            return f"{self.photo}: failed: {self.error}"
        count = len(self.facts["warnings"])
        warned = f", {count} warning{'s' if count > 1 else ''}" if count else ""
        picked = f", seed {self.facts['picked']}" if "picked" in self.facts else ""
        return f"{self.photo}: {_short(self.facts['result'])} ({self.seconds:.1f} s{picked}{warned})"


def run_many(
    photos: list[Path], out: Path, until: str, typed: Mapping[str, Any], *, jobs: int, seeds: Seeds, report: bool
) -> None:
    """Carry every photo into `out`/NAME, `jobs` at a time; lines and JSON as they end, a summary at last.

    Ends with status 0 when all went well, else with the failures' common exit status, 1 when they differ. Raises
    UsageError before anything is done when the flags make no sense.
    """
    from img2mv3d import machine
    from img2mv3d.flow.entry import Source
    from img2mv3d.flow.runners import check_device, check_format

    if "mask" in typed:
        raise UsageError("--mask takes one photo; for many photos, give PNG files with transparency")
    if given := [f"--{name}" for name in ONE_PHOTO if name in typed]:
        raise UsageError(f"{given[0]} is for one photo; run the photos one by one")
    plan = plan_of(typed, Source("photo", photos[0]))
    if until == "export":
        check_format(plan.export.format)
    check_device(plan.device)
    threads = max(1, machine.thread_count() // jobs) if jobs > 1 else None
    names = names_for(photos)
    tasks = [Task(p, out / n, until, typed, seeds, report, threads) for p, n in zip(photos, names, strict=True)]
    tasks.sort(key=lambda task: task.photo.exists())  # what is missing is told now and not in the morning
    if jobs > 1 and "quiet" not in typed:
        print(f"{len(tasks)} photos, {jobs} at a time; each is told when it is done", file=sys.stderr, flush=True)
    started, done = time.perf_counter(), []
    try:
        for outcome in _outcomes(tasks, jobs):
            done.append(outcome)
            tell(outcome, typed, f"[{len(done)}/{len(tasks)}] ")
    finally:  # an interrupt, too, leaves a summary
        _sum_up(done, len(tasks), time.perf_counter() - started)
    statuses = {outcome.status for outcome in done} - {0}
    if statuses:
        raise typer.Exit(statuses.pop() if len(statuses) == 1 else 1)


def work(task: Task) -> Outcome:
    """Carry one photo; whatever goes wrong becomes its outcome, but an interrupt."""
    if task.threads is not None:  # in a process of its own, before torch is loaded
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(task.threads)
    from img2mv3d.flow.entry import Source

    screen, started = Noted(), time.perf_counter()
    source, told = Source("photo", task.photo), {"report": task.report, "seeds": task.seeds}
    try:
        result, more = carry_one(source, task.out, task.until, task.typed, screen, **told)
    except Exception as error:
        known = as_known(error)
        words = one_line(known) if known else f"a defect of img2mv3d ({type(error).__name__}: {one_line(error)})"
        status, spent = known.exit_code if known else 1, time.perf_counter() - started
        notes, trace = tuple(screen.notes), traceback.format_exc()
        return Outcome(task.photo, status, words, notes=notes, trace=trace, seconds=spent)
    spent = time.perf_counter() - started
    return Outcome(task.photo, facts=facts_of(result) | more, notes=tuple(screen.notes), seconds=spent)


class Noted(Quiet):
    """A screen that keeps its sentences for later."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def write(self, line: str) -> None:
        """One sentence more."""
        self.notes.append(line)


def _outcomes(tasks: list[Task], jobs: int) -> Iterator[Outcome]:
    """As they end; in this process when one at a time is wanted."""
    if jobs == 1:
        for number, task in enumerate(tasks, 1):
            _announce(task, number, len(tasks))
            yield work(task)
        return
    for task, outcome in in_processes(work, tasks, jobs):
        if isinstance(outcome, Lost):
            lost = "its process was killed, perhaps because memory ran out; try fewer --jobs or --quality draft"
            yield Outcome(task.photo, 5, lost)
        else:
            yield outcome


def _announce(task: Task, number: int, total: int) -> None:
    """On a terminal, what is at work; the line of its end is written over it."""
    if draws(sys.stderr):
        print(f"[{number}/{total}] {task.photo} ...", end="\r", file=sys.stderr, flush=True)


def tell(outcome: Outcome, typed: Mapping[str, Any], head: str = "") -> None:
    """One line about a photo to stderr, after `head`; its result, or a line of JSON, to stdout."""
    if "json" in typed:
        print(outcome.as_json(), flush=True)
    elif outcome.status == 0:
        print(outcome.facts["result"], flush=True)
    if outcome.trace and "debug" in typed:
        print(outcome.trace, file=sys.stderr)
    if outcome.status or "quiet" not in typed:
        say(f"{head}{outcome.line()}")


def _sum_up(done: list[Outcome], total: int, seconds: float) -> None:
    failed = [str(outcome.photo) for outcome in done if outcome.status]
    named = f"; failed: {', '.join(failed[:10])}{' ...' if len(failed) > 10 else ''}" if failed else ""
    missing = f", {total - len(done)} not begun" if len(done) < total else ""
    say(f"{len(done) - len(failed)} of {total} done in {seconds:.1f} s{missing}{named}")


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path

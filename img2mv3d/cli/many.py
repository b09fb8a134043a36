"""`run` with many photos: one after the other or side by side, each with its own folder, its own line, its own error.

In: photos, flags as typed. Out: a folder for each, lines, an exit status. A bad photo does not end the batch.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from img2mv3d.cli.board import News, board_for
from img2mv3d.cli.carry import carry_one, facts_of, plan_of
from img2mv3d.cli.flags import ONE_PHOTO
from img2mv3d.cli.guard import as_known, one_line
from img2mv3d.cli.lines import say
from img2mv3d.cli.pools import Lost, in_processes, tell_parent
from img2mv3d.cli.screen import Quiet
from img2mv3d.cli.seeds import Seeds
from img2mv3d.cli.wanted import names_for
from img2mv3d.errors import Img2mv3dError, PhotoError, UsageError

TICK = 0.2  # seconds between two words about a stage's progress


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
    """Carry every photo into `out`/NAME, `jobs` at a time; lines and JSON as they end; at last a page of all results,
    warnings and a summary.

    Ends with status 0 when all went well, else with the failures' common exit status, 1 when they differ. Raises
    UsageError before anything is done when the flags make no sense.
    """
    _check(photos, until, typed)
    from img2mv3d import machine

    threads = max(1, machine.thread_count() // jobs) if jobs > 1 else None
    names = names_for(photos)
    tasks = [Task(p, out / n, until, typed, seeds, report, threads) for p, n in zip(photos, names, strict=True)]
    started, done = time.perf_counter(), []
    try:
        with board_for(len(tasks), jobs, quiet="quiet" in typed) as board:
            for outcome in _outcomes(tasks, jobs, board.hear):
                done.append(outcome)
                with board.ending(outcome.photo, failed=outcome.status != 0):
                    tell(outcome, typed, f"[{len(done)}/{len(tasks)}] ")
    finally:  # an interrupt, too, leaves a page and a summary
        if "quiet" not in typed:
            _warn(done)
        failed = {str(o.photo): o.error.removeprefix(f"{o.photo}: ") for o in done if o.status}
        if report and (page := write_gallery(out, failed)) is not None and "quiet" not in typed:
            say(f"all results on one page: {_short(str(page.absolute()))}")
        _sum_up(done, len(tasks), time.perf_counter() - started)
    statuses = {outcome.status for outcome in done} - {0}
    if statuses:
        raise typer.Exit(statuses.pop() if len(statuses) == 1 else 1)


def _check(photos: list[Path], until: str, typed: Mapping[str, Any]) -> None:
    """Raises UsageError when the flags make no sense."""
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


def work(task: Task, told: Callable[[News], None] = tell_parent) -> Outcome:
    """Carry one photo; whatever goes wrong becomes its outcome, but an interrupt. told: called with news of it."""
    if task.threads is not None:  # in a process of its own, before torch is loaded
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(task.threads)
    from img2mv3d.flow.entry import Source

    screen, started = Noted(told), time.perf_counter()
    source, more = Source("photo", task.photo), {"report": task.report, "seeds": task.seeds}
    try:
        result, facts = carry_one(source, task.out, task.until, task.typed, screen, **more)
    except Exception as error:
        known = as_known(error)
        words = one_line(known) if known else f"a defect of img2mv3d ({type(error).__name__}: {one_line(error)})"
        status, spent = known.exit_code if known else 1, time.perf_counter() - started
        notes, trace = tuple(screen.notes), traceback.format_exc()
        return Outcome(task.photo, status, words, notes=notes, trace=trace, seconds=spent)
    spent = time.perf_counter() - started
    return Outcome(task.photo, facts=facts_of(result) | facts, notes=tuple(screen.notes), seconds=spent)


class Noted(Quiet):
    """A screen that keeps its sentences for later and hands on how far a photo is."""

    def __init__(self, told: Callable[[News], None]) -> None:
        self.notes: list[str] = []
        self._told, self._last = told, 0.0

    def begin(self, stage: str, number: int, total: int) -> None:
        """A stage starts."""
        self._told((stage, 0.0))

    def progress(self, stage: str, done: int, total: int) -> None:
        """So far."""
        now = time.monotonic()
        if total > 0 and now - self._last > TICK:
            self._last = now
            self._told((stage, done / total))

    def write(self, line: str) -> None:
        """One sentence more."""
        self.notes.append(line)


def _outcomes(tasks: list[Task], jobs: int, hear: Callable[[Path, News | None], None]) -> Iterator[Outcome]:
    """What is missing at once and not in the morning, then the others as they end; in this process when one at a time
    is wanted."""
    there = [task for task in tasks if os.path.exists(task.photo)]
    for task in tasks:
        if task not in there:
            yield Outcome(task.photo, PhotoError.exit_code, f"{task.photo}: no such file")
    if jobs == 1:
        for task in there:
            hear(task.photo, None)
            yield work(task, lambda news, photo=task.photo: hear(photo, news))  # type: ignore[misc]
        return
    for task, outcome in in_processes(work, there, jobs, lambda task, news: hear(task.photo, news)):
        if isinstance(outcome, Lost):
            lost = "its process was killed, perhaps because memory ran out; try fewer --jobs or --quality draft"
            yield Outcome(task.photo, 5, lost)
        else:
            yield outcome


def write_gallery(out: Path, failed: Mapping[str, str] | None = None) -> Path | None:
    """index.html of all results in `out`; a page that cannot be written makes no batch a failure. failed: why, by
    photo."""
    from img2mv3d.report.gallery import save_gallery

    try:
        return save_gallery(out, failed or {})
    except (Img2mv3dError, OSError) as error:
        say(f"note: no page of all results: {one_line(error)}")
        return None


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


def _warn(done: list[Outcome]) -> None:
    """Each warning once, with the photos that have it: on the way they would drown."""
    named: dict[str, list[str]] = {}
    for outcome in done:
        for line in outcome.facts.get("warnings", ()):
            named.setdefault(line, []).append(outcome.photo.name)
    for line, photos in named.items():
        say(f"warning: {_listed(photos, 3)}: {line}")


def _sum_up(done: list[Outcome], total: int, seconds: float) -> None:
    failed = [str(outcome.photo) for outcome in done if outcome.status]
    named = f"; failed: {_listed(failed, 10)}" if failed else ""
    missing = f", {total - len(done)} not begun" if len(done) < total else ""
    say(f"{len(done) - len(failed)} of {total} done in {seconds:.1f} s{missing}{named}")


def _listed(names: list[str], most: int) -> str:
    """Names, as many as fit.

    >>> _listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path

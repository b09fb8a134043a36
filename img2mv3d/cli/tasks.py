"""One photo of many: what there is to do, how it is done in a process of its own, and what became of it.

In: a `Task`. Out: an `Outcome`, whatever happens; news on the way.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from img2mv3d.cli.board import News
from img2mv3d.cli.carry import carry_one, facts_of
from img2mv3d.cli.guard import as_known, one_line
from img2mv3d.cli.pools import tell_parent
from img2mv3d.cli.screen import Quiet
from img2mv3d.cli.seeds import Seeds

TICK = 0.2  # seconds between two words about a stage's progress


@dataclass(frozen=True)
class Task:
    """One photo to carry as far as `until`, into `out`.

    typed: flags that were typed, and the photo's own.
    seeds: how many are tried.
    report: whether report.html is written.
    threads: for each process.
    number: its place in the list.
    carried: `photo` is the file of a stage, to be carried on.
    """

    photo: Path
    out: Path
    until: str
    typed: Mapping[str, Any]
    seeds: Seeds
    report: bool = True
    threads: int | None = None
    number: int = 0
    carried: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one photo. status: an exit status, 0 is good. error: one line. facts: what --json tells. notes:
    sentences that came up on the way. trace: of the error. kind: name of the error's class.
    """

    photo: Path
    status: int = 0
    error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trace: str = ""
    seconds: float = 0.0
    kind: str = ""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        told = {"photo": str(self.photo), "ok": self.status == 0, "status": self.status}
        more = self.facts if self.status == 0 else {"error": self.error, "seconds": round(self.seconds, 3)}
        return told | more | {"notes": self.notes}

    def line(self) -> str:
        """One line for people."""
        if self.status:
            return f"{self.photo}: failed: {self.error}"
        count = len(self.facts["warnings"])
        warned = f", {count} warning{'s' if count > 1 else ''}" if count else ""
        picked = f", seed {self.facts['picked']}" if "picked" in self.facts else ""
        return f"{self.photo}: {short(self.facts['result'])} ({self.seconds:.1f} s{picked}{warned})"


def work(
    task: Task, told: Callable[[News], None] = tell_parent, bundles: Callable[[str], Any] | None = None
) -> Outcome:
    """Carry one photo; whatever goes wrong becomes its outcome, but an interrupt. told: called with news of it.
    bundles: weights that stay loaded, by name."""
    if task.threads is not None:  # in a process of its own, before torch is loaded
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(task.threads)
    from img2mv3d.cli.single import taken_by
    from img2mv3d.flow.entry import Source

    screen, started = Noted(told), time.perf_counter()
    more = {"report": task.report, "seeds": task.seeds, "bundles": bundles}
    try:
        source = Source("photo", task.photo)
        if task.carried:
            source = taken_by(task.until, task.photo, {**task.typed, "out": task.out})
        result, facts = carry_one(source, task.out, task.until, task.typed, screen, **more)
    except Exception as error:
        known = as_known(error)
        words = one_line(known) if known else f"a defect of img2mv3d ({type(error).__name__}: {one_line(error)})"
        status, spent = known.exit_code if known else 1, time.perf_counter() - started
        notes, trace = tuple(screen.notes), traceback.format_exc()
        kind = type(known).__name__ if known else "Defect"
        return Outcome(task.photo, status, words, notes=notes, trace=trace, seconds=spent, kind=kind)
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


def short(path: str) -> str:
    """As seen from here, where it is below."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path

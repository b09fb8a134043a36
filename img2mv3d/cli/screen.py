"""What a person sees while something runs: moving lines on a terminal, plain lines elsewhere, nothing when quiet.

In: the reports of a run. Out: text on stderr; stdout stays free for the result. Why here: stages and pipeline never
print, and rich is imported only where it is used.
"""

from __future__ import annotations

import shlex
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from img2mv3d.cli.lines import draws, marked, say
from img2mv3d.flow.graph import GRAPH

Stages = Mapping[str, Mapping[str, Any]]
HOW = {"cached": "from the cache", "kept": "unchanged", "edited": "as edited"}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
BAR = 14  # columns
HEARTBEAT = 10.0  # s between two plain lines about a stage that is still at work


def screen_for(quiet: bool) -> Quiet:
    """The screen that suits stderr: Quiet, Live (a terminal that may be drawn on) or Plain."""
    if quiet:
        return Quiet()
    return Live() if draws(sys.stderr) else Plain()


class Quiet:
    """Notes and warnings only."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def begin(self, stage: str, number: int, total: int) -> None:
        """A stage starts to compute."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps are through."""

    def end(self, stage: str, how: str, seconds: float) -> None:
        """A stage's output stands."""

    def note(self, line: str) -> None:
        """One sentence that matters now."""
        self.write(f"note: {line}")

    def warn(self, line: str) -> None:
        """One sentence about the result."""
        self.write(f"warning: {line}")

    def close(self, stages: Stages, seconds: float) -> None:
        """All is done. stages: what `Result` tells of each. seconds: of the whole run."""

    def look(self, folder: Path) -> None:
        """Where the mesh of the run in this folder can be looked at."""

    def write(self, line: str) -> None:
        """A line on stderr."""
        say(line)


class Plain(Quiet):
    """A line when a stage starts and ends, and one every HEARTBEAT seconds in between."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._now: Pace | None = None

    def __enter__(self) -> Plain:
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()

    def begin(self, stage: str, number: int, total: int) -> None:
        """A line: which stage, and what it does."""
        self._now = Pace(stage, time.monotonic())
        self.write(f"[{number}/{total}] {stage}: {GRAPH[stage].doing} ...")

    def progress(self, stage: str, done: int, total: int) -> None:
        """Kept for the next heartbeat."""
        if self._now is not None:
            self._now = self._now.at(done, total, time.monotonic())

    def end(self, stage: str, how: str, seconds: float) -> None:
        """A line: how long it took, or why it took nothing."""
        self._now = None
        self.write(ended(stage, how, seconds))

    def close(self, stages: Stages, seconds: float) -> None:
        """A line: the whole run's seconds, and its memory."""
        self.write(done(seconds, peak_of(stages)))

    def look(self, folder: Path) -> None:
        """A line: what to type."""
        self.write(look_at(folder))

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            now, seconds = self._now, time.monotonic()
            if now is not None and seconds - now.since >= HEARTBEAT / 2:  # not about one that has just begun
                self.write(now.line(seconds))


class Live(Quiet):
    """A line for each stage with its seconds, the last one moving; a table of all takes their place at the end."""

    def __init__(self) -> None:
        from rich.console import Console, Group
        from rich.live import Live as Drawing

        self._now: Pace | None = None
        self._doing = ""
        self._ended: dict[str, str] = {}
        self._console = Console(stderr=True, highlight=False)
        self._drawing: Any = Drawing(
            console=self._console, transient=True, refresh_per_second=8, get_renderable=lambda: Group(*self._lines())
        )

    def __enter__(self) -> Live:
        self._drawing.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._now = None
        self._drawing.stop()

    def begin(self, stage: str, number: int, total: int) -> None:
        """A new line moves; without steps yet it only shows that something lives."""
        self._doing, self._now = f"{stage}: {GRAPH[stage].doing}", Pace(stage, time.monotonic())

    def progress(self, stage: str, done: int, total: int) -> None:
        """The line tells more."""
        if self._now is not None:
            self._now = self._now.at(done, total, time.monotonic())

    def end(self, stage: str, how: str, seconds: float) -> None:
        """The line stands still, with its seconds. A stage that was there before (another seed) begins a new list."""
        if stage in self._ended:
            self._ended = {}
        self._ended[stage], self._now = ended(stage, how, seconds), None

    def close(self, stages: Stages, seconds: float) -> None:
        """The table, and the whole run's seconds and memory."""
        self._console.print(table_of(stages))
        self.write(done(seconds, peak_of(stages)))

    def look(self, folder: Path) -> None:
        """A line: what to type."""
        self.write(look_at(folder))

    def write(self, line: str) -> None:
        """A line above those that move."""
        self._console.print(marked(line))

    def _lines(self) -> list[Any]:
        """The lines as they stand now."""
        from rich.text import Text

        lines = [Text.assemble(("✓", "green"), line[1:]) for line in self._ended.values()]
        if self._now is not None:
            now = time.monotonic()
            mark = SPINNER[int(now * 8) % len(SPINNER)]
            full = round(self._now.share * BAR)
            bar = (("━" * full, "cyan"), ("━" * (BAR - full), "dim"), " ") if self._now.total > 0 else ()
            lines.append(Text.assemble((mark, "cyan"), f" {self._doing}  ", *bar, self._now.seconds(now)))
        for line in lines:
            line.truncate(self._console.width, overflow="ellipsis")
        return lines


def table_of(stages: Stages) -> Any:
    """A row for each stage: its seconds here and now, and where its output comes from."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("output")
    for stage, about in stages.items():
        table.add_row(stage, f"{about['now_seconds']:.1f}", HOW.get(about["how"], about["how"]))
    return table


def look_at(folder: Path) -> str:
    """What to type to see the mesh.

    >>> look_at(Path("my runs/out"))
    "look at it: img2mv3d view 'my runs/out/'"
    """
    return f"look at it: img2mv3d view {shlex.quote(f'{folder}/')}"


def peak_of(stages: Stages) -> int:
    """Bytes: the most that a stage took here and now, 0 where nothing was computed."""
    return max((about["peak_bytes"] for about in stages.values() if about["how"] == "computed"), default=0)


def done(seconds: float, peak: int) -> str:
    """The last line.

    >>> done(23.21, 1_430_000_000)
    'done in 23.2 s, at most 1.43 GB of memory'
    """
    return f"done in {seconds:.1f} s" + (f", at most {peak / 1e9:.2f} GB of memory" if peak else "")


def ended(stage: str, how: str, seconds: float) -> str:
    """One line about a stage that is through; seconds are those it took here and now."""
    return f"  {stage:<12} {f'{seconds:.1f} s' if how == 'computed' else HOW.get(how, how)}"


@dataclass(frozen=True)
class Pace:
    """How a stage gets on. since: when it began, s. done of total steps. first: (s, steps) when it first told any:
    imports and decoding come before, and say nothing about the pace of the steps.
    """

    stage: str
    since: float
    done: int = 0
    total: int = 0
    first: tuple[float, int] | None = None

    def at(self, done: int, total: int, now: float) -> Pace:
        """The same stage, `now` at `done` of `total` steps."""
        return replace(self, done=done, total=total, first=self.first or (now, done))

    @property
    def share(self) -> float:
        """Of the steps, those that are through."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0

    def line(self, now: float) -> str:
        """One line: steps if it tells them, seconds.

        >>> Pace("generate", 0.0).at(1, 12, 4.0).at(3, 12, 6.0).line(6.0)
        '  generate: 3 of 12, 6 s, about 9 s to go'
        """
        steps = f"{self.done} of {self.total}" if self.total > 0 else "still at work"
        return f"  {self.stage}: {steps}, {self.seconds(now)}"

    def seconds(self, now: float) -> str:
        """Those so far, and those to go if it tells steps."""
        spent = f"{now - self.since:.0f} s"
        if self.first is None or not self.first[1] < self.done < self.total:
            return spent
        began, before = self.first
        return f"{spent}, about {(now - began) / (self.done - before) * (self.total - self.done):.0f} s to go"

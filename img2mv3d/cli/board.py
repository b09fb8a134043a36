"""What a person sees while many photos run: on a terminal a table of those at work, elsewhere a line as each one ends.

In: news of the photos, from any thread. Out: text on stderr.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2mv3d.cli.lines import draws
from img2mv3d.flow.graph import GRAPH

BAR = 14  # columns
NAME = 26  # columns of a photo's name, at most
STARTING = "starting"

News = tuple[str, float]  # a stage, and how much of it is through


def board_for(total: int, jobs: int, *, quiet: bool) -> Board:
    """The board that suits stderr. total: photos; jobs: at a time."""
    if quiet:
        return Board()
    if draws(sys.stderr):
        return Table(total)
    return Board(f"{total} photos, {jobs} at a time; each is told when it is done" if jobs > 1 else "")


class Board:
    """Nothing moves. first: a line for the beginning: the first photo's comes late."""

    def __init__(self, first: str = "") -> None:
        self._first = first

    def __enter__(self) -> Board:
        if self._first:
            print(self._first, file=sys.stderr, flush=True)
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def hear(self, photo: Path, news: News | None) -> None:
        """A photo is at work; None: it has just begun."""

    @contextmanager
    def ending(self, photo: Path, failed: bool) -> Iterator[None]:
        """A photo has ended; inside, lines about it may be printed."""
        yield


@dataclass
class Row:
    """A photo at work. since: when it began, s."""

    since: float
    stage: str = STARTING
    share: float = 0.0


class Table(Board):
    """A row for each photo at work: its stage and its seconds; under them, how many there are."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._total, self._ended, self._failed, self._began = total, 0, 0, time.monotonic()
        self._rows: dict[Path, Row] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Table:
        self._begin()
        return self

    def __exit__(self, *error: object) -> None:
        self._drawing.stop()

    def hear(self, photo: Path, news: News | None) -> None:
        """Its row."""
        with self._lock:
            row = self._rows.setdefault(photo, Row(time.monotonic()))
            if news is not None:
                row.stage, row.share = news

    @contextmanager
    def ending(self, photo: Path, failed: bool) -> Iterator[None]:
        """The table makes room for the lines, and goes on under them."""
        with self._lock:
            self._rows.pop(photo, None)
            self._ended, self._failed = self._ended + 1, self._failed + failed
        self._drawing.stop()
        try:
            yield
        finally:
            self._begin()

    def _begin(self) -> None:
        """A new drawing, where the cursor is: an old one would wipe away what stands above."""
        from rich.console import Console
        from rich.live import Live

        # stdout may be a file: what is printed stays where it was meant for
        kept: dict[str, Any] = {"redirect_stdout": False, "redirect_stderr": False, "transient": True}
        console = Console(stderr=True, highlight=False)
        self._drawing = Live(console=console, refresh_per_second=4, get_renderable=self._drawn, **kept)
        self._drawing.start()

    def _drawn(self) -> Any:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table as Grid
        from rich.text import Text

        now = time.monotonic()
        grid = Grid(box=SIMPLE_HEAD, pad_edge=False, caption=self._sum(now), caption_justify="left")
        grid.add_column("photo", max_width=NAME, no_wrap=True, overflow="ellipsis")
        grid.add_column("stage", no_wrap=True, overflow="ellipsis")
        grid.add_column("seconds", justify="right", no_wrap=True, min_width=7)
        with self._lock:
            rows = sorted(self._rows.items(), key=lambda item: item[1].since)
        for photo, row in rows:
            full = round(min(row.share, 1.0) * BAR)
            doing = GRAPH[row.stage].doing if row.stage in GRAPH else row.stage
            stage = Text.assemble(("━" * full, "cyan"), ("━" * (BAR - full), "dim"), f" {doing}")
            grid.add_row(photo.name, stage, f"{now - row.since:.0f}")
        return grid

    def _sum(self, now: float) -> str:
        waiting = self._total - self._ended - len(self._rows)
        told = f"{self._ended} of {self._total} done"
        told += f", {self._failed} of them failed" if self._failed else ""
        told += f", {waiting} waiting" if waiting else ""
        return f"{told}, {now - self._began:.0f} s"

"""A seat far away: one worker process on a node, and whether that node may take part.

In: what the head says. Out: outcomes. Whatever dies here takes the worker process and its children along.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from img2mv3d import __version__
from img2mv3d.cluster.engine import SLACK
from img2mv3d.serve.workers import LOADING, Outcome, Work, Worker

LATE = 10.0  # s by which a network drive may show a new file late


def versions() -> str:
    """What must be the same everywhere, for people."""
    return f"img2mv3d {__version__}, torch {version('torch')}"


def objection(head: str, sign: Path) -> str:
    """Why this node may not take part; empty when it may. head: its `versions`. sign: a file that the head has put into
    the folder of the results."""
    node = platform.node()
    if versions() != head:
        return f"{node} has {versions()}, this machine has {head}; install the same everywhere"
    end = time.monotonic() + LATE
    while not sign.exists():
        if time.monotonic() > end:
            return f"{node} does not see {sign.parent}; give -o a folder that all nodes share"
        time.sleep(0.2)
    return ""


class Seat:
    """One worker process; the methods are called from afar, `news` and `stop` while `do` is at work."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._problem, self._threads = "", 1
        self._checked, self._opened, self._stop = (threading.Event() for _ in range(3))
        self._told: tuple[str, dict[str, Any]] | None = None

    def open(self, head: str, sign: str, threads: int) -> str:
        """Why this node may not take part; empty when it may."""
        try:
            self._problem = objection(head, Path(sign))
        finally:
            self._threads = threads
            self._checked.set()
        return self._problem

    def start(self, work: Work) -> str:
        """Start the process, with everything loaded; why that cannot be, else empty. Comes after `open`: what another
        version would not know is not sent before."""
        self._checked.wait(2 * LATE)
        try:
            if not self._problem:
                self._worker = self._started(work)
        except Exception as error:  # whatever it is, the head shall read it in one line
            self._problem = f"{platform.node()}: {' '.join(str(error).split()) or type(error).__name__}"
        finally:
            self._opened.set()
        return self._problem

    def _started(self, work: Work) -> Worker:
        sys.modules["__main__"].__dict__.pop("__file__", None)  # or the new process would run the engine's own script
        worker = Worker(work, threads=self._threads)
        worker.start(self._stop)
        return worker

    def do(self, task: Any, memory: int) -> Outcome:
        """One task. memory: bytes that it may need."""
        self._opened.wait(LOADING)
        if self._worker is None:
            return Outcome(False, self._problem or "it was not opened", lost="start")
        self._worker.memory, self._told = int(SLACK * memory), None
        return self._worker.run(task, self._hear, self._stop)

    def news(self) -> tuple[str, dict[str, Any]] | None:
        """What the task that runs told last; None where it has told nothing yet."""
        return self._told

    def stop(self) -> None:
        """Let the task that runs come to its end, at once."""
        self._stop.set()

    def _hear(self, kind: str, data: dict[str, Any]) -> None:
        self._told = kind, data

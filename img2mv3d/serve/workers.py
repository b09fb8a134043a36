"""Worker processes: each does one thing at a time, stays warm, and takes only its own run down with it.

In: a `Work` that another process can import. Out: outcomes, never exceptions of the work.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

from img2mv3d.errors import Img2mv3dError

GRACE = 2.0  # seconds that a run has to stop by itself, before its process is killed
LOADING = 900.0  # seconds that a process has to become warm, on the slowest machine
LOOK = 0.5  # seconds between two looks at a worker's memory

Tell = Callable[[str, dict[str, Any]], None]  # an event: its kind, its data


class StoppedError(Img2mv3dError):
    """The run was asked to stop."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task. ok: it went well. reason: one line, if not. facts: plain values. lost: why nothing is
    known about the task itself: "killed" (its process died), "memory" (it took too much), "start" (no process began).
    kind: of what went wrong, for counting.
    """

    ok: bool
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    lost: str = ""
    kind: str = ""


@runtime_checkable
class Work(Protocol):
    """What a worker process does. It is pickled once, when the process starts."""

    def warm(self) -> None:
        """Load what every task needs."""
        ...

    def do(self, task: Any, tell: Tell) -> Outcome:
        """One task. `tell` raises StoppedError when it shall stop."""
        ...


class Worker:
    """One process, started when it is first needed and again after it died.

    memory: bytes of resident memory, children included, from which on it is killed; None: no limit.
    threads: for torch and its like; None: as many as there are processors.
    """

    def __init__(self, work: Work, *, memory: int | None = None, threads: int | None = None) -> None:
        self._work, self.memory, self._threads = work, memory, threads
        self._process: Any = None
        self._pipe: Connection | None = None
        self._ready, self._starting = threading.Event(), threading.Lock()
        self._closed = False

    @property
    def ready(self) -> bool:
        """Is everything loaded?"""
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """Of the process, None before it was started."""
        return None if self._process is None else self._process.pid

    def start(self, stop: threading.Event | None = None, seconds: float | None = None) -> None:
        """Start the process and wait until it is warm; nothing when it is already. Raises Img2mv3dError when it cannot
        become so.

        stop: whoever sets it waits no longer. seconds: that it may take at most.
        """
        with self._starting:  # a second caller waits for the first one's process, and does not read its pipe
            if self._closed or (self._process is not None and self._process.is_alive()):
                return
            self._ready.clear()
            context = multiprocessing.get_context("spawn")  # forking a process that has loaded torch would hang
            ours, theirs = context.Pipe()
            process = context.Process(target=_live, args=(self._work, theirs, self._threads), daemon=True)
            process.start()
            theirs.close()
            self._process, self._pipe = process, ours
            end = time.monotonic() + min(LOADING, LOADING if seconds is None else seconds)
            try:
                problem = self._loaded(ours, stop, end)
            except (EOFError, OSError):
                problem = "the worker process died while it was loading"
            if problem:
                self.kill()
                raise Img2mv3dError(problem)
            self._ready.set()

    def _loaded(self, pipe: Connection, stop: threading.Event | None, end: float) -> str:
        """What a process says when it is warm: nothing, or why it is not."""
        while not pipe.poll(0.1):  # one that hangs while it loads must not hold its run for ever
            if self._closed or (stop is not None and stop.is_set()):
                return "stopped"
            if time.monotonic() > end:
                return "the worker process took too long to load and was stopped"
        return str(pipe.recv())

    def run(self, task: Any, tell: Tell, stop: threading.Event, seconds: float | None = None) -> Outcome:
        """One task to its end, whatever that is. stop: set by whoever does not want it any more. seconds: that it may
        take at most."""
        try:
            self.start(stop, seconds)
        except (Img2mv3dError, OSError) as error:
            return Outcome(False, str(error), lost="start")
        assert self._pipe is not None
        try:
            self._pipe.send(("do", task))
            return self._follow(self._pipe, tell, stop, None if seconds is None else time.monotonic() + seconds)
        except (EOFError, OSError, AttributeError):  # it died, or somebody killed it
            self.kill()
            told = "the worker process was killed, perhaps for want of memory; try --quality draft"
            return Outcome(False, told, lost="killed")

    def _follow(self, pipe: Connection, tell: Tell, stop: threading.Event, end: float | None) -> Outcome:
        limit, late, looked = None, "", time.monotonic()
        while True:
            if pipe.poll(0.05):
                kind, data = pipe.recv()
                if kind == "outcome":
                    return Outcome(False, late) if late and not data.ok else data
                tell(kind, data)
            now = time.monotonic()
            if limit is None and (stop.is_set() or (end is not None and now > end)):
                late = "" if stop.is_set() else "it took too long and was stopped"
                pipe.send(("stop", None))
                limit = now + GRACE
            if limit is not None and now > limit:
                self.kill()
                return Outcome(False, late or "stopped")
            if self.memory is not None and now - looked > LOOK:
                looked = now
                if (found := memory_of(self.pid)) > self.memory:
                    self.kill()
                    gib = 2**30
                    words = f"{found / gib:.1f} of {self.memory / gib:.1f} GiB"
                    told = f"it used too much memory ({words}) and was stopped; try quality draft"
                    return Outcome(False, told, lost="memory")

    def kill(self) -> None:
        """End the process and all that it started."""
        self._ready.clear()
        process = self._process
        if process is None or process.pid is None:
            return
        kill_group(process.pid)
        process.join(2)
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.close()
        self._process = self._pipe = None

    def close(self) -> None:
        """End it for good."""
        self._closed = True
        self.kill()


def memory_of(pid: int | None) -> int:
    """Bytes in memory of a process and its children; 0 when it is gone."""
    import psutil

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(p.memory_info().rss for p in family)
    except psutil.Error:
        return 0


def kill_group(pid: int) -> None:
    """Kill a worker and its children: its process group, where the system has such."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        process.kill()


def _live(work: Work, pipe: Connection, threads: int | None) -> None:
    """The process's life: load, then one task after the other, until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends us
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    if threads is not None:  # before torch is loaded
        os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = str(threads)
    tasks, stop = _listener(pipe)
    try:
        work.warm()
    except Exception as error:
        pipe.send(" ".join(str(error).split()) or type(error).__name__)
        return
    pipe.send("")

    def tell(kind: str, data: dict[str, Any]) -> None:
        if stop.is_set():
            raise StoppedError("stopped")
        pipe.send((kind, data))

    while True:
        task = tasks()
        stop.clear()
        try:
            outcome = work.do(task, tell)
        except StoppedError:
            outcome = Outcome(False, "stopped")
        except Exception as error:
            outcome = Outcome(False, f"a defect of img2mv3d ({type(error).__name__}: {' '.join(str(error).split())})")
        pipe.send(("outcome", outcome))


def _listener(pipe: Connection) -> tuple[Callable[[], Any], threading.Event]:
    """What gives the next task, and the event that says stop. When the server is gone, so is this process."""
    import queue

    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stop = threading.Event()

    def listen() -> None:
        while True:
            try:
                kind, task = pipe.recv()
            except (EOFError, OSError):
                kill_group(os.getpid())
                return
            tasks.put(task) if kind == "do" else stop.set()

    threading.Thread(target=listen, daemon=True).start()
    return tasks.get, stop

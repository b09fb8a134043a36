"""The engine of Ray: an actor for each seat, which holds one worker process with its models loaded.

In: the address of a cluster whose node this machine is, or none: then that which is here, or a new one of this machine
alone. Nothing is shipped but tasks: every node has the package, and sees the folder of the results.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from img2mv3d.cluster.engine import NODE, Ended, Need, News
from img2mv3d.cluster.policy import STARTS
from img2mv3d.cluster.seat import Seat, versions
from img2mv3d.errors import ResourceError, UsageError
from img2mv3d.serve.workers import GRACE, Outcome, Work

PORT = 6379  # of a head, where none is named
NEW = "local"  # Ray's own word, in RAY_ADDRESS, for a cluster of this machine alone, whatever else runs here
LOOK = 5.0  # s between two looks whether nodes came
ASK = 1.0  # s between two questions how far a task is, for each hundred tasks: a question costs a millisecond
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# of a cluster that is started here: no log grows beyond 10 MB, and photos are no less urgent than elsewhere
HERE = {"RAY_ROTATION_MAX_BYTES": "5000000", "RAY_ROTATION_BACKUP_COUNT": "1", "RAY_worker_niceness": "0"}


@dataclass(eq=False)
class Hired:
    """An actor. memory: bytes that are set aside for it. ready: references of what must go well first. asked: reference
    of what its task told last, while that is on its way."""

    actor: Any
    memory: int
    ready: list[Any] = field(default_factory=list)
    asked: Any = None


class OnRay:
    """Seats on all nodes. Raises UsageError where there is no such cluster or no node has room for one task."""

    def __init__(self, work: Work, need: Need, seats: int | None, place: Path, address: str | None = None) -> None:
        self._work, self._need, self._most = work, need, seats
        self._opening: dict[Any, Hired] = {}
        self._idle: list[Hired] = []
        self._busy: dict[Any, tuple[int, Hired]] = {}
        self._unable, self._able, self._looked, self._heard = 0, False, 0.0, 0.0
        self._quiet = contextlib.ExitStack()
        self._quiet.enter_context(contextlib.redirect_stdout(OneThread(sys.stdout)))
        try:
            self._ours = connect(address)
        except BaseException:
            self._quiet.close()
            raise
        place.mkdir(parents=True, exist_ok=True)
        self._sign = place / f".img2mv3d-head-{secrets.token_hex(6)}"
        self._sign.touch()
        try:
            self.most_memory = check_room(resources(), need)
            self._hire_more()
        except BaseException:
            self.cancel()
            raise

    def free(self) -> int:
        """Actors whose process is warm and has no task."""
        return len(self._idle)

    def submit(self, number: int, task: Any, memory: int) -> None:
        """Give it to an actor; one with more memory takes the place of one that has too little."""
        hired = self._idle.pop()
        if hired.memory < memory:
            import ray

            ray.kill(hired.actor)
            hired = self._hire(memory)
            hired.actor.start.remote(self._work)
        self._busy[hired.actor.do.remote(task, memory)] = number, hired

    def wait(self, seconds: float) -> list[Ended | News]:
        """Which tasks ended, and how far others are. Raises UsageError when a node must not take part, ResourceError
        when none can."""
        import ray

        self._hire_more()
        waiting = [*self._opening, *self._busy]
        if not waiting:
            time.sleep(seconds)
            return []
        found: list[Ended | News] = []
        if ray.wait(waiting, num_returns=1, timeout=seconds)[0]:
            ready = ray.wait(waiting, num_returns=len(waiting), timeout=0)[0]
            for reference in ready:
                if reference in self._opening:
                    self._settle(reference)
            found += [self._ended(reference) for reference in ready if reference in self._busy]
        return found + self._news()

    def cancel(self) -> None:
        """Tasks are asked to stop, then everything ends."""
        import ray

        with contextlib.suppress(Exception):  # a cluster that is gone needs no goodbye
            for _, hired in self._busy.values():
                hired.actor.stop.remote()
            if self._busy:
                ray.wait(list(self._busy), num_returns=len(self._busy), timeout=GRACE + 1)
            for hired in (*self._idle, *self._opening.values(), *(h for _, h in self._busy.values())):
                ray.kill(hired.actor)
        self._sign.unlink(missing_ok=True)
        if self._ours:
            ray.shutdown()
        self._quiet.close()

    def _hire_more(self) -> None:
        """As many actors as there is room for: nodes come and go."""
        if time.monotonic() - self._looked < LOOK and self._looked:
            return
        self._looked = time.monotonic()
        room = seats_in(resources(), self._need)
        wanted = min(room, max(1, room - self._unable), self._most or room)
        for _ in range(wanted - len(self._opening) - len(self._idle) - len(self._busy)):
            hired = self._hire(self._need.memory)
            self._opening[hired.ready[-1]] = hired

    def _hire(self, memory: int) -> Hired:
        import ray

        told = {"num_cpus": self._need.cpus, "memory": memory, "num_gpus": self._need.gpus}
        actor = ray.remote(Seat).options(**told, max_restarts=0, max_task_retries=0, max_concurrency=4).remote()
        hired = Hired(actor, memory)
        hired.ready.append(actor.open.remote(versions(), str(self._sign), self._need.cpus))
        return hired

    def _settle(self, reference: Any) -> None:
        """An actor is ready, or goes on to its next step, or is none."""
        import ray

        hired = self._opening.pop(reference)
        try:
            problem = ray.get(reference)
        except ray.exceptions.RayError as error:  # its node went, perhaps; where others are well, another one is tried
            return None if self._able else self._missed(_first_line(error))
        if len(hired.ready) == 1 and problem:
            raise UsageError(problem)
        if problem:
            ray.kill(hired.actor)
            return self._missed(problem)
        if len(hired.ready) == 1:
            hired.ready.append(hired.actor.start.remote(self._work))
            self._opening[hired.ready[-1]] = hired
        else:
            self._idle.append(hired)
            self._able = True

    def _missed(self, problem: str) -> None:
        """An actor did not come to life: one fewer is tried."""
        self._unable += 1
        if not self._able and self._unable >= STARTS:
            raise ResourceError(f"no worker can start: {problem}")

    def _news(self) -> list[Ended | News]:
        """What busy actors told since they were asked; then they are asked again."""
        import ray

        if time.monotonic() - self._heard < ASK * (1 + len(self._busy) // 100):
            return []
        self._heard = time.monotonic()
        found: list[Ended | News] = []
        asked = [hired.asked for _, hired in self._busy.values() if hired.asked is not None]
        ready = set(ray.wait(asked, num_returns=len(asked), timeout=0)[0]) if asked else set()
        for number, hired in self._busy.values():
            if hired.asked in ready:
                with contextlib.suppress(ray.exceptions.RayError):  # its task's own reference says so, too
                    if told := ray.get(hired.asked):
                        found.append(News(number, *told))
            elif hired.asked is not None:
                continue
            hired.asked = hired.actor.news.remote()
        return found

    def _ended(self, reference: Any) -> Ended:
        import ray

        number, hired = self._busy.pop(reference)
        hired.asked = None  # an answer that is late would be of this task
        try:
            outcome = ray.get(reference)
        except ray.exceptions.OutOfMemoryError:
            ray.kill(hired.actor)
            return Ended(number, Outcome(False, "its node ran out of memory"), "memory")
        except ray.exceptions.RayError as error:
            self._looked = 0.0
            ray.kill(hired.actor)  # one that is only out of reach would keep its place, and its task would go on
            return Ended(number, Outcome(False, f"its node went ({_first_line(error)})"), NODE)
        self._idle.append(hired)
        return Ended(number, outcome, outcome.lost)


class OneThread:
    """A stream that takes only what the thread says that made this: Ray's own threads print pages about a lost node in
    between lines that a program reads."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        """The text, or nothing."""
        return self._stream.write(text) if threading.get_ident() == self._thread else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def connect(address: str | None) -> bool:
    """Join the cluster; True when it must be left at the end. Raises UsageError.

    The head is a plain driver: a session through a proxy would be gone half a minute after the network.
    """
    os.environ.update(QUIET)
    import ray

    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": "img2mv3d"}
    wanted = address and (address if ":" in address else f"{address}:{PORT}")
    known = wanted or os.environ.get("RAY_ADDRESS")
    try:
        if known != NEW:
            ray.init(address=known or "auto", **quiet)
            return True
    except ConnectionError as error:
        if known:
            raise UsageError(f"--cluster ray://{wanted or ''}: no cluster there ({_first_line(error)})") from None
    except (RuntimeError, ValueError) as error:  # other versions of Ray or Python
        raise UsageError(f"--cluster ray: {_first_line(error)}") from None
    os.environ.update({name: value for name, value in HERE.items() if name not in os.environ})
    ray.init(address=NEW, include_dashboard=False, object_store_memory=100 << 20, **quiet)
    return True


def resources() -> list[dict[str, float]]:
    """Of each node that lives: "CPU", "GPU", "memory" (bytes)."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def seats_in(nodes: list[dict[str, float]], need: Need) -> int:
    """How many tasks have room at a time.

    >>> seats_in([{"CPU": 4.0, "memory": 3e9}, {"CPU": 1.0, "memory": 9e9}], Need(1, 10**9))
    4
    """
    wanted = {"CPU": need.cpus, "memory": need.memory, "GPU": need.gpus}
    return sum(min(int(node.get(n, 0) // w) for n, w in wanted.items() if w) for node in nodes)


def check_room(nodes: list[dict[str, float]], need: Need) -> int:
    """The memory of the largest node, bytes. Raises UsageError where no node has room for a task: it would wait for
    ever."""
    if not seats_in(nodes, need):
        largest = max(nodes, key=lambda node: node.get("memory", 0), default={})
        cpus, gpus = int(largest.get("CPU", 0)), int(largest.get("GPU", 0))
        has = Need(cpus, int(largest.get("memory", 0)), gpus).words()
        raise UsageError(f"a photo needs {need.words()}, and no node has that: the largest has {has}")
    return int(max(node.get("memory", 0) for node in nodes))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__

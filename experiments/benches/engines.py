"""What an engine costs beside the work: milliseconds for a task that does nothing, and the head's memory by photo.

`python -m experiments.benches.engines [COUNT] [local pools ray]`: each engine in turn, the same tasks, one process at a
time; wall clock and processor time of this process and its children. Then the head's memory for 1,000 and 10,000
queued photos.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from img2mv3d.cluster.engine import Ended, Need, News
from img2mv3d.cluster.policy import drive
from img2mv3d.serve.workers import Outcome, Tell

NEED = Need(1, 200 << 20)


class Nothing:
    """The work."""

    def warm(self) -> None:
        """Nothing to load."""

    def do(self, task: Any, tell: Tell) -> Outcome:
        """Nothing to do."""
        return Outcome(True, facts={"result": str(task), "warnings": [], "stages": {}})


def nothing(task: Any) -> Outcome:
    """The work of a pool."""
    return Nothing().do(task, lambda kind, data: None)


def in_pools(tasks: list[str]) -> Iterator[Any]:
    """As `run --jobs`."""
    from img2mv3d.cli.pools import in_processes

    return in_processes(nothing, tasks, 1)


def on_local(tasks: list[str]) -> Iterator[Any]:
    """As `run --cluster local`."""
    from img2mv3d.cluster.local import Local

    return drive(Local(Nothing(), NEED, 1), tasks, NEED.memory)


def on_ray(tasks: list[str]) -> Iterator[Any]:
    """As `run --cluster ray`, on this machine."""
    from img2mv3d.cluster.on_ray import OnRay

    os.environ["RAY_ADDRESS"] = "local"  # none that happens to run here
    with TemporaryDirectory() as place:
        yield from drive(OnRay(Nothing(), NEED, 1, Path(place)), tasks, NEED.memory)


ENGINES: dict[str, Callable[[list[str]], Iterator[Any]]] = {"pools": in_pools, "local": on_local, "ray": on_ray}


def timed(start: Callable[[list[str]], Iterator[Any]], count: int) -> tuple[float, float]:
    """Milliseconds of wall clock and of processor for each task, from the first one's end on."""
    ended = start([f"photo {n}" for n in range(count)])
    next(ended)
    began, spent = time.perf_counter(), processor()
    for _ in ended:
        spent_now = processor()  # before the workers end and take their figures along
    return 1e3 * (time.perf_counter() - began) / (count - 1), 1e3 * (spent_now - spent) / (count - 1)


def processor() -> float:
    """Seconds of this process and those below it."""
    me = psutil.Process()
    total = 0.0
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
            total += times.user + times.system
        except psutil.Error:
            continue
    return total


class Instant:
    """An engine without processes: what is left is the head's."""

    most_memory = 1 << 40

    def __init__(self) -> None:
        self._ended: list[Ended | News] = []

    def free(self) -> int:
        """Eight seats."""
        return 8 - len(self._ended)

    def submit(self, number: int, task: Any, memory: int) -> None:
        """Done."""
        self._ended.append(Ended(number, nothing(task)))

    def wait(self, seconds: float) -> list[Ended | News]:
        """All of it."""
        found, self._ended = self._ended, []
        return found

    def cancel(self) -> None:
        """Nothing runs."""


def head_memory(count: int) -> int:
    """Bytes of this process that so many photos take, from the list to the summary."""
    from img2mv3d.cli.seeds import ONE
    from img2mv3d.cli.tally import Tally
    from img2mv3d.cli.tasks import Outcome as Done
    from img2mv3d.cli.tasks import Task
    from img2mv3d.cli.wanted import names_for

    before = psutil.Process().memory_info().rss
    paths = [Path(f"/shared/photos/{n // 1000:04}/photo-{n:07}.jpg") for n in range(count)]
    tasks = [
        Task(p, Path("/shared/out") / name, "export", {"quality": "draft"}, ONE, True, None, n)
        for n, (p, name) in enumerate(zip(paths, names_for(paths), strict=True))
    ]
    tally = Tally(paths)
    for number, found in drive(Instant(), tasks, 1):
        tally.add(number, Done(paths[number], facts=found.facts, seconds=1.0))
    tally.summary(1.0)
    return psutil.Process().memory_info().rss - before


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {count} tasks that do nothing")
    for name in sys.argv[2:] or ENGINES:
        wall, spent = timed(ENGINES[name], count)
        print(f"{name:6} {wall:7.2f} ms wall, {spent:6.2f} ms of processor for each", flush=True)
    few, many = head_memory(1_000), head_memory(10_000)
    print(
        f"head: {few / 1e6:.1f} MB for 1,000 photos, {many / 1e6:.1f} MB for 10,000: {many / 10_000:.0f} bytes for each"
    )


if __name__ == "__main__":
    from experiments.benches import engines  # workers find what they do by its module's name

    engines.main()

"""What an engine is: seats for tasks on this machine, on Ray's nodes or in Slurm's jobs.

In: tasks that can be pickled, what one of them needs. Out: `Ended` for each, and news on the way. An engine repeats
nothing and judges nothing: that is `policy`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from img2mv3d.serve.workers import Outcome

SLACK = 1.5  # how far a task may go above the memory that was forecast before it is stopped
NODE, START = "node", "start"  # `Ended.lost`, when it was not the task's fault


@dataclass(frozen=True)
class Need:
    """What one task takes. cpus: its threads, too. memory: bytes. gpus: cards."""

    cpus: int = 1
    memory: int = 1 << 30
    gpus: int = 0

    def words(self) -> str:
        """For people.

        >>> Need(2, 3 << 30, 1).words()
        '2 CPUs, 3.2 GB, 1 GPU'
        """
        cards = f", {self.gpus} GPU{'s' * (self.gpus > 1)}" if self.gpus else ""
        return f"{self.cpus} CPU{'s' * (self.cpus > 1)}, {self.memory / 1e9:.1f} GB{cards}"


@dataclass(frozen=True)
class Ended:
    """A task has come to an end. outcome: what became of it. lost: "" when it was done, well or not; else what was
    lost: "killed" (its process died), "memory" (it took too much and was stopped), "node" (all around it went),
    "start" (no process could begin).
    """

    number: int
    outcome: Outcome
    lost: str = ""


@dataclass(frozen=True)
class News:
    """A task tells how far it is."""

    number: int
    kind: str
    data: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Engine(Protocol):
    """Seats, each of which has one task at a time.

    free: how many have none. submit: give a task to one of them; memory: bytes it may need. wait: what happened, at
    most so many seconds later. cancel: stop all that runs, within seconds, and give the seats back. most_memory: bytes
    that a task can have at all.
    """

    most_memory: int

    def free(self) -> int: ...

    def submit(self, number: int, task: Any, memory: int) -> None: ...

    def wait(self, seconds: float) -> list[Ended | News]: ...

    def cancel(self) -> None: ...

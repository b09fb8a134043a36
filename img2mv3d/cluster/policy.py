"""The one policy for all engines: how many tasks are on their way, which is next, which is tried again and which is
set aside.

In: an engine, tasks of any number. Out: (number, outcome) as they end. Tasks are drawn only when there is a seat, and
forgotten when they ended: a list of 100,000 costs nothing here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from img2mv3d.cluster.engine import NODE, START, Ended, Engine, News
from img2mv3d.errors import ResourceError
from img2mv3d.serve.workers import Outcome

KILLS = 3  # of its own process, from which on a task is set aside
STARTS = 3  # that fail in a row, while no task ends, until all is given up
LOSSES = 8  # of the node around it; then nobody believes any more that it was the node's fault
TICK = 0.5  # seconds between two looks, where nothing happens


@dataclass(frozen=True)
class Attempt:
    """A task on its way. memory: bytes it may need. kills, losses: how often it was lost before, and through what."""

    number: int
    task: Any
    memory: int
    kills: int = 0
    losses: int = 0

    def lost(self, why: str, most: int) -> Attempt:
        """The next attempt, with more memory where that was lacking. most: bytes that there are at all."""
        if why in (NODE, START):
            return replace(self, losses=self.losses + 1)
        memory = min(2 * self.memory, max(most, self.memory)) if why == "memory" else self.memory
        return replace(self, kills=self.kills + 1, memory=memory)

    @property
    def hopeless(self) -> str:
        """Why it is set aside; empty while it is not."""
        if self.kills >= KILLS:
            return f"set aside: its process died {self.kills} times"
        return f"set aside: lost with its node {self.losses} times" if self.losses >= LOSSES else ""


class Schedule:
    """Which task is next, and what an end means. No clock, no process, no file."""

    def __init__(self, tasks: Iterable[Any], memory: int, most: int) -> None:
        self._fresh = enumerate(tasks)
        self._memory, self._most = memory, most
        self._next: deque[Attempt] = deque()  # lost through no fault of their own
        self._late: deque[Attempt] = deque()  # killed a process: whoever is well goes first
        self._out: dict[int, Attempt] = {}
        self._drained = False
        self._unable = 0  # starts that failed in a row

    @property
    def over(self) -> bool:
        """Is nothing left, and nothing on its way?"""
        return self._drained and not (self._next or self._late or self._out)

    def next(self) -> Attempt | None:
        """The task for a free seat, on its way from now on; None when none waits."""
        attempt = self._next.popleft() if self._next else self._drawn()
        if attempt is None and self._late:
            attempt = self._late.popleft()
        if attempt is not None:
            self._out[attempt.number] = attempt
        return attempt

    def ended(self, ended: Ended) -> Outcome | None:
        """What became of the task, for good; None when it is tried again, or nobody waits for it. Raises ResourceError
        when workers cannot even start: no other task would be better off."""
        self._unable = self._unable + 1 if ended.lost == START else 0
        if self._unable >= STARTS:
            raise ResourceError(f"no worker can start: {ended.outcome.reason}")
        attempt = self._out.pop(ended.number, None)
        if attempt is None:  # of a node that was taken for lost
            return None
        if not ended.lost:
            return ended.outcome
        again = attempt.lost(ended.lost, self._most)
        if again.hopeless:
            return replace(ended.outcome, ok=False, reason=f"{again.hopeless} ({ended.outcome.reason})")
        (self._next if ended.lost in (NODE, START) else self._late).append(again)
        return None

    def _drawn(self) -> Attempt | None:
        for number, task in self._fresh:
            return Attempt(number, task, self._memory)
        self._drained = True
        return None


def drive(
    engine: Engine, tasks: Iterable[Any], memory: int, heard: Callable[[News], None] = lambda news: None
) -> Iterator[tuple[int, Outcome]]:
    """(number, outcome) of every task as they end, numbers in the order of `tasks`. However it is left, the engine is
    cancelled.

    memory: bytes that a task needs, as far as is known. heard: gets "begun", "again" (with why) and what tasks tell.
    """
    schedule = Schedule(tasks, memory, engine.most_memory)
    try:
        while not schedule.over:
            while engine.free() > 0 and (attempt := schedule.next()) is not None:
                heard(News(attempt.number, "begun", {"attempt": 1 + attempt.kills + attempt.losses}))
                engine.submit(attempt.number, attempt.task, attempt.memory)
            if schedule.over:
                return
            for event in engine.wait(TICK):
                if isinstance(event, News):
                    heard(event)
                elif (outcome := schedule.ended(event)) is not None:
                    yield event.number, outcome
                elif event.lost:
                    heard(News(event.number, "again", {"lost": event.lost, "why": event.outcome.reason}))
    finally:
        engine.cancel()

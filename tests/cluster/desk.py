"""Engines for tests: tasks are done at once, in this process, or lost as their words say."""

import queue
from typing import Any

from img2mv3d.cluster.engine import Ended, News
from img2mv3d.serve.workers import Outcome


class Desk:
    """`seats` tasks at a time. A task is a function of the attempt (0, 1, ...) that gives an `Outcome`, or the word of
    what is lost."""

    def __init__(self, seats: int = 2, most_memory: int = 1 << 40) -> None:
        self.most_memory = most_memory
        self.seats, self.busy, self.log = seats, [], []
        self.most_busy, self.cancelled, self.attempts = 0, 0, {}

    def free(self) -> int:
        return self.seats - len(self.busy)

    def submit(self, number: int, task: Any, memory: int) -> None:
        assert self.free() > 0
        self.busy.append((number, task))
        self.log.append((number, memory))
        self.most_busy = max(self.most_busy, len(self.busy))

    def wait(self, seconds: float) -> list[Ended | News]:
        number, task = self.busy.pop(0)
        attempt = self.attempts[number] = self.attempts.get(number, -1) + 1
        found = task(attempt)
        if isinstance(found, Outcome):
            return [News(number, "stage", {"stage": "prepare"}), Ended(number, found)]
        return [Ended(number, Outcome(False, f"{found} went"), found)]

    def cancel(self) -> None:
        self.cancelled += 1
        self.busy.clear()


class Here:
    """Does its tasks. lost: what is lost at the first attempts at a task, by its number."""

    most_memory = 1 << 40

    def __init__(self, work: Any) -> None:
        self.work, self.tasks, self.lost, self.attempts = work, [], {}, {}
        self._ended: queue.SimpleQueue = queue.SimpleQueue()
        self._news: list[News] = []
        work.warm()

    def free(self) -> int:
        return 1 - self._ended.qsize()

    def submit(self, number: int, task: Any, memory: int) -> None:
        self.tasks.append(task)
        attempt = self.attempts[number] = self.attempts.get(number, -1) + 1
        if attempt < len(lost := self.lost.get(number, [])):
            self._ended.put(Ended(number, Outcome(False, f"{lost[attempt]} went", lost=lost[attempt]), lost[attempt]))
        else:
            self._ended.put(Ended(number, self.work.do(task, lambda *told: self._news.append(News(number, *told)))))

    def wait(self, seconds: float) -> list[Ended | News]:
        told, self._news = self._news, []
        return [*told, self._ended.get()]

    def cancel(self) -> None:
        pass

"""The engine of one machine: worker processes side by side, each with its models loaded."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any

from img2mv3d.cluster.engine import SLACK, Ended, Need, News
from img2mv3d.errors import UsageError
from img2mv3d.serve.workers import Work, Worker


class Local:
    """`seats` worker processes for `work`. Raises UsageError when the machine has too little memory for one."""

    def __init__(self, work: Work, need: Need, seats: int) -> None:
        import psutil

        self.most_memory = psutil.virtual_memory().total
        if need.memory > self.most_memory:
            has = f"{self.most_memory / 1e9:.1f} GB"
            raise UsageError(f"a photo needs {need.words()}, this machine has {has}; try --quality draft")
        self._workers = [Worker(work, threads=need.cpus) for _ in range(seats)]
        self._idle = list(self._workers)
        self._busy: dict[int, tuple[Worker, threading.Thread]] = {}
        self._events: queue.SimpleQueue[Ended | News] = queue.SimpleQueue()
        self._stop = threading.Event()

    def free(self) -> int:
        """Workers without a task."""
        return len(self._idle)

    def submit(self, number: int, task: Any, memory: int) -> None:
        """Give it to a worker."""
        worker = self._idle.pop()
        worker.memory = int(SLACK * memory)
        thread = threading.Thread(target=self._do, args=(worker, number, task), daemon=True)
        self._busy[number] = worker, thread
        thread.start()

    def wait(self, seconds: float) -> list[Ended | News]:
        """What happened."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._events.get(timeout=seconds))
            while True:
                found.append(self._events.get_nowait())
        for event in found:
            if isinstance(event, Ended):
                self._idle.append(self._busy.pop(event.number)[0])
        return found

    def cancel(self) -> None:
        """Stop what runs; the processes end."""
        self._stop.set()
        for _, thread in self._busy.values():
            thread.join()
        for worker in self._workers:
            worker.close()

    def _do(self, worker: Worker, number: int, task: Any) -> None:
        outcome = worker.run(task, lambda kind, data: self._events.put(News(number, kind, data)), self._stop)
        self._events.put(Ended(number, outcome, outcome.lost))

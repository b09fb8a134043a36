"""Tasks side by side, each in a process of its own.

In: a function of a module, things to pickle. Out: results as they come. The standard library's executor gives up all
tasks when one worker is killed; here only the task of that worker is lost.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

T = TypeVar("T")


class Lost:
    """Stands for the result of a task whose process was killed."""


def in_processes(work: Callable[[T], Any], tasks: list[T], jobs: int) -> Iterator[tuple[T, Any]]:
    """(task, work(task)) as they end, `jobs` at a time, in fresh processes that go on to further tasks. `Lost` instead
    of a result when the process died; what `work` raises is raised here, and no further task is begun.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    ended: queue.SimpleQueue[tuple[T, Any, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def serve() -> None:
        pool = _pool()
        while not stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                break
            try:
                ended.put((task, pool.submit(work, task).result(), None))
            except BrokenProcessPool:
                pool.shutdown(wait=False)
                pool = _pool()
                ended.put((task, Lost(), None))
            except BaseException as error:
                ended.put((task, None, error))
                break
        pool.shutdown(wait=True, cancel_futures=True)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(jobs, len(tasks)))]
    for thread in threads:
        thread.start()
    try:
        for _ in tasks:
            task, result, error = ended.get()
            if error is not None:
                raise error
            yield task, result
    finally:
        stop.set()


def _pool() -> ProcessPoolExecutor:
    """One fresh process: forking one that has loaded torch would hang."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

"""Tasks side by side, each in a process of its own.

In: a function of a module, things to pickle. Out: results as they come, and news of tasks on the way. The standard
library's executor gives up all tasks when one worker is killed; here only the task of that worker is lost.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

T = TypeVar("T")
LOOK = 0.1  # seconds between two looks whether a task has ended
_parent: list[Connection] = []  # in a process of a pool: where its news go


class Lost:
    """Stands for the result of a task whose process was killed."""


def tell_parent(news: Any) -> None:
    """From inside of a task: something that whoever waits for it should hear."""
    for pipe in _parent:
        pipe.send(news)


def in_processes(
    work: Callable[[T], Any], tasks: list[T], jobs: int, heard: Callable[[T, Any], None] = lambda task, news: None
) -> Iterator[tuple[T, Any]]:
    """(task, work(task)) as they end, `jobs` at a time, in fresh processes that go on to further tasks. `Lost` instead
    of a result when the process died; what `work` raises is raised here, and no further task is begun.

    heard: called from other threads, with None when a task begins, then with what it tells by `tell_parent`.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    ended: queue.SimpleQueue[tuple[T, Any, BaseException | None]] = queue.SimpleQueue()
    stop = threading.Event()

    def serve() -> None:
        pool, pipe = _pool()
        while not stop.is_set():
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                break
            heard(task, None)
            try:
                future = pool.submit(work, task)
                while not future.done() or pipe.poll():
                    if pipe.poll(LOOK):
                        heard(task, pipe.recv())
                ended.put((task, future.result(), None))
            except (BrokenProcessPool, EOFError):
                pool.shutdown(wait=False)
                pool, pipe = _pool()
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


def _pool() -> tuple[ProcessPoolExecutor, Connection]:
    """One fresh process, and its news: forking one that has loaded torch would hang. Each has a pipe of its own, so
    that one that is killed while it writes holds up nobody else."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    return ProcessPoolExecutor(1, mp_context=context, initializer=_hold, initargs=(theirs,)), ours


def _hold(pipe: Connection) -> None:
    """In the new process: where its news go."""
    _parent.append(pipe)

"""What the server remembers of its runs: a bounded queue, states, numbered events. No file, no process, no network.

In: posts, and what workers tell. Out: `Job`s.
"""

from __future__ import annotations

import secrets
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from img2mv3d.errors import Img2mv3dError

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
OPEN, SHARED = (QUEUED, RUNNING), (QUEUED, RUNNING, DONE)  # states of unfinished runs; of runs that equal posts share
EVENTS = 2000  # of one run, at most: a solver of a thousand steps tells each of them


class FullError(Img2mv3dError):
    """The queue is full: come back later."""


@dataclass
class Job:
    """One run.

    name: of the photo, as its owner calls it; only shown.
    options: as posted.
    key: equal for equal posts.
    parent: the run that this one varies.
    reason: one line, why it failed or was cancelled.
    doing: what its stage does just now.
    events: (kind, data), numbered from 1 in this order.
    kept: somebody will come for the result; else only as long as somebody waits.
    """

    id: str
    name: str
    options: dict[str, Any]
    key: str
    created: float
    parent: str | None = None
    state: str = QUEUED
    reason: str = ""
    doing: str = ""
    started: float | None = None
    ended: float | None = None
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    kept: bool = True
    waiting: int = 0
    stop: threading.Event = field(default_factory=threading.Event, repr=False)


class Jobs:
    """All runs, oldest first. Every method may be called from every thread.

    limit: runs that may wait.
    keep: seconds for which a finished run stays.
    changed: called after every change, from the thread that made it.
    """

    def __init__(
        self,
        limit: int = 16,
        keep: float = 86_400.0,
        *,
        clock: Callable[[], float] = time.time,
        make_id: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self.limit, self.keep = limit, keep
        self.changed: Callable[[], None] = lambda: None
        self._clock, self._make_id = clock, make_id
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Condition()
        self._closed = False

    def submit(
        self, name: str, options: dict[str, Any], key: str, *, parent: str | None = None, kept: bool = True
    ) -> tuple[Job, bool]:
        """The run of this post, and whether it is new: an equal one that waits, runs or is done serves both. Raises
        FullError when too many wait."""
        with self._change():
            same = next((j for j in self._jobs.values() if j.key == key and j.state in SHARED), None)
            if same is not None and not same.stop.is_set():
                same.kept = same.kept or kept
                return same, False
            if self._count(QUEUED) >= self.limit:
                raise FullError(f"{self.limit} runs wait already; try again in a minute")
            job = Job(self._make_id(), name, options, key, self._clock(), parent, kept=kept)
            self._jobs[job.id] = job
            return job, True

    def enqueue(self, job: Job) -> None:
        """Let a worker take the run: its files are there."""
        with self._change():
            self._tell(job, "queued", {})

    def restore(self, job: Job) -> None:
        """A finished run of an earlier server."""
        with self._change():
            self._jobs[job.id] = job

    def take(self, seconds: float | None = None) -> Job | None:
        """The run that waits longest, running from now on; None when none came within `seconds`, or at the end."""
        with self._lock:
            self._lock.wait_for(lambda: self._closed or self._next() is not None, seconds)
            job = None if self._closed else self._next()
            if job is None:
                return None
            job.state, job.started = RUNNING, self._clock()
            self._tell(job, "running", {})
        self.changed()
        return job

    def tell(self, job: Job, kind: str, data: dict[str, Any]) -> None:
        """Something happened in a run that runs. More than EVENTS are dropped."""
        with self._change():
            if kind == "stage":
                job.doing = str(data.get("doing", ""))
            if job.state == RUNNING and len(job.events) < EVENTS:
                self._tell(job, kind, data)

    def finish(self, job: Job, state: str, reason: str = "", facts: dict[str, Any] | None = None) -> None:
        """A run ended; a second end is not heard."""
        with self._change():
            self._end(job, state, reason, facts or {})

    def delete(self, id: str) -> list[Job]:
        """Stop and forget a run and its variants: those that are gone."""
        with self._change():
            gone = [j for j in self._jobs.values() if id in (j.id, j.parent)]
            for job in gone:
                self._stop(job, "deleted")
                del self._jobs[job.id]
            return gone

    def wait(self, job: Job, by: int) -> None:
        """One more (1) or fewer (-1) waits for the answer; a run that nobody waits for any more, and nobody will come
        for, is cancelled."""
        with self._change():
            job.waiting += by
            if job.waiting <= 0 and not job.kept and job.state in OPEN:
                self._stop(job, "the caller hung up")

    def expire(self) -> list[Job]:
        """Forget what ended more than `keep` seconds ago: those that are gone."""
        with self._lock:
            old = self._clock() - self.keep
            gone = [j for j in self._jobs.values() if j.ended is not None and j.ended < old]
            for job in gone:
                del self._jobs[job.id]
        if gone:
            self.changed()
        return gone

    def close(self) -> None:
        """The server ends: no run begins any more, and those that run stop."""
        with self._change():
            self._closed = True
            for job in self._jobs.values():
                self._stop(job, "the server ended")

    def get(self, id: str) -> Job | None:
        """The run of this id."""
        with self._lock:
            return self._jobs.get(id)

    def all(self) -> list[Job]:
        """Newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def full(self) -> bool:
        """Would a new run be refused?"""
        with self._lock:
            return self._count(QUEUED) >= self.limit

    def events(self, job: Job, after: int = 0) -> list[tuple[int, str, dict[str, Any]]]:
        """The events of a run from number `after` + 1 on, with their numbers."""
        with self._lock:
            return [(n, *event) for n, event in enumerate(job.events[after:], after + 1)]

    def describe(self, job: Job) -> dict[str, Any]:
        """Plain values, for JSON. place: in the queue, from 1. wait_seconds: a forecast, where runs ended before."""
        with self._lock:
            waiting = [j for j in self._jobs.values() if j.state == QUEUED]
            place = waiting.index(job) + 1 if job in waiting else None
            spent = [j.ended - j.started for j in self._jobs.values() if j.state == DONE and j.ended and j.started]
            forecast = round(place * statistics.median(spent), 1) if place and spent else None
            return {
                "id": job.id,
                "name": job.name,
                "state": job.state,
                "reason": job.reason,
                "doing": job.doing if job.state == RUNNING else "",
                "options": job.options,
                "parent": job.parent,
                "created": job.created,
                "started": job.started,
                "ended": job.ended,
                "place": place,
                "wait_seconds": forecast,
                "events": len(job.events),
                **job.facts,
            }

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock:
            yield
            self._lock.notify_all()
        self.changed()

    def _next(self) -> Job | None:
        return next((j for j in self._jobs.values() if j.state == QUEUED and j.events), None)

    def _count(self, state: str) -> int:
        return sum(j.state == state for j in self._jobs.values())

    def _stop(self, job: Job, reason: str) -> None:
        if job.state == RUNNING:
            job.reason = job.reason or reason
            job.stop.set()
        elif job.state == QUEUED:
            self._end(job, CANCELLED, reason, {})

    def _end(self, job: Job, state: str, reason: str, facts: dict[str, Any]) -> None:
        if job.state not in OPEN:
            return
        if job.stop.is_set():
            state, reason = CANCELLED, job.reason
        job.state, job.reason, job.facts, job.ended = state, reason, facts, self._clock()
        self._tell(job, state, {"reason": reason, **facts})

    def _tell(self, job: Job, kind: str, data: dict[str, Any]) -> None:
        job.events.append((kind, data))

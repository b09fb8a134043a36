"""The crew: a thread for each worker process that takes runs from the queue, and one that clears old ones away.

In: `Jobs`, workers. Out: runs that end, folders of runs under one folder.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.flow.counters import Counters
from img2mv3d.serve.jobs import DONE, FAILED, Job, Jobs
from img2mv3d.serve.work import OUT, PHOTO, PREVIEW, REPORT, RunTask
from img2mv3d.serve.workers import Outcome, Worker

RECORD = "post.json"  # what a later server knows a finished run by
ID = re.compile(r"[\w-]{16,64}")
TIDY = 30.0  # seconds between two looks for what is too old, at most
CUT_SECONDS = 60.0  # that cutting out may take
KINDS = {"view": "views/color", "plain": "plain/color", "normal": "plain/normal"}
VIEWS = {f"{kind}-{name}.png": f"{stem}_{name}.png" for name in VIEW_NAMES for kind, stem in KINDS.items()}
FILES = {
    "original": PHOTO,
    PREVIEW: PREVIEW,
    "cutout.png": f"{OUT}/subject.png",
    **{n: f"{OUT}/{p}" for n, p in VIEWS.items()},
}


class Crew:
    """Workers at work. folder: of the runs' folders. seconds: that a run may take at most."""

    def __init__(
        self, jobs: Jobs, folder: Path, workers: Sequence[Worker], cutter: Worker, seconds: float | None = None
    ) -> None:
        self.jobs, self.folder = jobs, folder
        self._workers, self._cutter, self._seconds = workers, cutter, seconds
        self._cutting = threading.Lock()
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self.problem = ""
        self.counters = Counters()

    @property
    def ready(self) -> bool:
        """Is a worker warm?"""
        return any(worker.ready for worker in self._workers)

    def start(self) -> None:
        """Take finished runs of an earlier server in, and begin."""
        self._restore()
        targets = [(self._serve, (w,)) for w in self._workers] + [(self._tidy, ()), (self._warm, (self._cutter,))]
        for target, args in targets:
            thread = threading.Thread(target=target, args=args, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """End all: within about two seconds, whatever the workers do."""
        self._end.set()
        self.jobs.close()
        for worker in (*self._workers, self._cutter):
            worker.close()
        for thread in self._threads:
            thread.join(1.0)

    def place(self, job: Job) -> Path:
        """The run's folder; it has the name that we drew."""
        return self.folder / job.id

    def file(self, job: Job, name: str) -> Path | None:
        """The file that is offered by this name, None when there is no such name or not yet such a file. The name only
        chooses from a list."""
        path = self.offered(job).get(name)
        return None if path is None else self.place(job) / path

    def offered(self, job: Job) -> dict[str, str]:
        """Names to paths in the run's folder, of the files that are there."""
        names = dict(FILES)
        if job.state == DONE:
            mesh = job.facts["file"]
            names |= {mesh: f"{OUT}/{mesh}", REPORT: REPORT}
        return {name: path for name, path in names.items() if (self.place(job) / path).is_file()}

    def forget(self, gone: Sequence[Job]) -> None:
        """Remove the files of runs that are no more; of one that still runs, its thread does that."""
        for job in gone:
            if job.ended is not None:
                shutil.rmtree(self.place(job), ignore_errors=True)

    def cut(self, photo: Path) -> Outcome:
        """Candidates of a photo's cut-out."""
        with self._cutting:
            return self._cutter.run(photo, lambda kind, data: None, self._end, CUT_SECONDS)

    def _serve(self, worker: Worker) -> None:
        self._warm(worker)
        while not self._end.is_set():
            job = self.jobs.take(1.0)
            if job is None:
                continue
            task = RunTask(self.place(job), job.options, self._parent(job))
            try:
                outcome = worker.run(task, partial(self.jobs.tell, job), job.stop, self._seconds)
            except Exception as error:  # a defect of ours must not end the thread
                outcome = Outcome(False, f"a defect of img2mv3d ({type(error).__name__}: {error})")
            self._finish(job, outcome)

    def _parent(self, job: Job) -> Path | None:
        """The folder of the run that this one varies, once that is whole."""
        parent = None if job.parent is None else self.jobs.get(job.parent)
        return self.place(parent) if parent is not None and parent.state == DONE else None

    def _finish(self, job: Job, outcome: Outcome) -> None:
        known = self.jobs.get(job.id) is job
        self._count(job, outcome)
        if outcome.ok and known:
            record = {"name": job.name, "options": job.options, "key": job.key, "created": job.created}
            record |= {"parent": job.parent, "facts": outcome.facts}
            draft = self.place(job) / f"{RECORD}.part"
            try:
                draft.write_text(json.dumps(record), encoding="utf-8")
                draft.replace(self.place(job) / RECORD)
            except OSError:
                pass  # the run is there all the same, as long as this server is
        self.jobs.finish(job, DONE if outcome.ok else FAILED, outcome.reason, outcome.facts)
        if self.jobs.get(job.id) is not job:  # deleted meanwhile
            self.forget([job])

    def _count(self, job: Job, outcome: Outcome) -> None:
        if outcome.ok:
            self.counters.well(outcome.facts.get("stages", {}))
        else:
            self.counters.failed["Cancelled" if job.stop.is_set() else outcome.kind or outcome.lost or "Other"] += 1
        if outcome.lost:
            self.counters.lost[outcome.lost] += 1

    def _warm(self, worker: Worker) -> None:
        try:
            worker.start()
        except Exception as error:  # whatever it is, the thread must live on and say it
            self.problem = " ".join(str(error).split())
        self.jobs.changed()

    def _tidy(self) -> None:
        while not self._end.wait(min(TIDY, self.jobs.keep / 4)):
            self.forget(self.jobs.expire())

    def _restore(self) -> None:
        records = [p for p in self.folder.glob(f"*/{RECORD}") if ID.fullmatch(p.parent.name)]
        found: list[Job] = []
        for path in records:
            try:
                told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                words = (told["name"], told["options"], told["key"], float(told["created"]), told["parent"])
                job = Job(path.parent.name, *words, state=DONE, ended=path.stat().st_mtime, facts=told["facts"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            job.events = [("queued", {}), ("running", {}), (DONE, {"reason": "", **job.facts})]
            found.append(job)
        for job in sorted(found, key=lambda job: job.created):
            self.jobs.restore(job)

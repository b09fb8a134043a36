"""The engine of Slurm: a few jobs, sent through submitit, each of which takes one task after the other from a folder.

In: a folder that all nodes see. Out: as every engine. What Slurm says of its jobs is not asked: there may be no
accounting, array limits are low, and a job that ended within a second is told as one that ran out of time. Partition,
account and time limit are those of sbatch's own variables: SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from img2mv3d.cluster.engine import NODE, SLACK, Ended, Need, News
from img2mv3d.cluster.mailbox import HEAD, Letter, Mailbox, saying
from img2mv3d.cluster.seat import objection, versions
from img2mv3d.errors import ResourceError, UsageError
from img2mv3d.serve.workers import GRACE, Outcome, Work, Worker

JOBS = 4  # where --jobs says nothing
AHEAD = 2  # tasks that wait for each job
MINUTES = 24 * 60  # of a job, where SBATCH_TIMELIMIT says nothing; photos of one that ends so are done by others
OWN = 300e6  # bytes of a job beside its worker process
PAUSE = 0.2  # s between two looks into a folder
AGAIN = 3  # times that all jobs are sent anew, since they ended early
KEPT = "SLURM_CONF"
BOX = ".img2mv3d-cluster-"  # how names of folders begin


class Slurm:
    """Jobs that pull. Raises UsageError where jobs cannot be sent."""

    def __init__(self, work: Work, need: Need, seats: int | None, place: Path) -> None:
        self._need, self._seats = need, seats or JOBS
        self.most_memory = need.memory  # a job's own limit stands when it is sent
        self._out: dict[int, Letter] = {}
        self._attempts: dict[int, int] = {}
        self._jobs: list[Any] = []
        self._begun: set[str] = set()  # names of jobs that have given a sign of life
        self._sent, self._looked = 0, time.monotonic()
        for old in place.glob(f"{BOX}*"):
            if Mailbox(old).abandoned:
                shutil.rmtree(old, ignore_errors=True)
        folder = place / f"{BOX}{secrets.token_hex(4)}"
        self._box = Mailbox(folder)
        self._box.make()
        self._life = contextlib.ExitStack()
        self._life.enter_context(self._box.beating(HEAD))
        self._work = (work, versions(), need.cpus)
        try:
            self._send_jobs(self._seats)
        except BaseException:
            self.cancel()
            raise

    def free(self) -> int:
        """Tasks that may still be written down: few, so that they can be taken back."""
        return AHEAD * self._seats - len(self._out)

    def submit(self, number: int, task: Any, memory: int) -> None:
        """Write it down."""
        self._attempts[number] = self._attempts.get(number, 0) + 1
        letter = self._out[number] = Letter(number, self._attempts[number])
        self._box.send(letter, task, memory)

    def wait(self, seconds: float) -> list[Ended | News]:
        """What came. Raises UsageError when a node must not take part, ResourceError when jobs only die."""
        end = time.monotonic() + seconds
        while not (found := self._looked_into()) and time.monotonic() < end:
            time.sleep(PAUSE)
        if why := self._box.refusal():
            raise UsageError(why)
        return found

    def cancel(self) -> None:
        """Jobs are told to end, then cancelled; the folder goes, the logs of Slurm with it."""
        self._box.stop()
        end = time.monotonic() + GRACE + 1
        while self._box.workers() and time.monotonic() < end:
            time.sleep(PAUSE)
        for job in self._jobs:
            with contextlib.suppress(Exception):  # one that has ended cannot be cancelled
                job.cancel()
        self._life.close()
        shutil.rmtree(self._box.folder, ignore_errors=True)

    def _looked_into(self) -> list[Ended | News]:
        found: list[Ended | News] = []
        for letter, outcome in self._box.received():
            if self._out.get(letter.number) == letter:
                del self._out[letter.number]
                if not outcome.lost:
                    self._attempts.pop(letter.number)
                found.append(Ended(letter.number, outcome, outcome.lost))
        if found:
            self._sent = 0
        if time.monotonic() - self._looked > 5.0:
            self._looked = time.monotonic()
            for letter, worker in self._box.orphans():
                if self._out.get(letter.number) == letter:
                    del self._out[letter.number]
                    found.append(Ended(letter.number, Outcome(False, f"the job {worker} went"), NODE))
            told = self._box.news()
            found += [News(letter.number, kind, data) for letter, kind, data in told if letter in self._out.values()]
            self._refill()
        return found

    def _refill(self) -> None:
        """New jobs for those that ended: by their time limit, with their node, or because they never could begin."""
        alive = set(self._box.workers())
        self._begun |= alive
        over = [j for j in self._jobs if j.job_id not in alive and (j.job_id in self._begun or _has_ended(j))]
        if over:
            if self._sent >= AGAIN:
                raise ResourceError(f"Slurm's jobs end without having done anything: {self._last_words()}")
            self._jobs = [job for job in self._jobs if job not in over]
            self._send_jobs(len(over))

    def _last_words(self) -> str:
        """What a job wrote last."""
        for path in sorted((self._box.folder / "slurm").glob("*_log.out"), reverse=True):
            with contextlib.suppress(OSError):
                if lines := path.read_text(errors="replace").split("\n"):
                    return next((line for line in reversed(lines) if line.strip()), "")[-300:]
        return "they left no log"

    def _send_jobs(self, count: int) -> None:
        import submitit

        self._sent += 1
        with clean_environment():
            try:
                executor = submitit.SlurmExecutor(folder=self._box.folder / "slurm")
                executor.update_parameters(
                    job_name="img2mv3d",
                    cpus_per_task=self._need.cpus,
                    mem=f"{int(SLACK * self._need.memory + OWN) // 10**6}M",
                    time=MINUTES,
                    use_srun=False,
                    stderr_to_stdout=True,
                    array_parallelism=count,
                    **({"gpus_per_node": self._need.gpus} if self._need.gpus else {}),
                )
                with executor.batch():
                    sent = [executor.submit(pull, str(self._box.folder), *self._work) for _ in range(count)]
            except (OSError, RuntimeError, submitit.core.utils.FailedJobError) as error:
                words = " ".join(str(error).split())[-300:]
                raise UsageError(f"--cluster slurm: jobs cannot be sent ({words})") from None
        self._jobs += sent


@contextlib.contextmanager
def clean_environment() -> Iterator[None]:
    """No variable of a job that this process may itself be part of: sbatch would hand them on. Where Slurm's own
    settings stand, stays."""
    own = {name: os.environ[name] for name in os.environ if name.startswith(("SLURM_", "SUBMITIT_")) and name != KEPT}
    for name in own:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(own)


def pull(folder: str, work: Work, head: str, threads: int) -> None:
    """A job's life: take a task, do it, write down what became of it; until it is told to end or the head is gone."""
    import submitit

    box, who = Mailbox(Path(folder)), str(submitit.JobEnvironment().job_id)
    if why := objection(head, box.folder / "alive" / HEAD):
        return box.refuse(why)
    worker, stop, told = Worker(work, threads=threads), threading.Event(), [""]

    def watch() -> None:
        while not stop.is_set():
            if box.ended(who):
                stop.set()
            stop.wait(PAUSE * 5)

    threading.Thread(target=watch, daemon=True).start()
    with box.beating(who, lambda: told[0]):
        try:
            while not stop.is_set():
                if (found := box.take(who)) is None:
                    stop.wait(PAUSE)
                    continue
                letter, task, memory = found
                worker.memory = int(SLACK * memory)

                def hear(kind: str, data: dict[str, Any], letter: Letter = letter) -> None:
                    told[0] = saying(letter, kind, data)

                box.answer(letter, worker.run(task, hear, stop))
        except OSError:
            if box.folder.exists():  # else the head has ended and cleaned up
                raise
        finally:
            stop.set()
            worker.close()


def _has_ended(job: Any) -> bool:
    """By the file that it leaves at its end; Slurm itself may know nothing of it."""
    return bool(job.paths.result_pickle.exists())

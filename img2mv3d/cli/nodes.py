"""`run --cluster`: the photos of a batch as tasks of an engine.

In: tasks, the engine's name. Out: outcomes as they end, events as lines of JSON.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.cli.lines import say
from img2mv3d.cli.tasks import Outcome, Task, work
from img2mv3d.errors import BusyError, ResourceError

if TYPE_CHECKING:
    from img2mv3d.cluster.engine import News
    from img2mv3d.flow.counters import Counters
    from img2mv3d.plans import Plan
    from img2mv3d.serve import workers

PATIENCE = 20.0  # seconds in which what a lost node left in a photo's folder must come to its end


@dataclass(frozen=True)
class PhotoWork:
    """What each worker process does; its networks stay loaded. bundle: which it opens first."""

    bundle: str
    device: str

    def warm(self) -> None:
        """Open the weights and load torch. Raises WeightsError, ResourceError."""
        from img2mv3d.flow.runners import ready_torch

        _opened(self.bundle)
        ready_torch("cpu" if self.device == "auto" else self.device)

    def do(self, task: Task, tell: workers.Tell) -> workers.Outcome:
        """One photo; whatever goes wrong becomes its outcome."""
        from img2mv3d.serve.workers import Outcome as Ended

        until = time.monotonic() + PATIENCE
        while True:
            outcome = work(task, lambda news: tell("stage", {"stage": news[0], "share": news[1]}), _opened)
            if outcome.kind != BusyError.__name__ or time.monotonic() > until:
                return Ended(outcome.status == 0, outcome.error, asdict(outcome) | {"photo": str(outcome.photo)})
            time.sleep(0.5)


@functools.cache
def _opened(name: str) -> Any:
    from img2mv3d.bundles.weights import kept_loaded, load_bundle

    return kept_loaded(load_bundle(name))


class Chat:
    """What is told while an engine works. run_id: stands in every line. hear: the board's. tell: lines of JSON."""

    def __init__(self, run_id: str, hear: Callable[[Path, Any], None], counters: Counters, *, tell: bool) -> None:
        self.run_id, self._hear, self._counters, self._tell = run_id, hear, counters, tell
        self._stages: dict[int, str] = {}  # of photos at work, as told last

    def head(self, event: str) -> dict[str, Any]:
        """How a line of JSON begins."""
        return {"run": self.run_id, "event": event}

    def event(self, kind: str, **data: Any) -> None:
        """A line of JSON, where they are wanted."""
        if self._tell:
            print(json.dumps(self.head(kind) | data), flush=True)

    def ended(self, number: int) -> None:
        """A photo is forgotten."""
        self._stages.pop(number, None)

    def news(self, photos: Mapping[int, Path], news: News) -> None:
        """A photo's."""
        photo = photos[news.number]
        if news.kind == "stage":
            self._hear(photo, (news.data["stage"], news.data["share"]))
            if self._stages.get(news.number) != (stage := news.data["stage"]):
                self._stages[news.number] = stage
                self.event("stage", photo=str(photo), stage=stage)
            return
        if news.kind == "begun":
            self._hear(photo, None)
            self._stages.pop(news.number, None)
        if news.kind == "again":
            self._counters.lost[news.data["lost"]] += 1
            if not self._tell:
                say(f"note: {photo} is tried again: {news.data['why']}")
        self.event(news.kind, photo=str(photo), **news.data)


def on_engine(
    tasks: list[Task], where: str, jobs: int | None, plans: list[Plan], out: Path, chat: Chat
) -> Iterator[tuple[int, Outcome]]:
    """By number, as they end. Raises UsageError when there is no such engine or it has no room for a photo.

    plans: of the tasks, each at least once; workers open the first one's bundle when they start.
    """
    from img2mv3d.cli.dry import most_needed
    from img2mv3d.cluster.engine import Need
    from img2mv3d.cluster.policy import drive
    from img2mv3d.cluster.start import open_engine, threads_for

    if not tasks:
        return
    memory, device = most_needed(plans)
    need = Need(threads_for(where, jobs), memory, int(device != "cpu"))
    started = time.perf_counter()
    engine = open_engine(where, PhotoWork(anywhere(plans[0].bundle), plans[0].device), need, jobs, out.absolute())
    spent = round(time.perf_counter() - started, 2)
    chat.event("begin", engine=where, photos=len(tasks), need=asdict(need), seconds=spent)
    photos = {number: task.photo for number, task in enumerate(tasks)}
    for number, found in drive(engine, _sent(tasks), memory, lambda news: chat.news(photos, news)):
        chat.ended(number)
        yield tasks[number].number, _outcome(tasks[number], found)


def _sent(tasks: list[Task]) -> Iterator[Task]:
    """Tasks with absolute paths: another process stands elsewhere."""
    for task in tasks:
        typed = {name: value.absolute() if isinstance(value, Path) else value for name, value in task.typed.items()}
        if "bundle" in typed:
            typed["bundle"] = anywhere(typed["bundle"])
        yield replace(task, photo=task.photo.absolute(), out=task.out.absolute(), typed=typed, threads=None)


def anywhere(source: str) -> str:
    """Weights by their name; a folder by its absolute path: workers stand elsewhere."""
    return str(Path(source).absolute()) if Path(source).is_dir() else source


def _outcome(task: Task, found: workers.Outcome) -> Outcome:
    """As the batch tells it; what was set aside or never began has no facts."""
    if not found.facts:
        return Outcome(task.photo, ResourceError.exit_code, found.reason, kind="SetAside")
    told = dict(found.facts) | {"photo": task.photo, "notes": tuple(found.facts["notes"])}
    # errors name the photo by the path that the worker had
    told["error"] = told["error"].replace(str(task.photo.absolute()), str(task.photo))
    return Outcome(**told)

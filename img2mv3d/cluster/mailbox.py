"""A folder through which a head and its workers talk, on a drive that all of them see: no port, no server.

In: tasks and outcomes that can be pickled. Out: files that appear by rename, whole or not at all. A task is taken by
whoever renames it first. Files are late on a network drive; that is waited for, and what is a second time there is
ignored.

    todo/NUMBER-ATTEMPT     a task that waits
    taken/NUMBER-ATTEMPT@WORKER
    ended/NUMBER-ATTEMPT    what became of it
    alive/WORKER            touched every few seconds, and what its task told last; alive/head, too
    refused                 why a worker may not take part
    stop                    all shall end
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from img2mv3d.files.durable import listing, write_atomically

BEAT = 5.0  # s between two signs of life
DEAD = 60.0  # s without one
FORGOTTEN = 24 * 3600.0  # s without one of the head, until another head removes the folder
HEAD = "head"


class Letter(NamedTuple):
    """A task's number, and which attempt at it this is."""

    number: int
    attempt: int

    @property
    def name(self) -> str:
        """Of its files: sorted as numbers."""
        return f"{self.number:09d}-{self.attempt}"

    @staticmethod
    def read(name: str) -> Letter:
        """What `name` was made of."""
        number, _, attempt = name.partition("@")[0].partition("-")
        return Letter(int(number), int(attempt))


class Mailbox:
    """The folder, seen by either side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """For the head, at the start. Raises OSError."""
        for name in ("todo", "taken", "ended", "alive"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------------------------------------------ the head's side

    def send(self, letter: Letter, task: Any, memory: int) -> None:
        """A task for whoever takes it. memory: bytes that it may need."""
        write_atomically(self.folder / "todo" / letter.name, pickle.dumps((task, memory)))

    def received(self) -> list[tuple[Letter, Any]]:
        """Outcomes that came; their files are gone then."""
        found = []
        for path in _plain(self.folder / "ended"):
            with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
                found.append((Letter.read(path.name), pickle.loads(path.read_bytes())))
                path.unlink()
                self._forget(path.name)
        return found

    def orphans(self) -> Iterator[tuple[Letter, str]]:
        """Tasks whose worker gives no sign of life, which are taken back, and the worker."""
        dead = set()
        for path in _plain(self.folder / "taken"):
            worker = path.name.partition("@")[2]
            if worker in dead or not self.lives(worker):
                dead.add(worker)
                with contextlib.suppress(OSError):
                    path.unlink()
                    yield Letter.read(path.name), worker

    def lives(self, who: str) -> bool:
        """Has there been a sign of life lately? By the drive's own clock: those of machines differ."""
        try:
            now = (self.folder / "alive" / HEAD).stat().st_mtime
            return now - (self.folder / "alive" / who).stat().st_mtime < DEAD
        except OSError:
            return False

    def workers(self) -> list[str]:
        """Those that live."""
        return [p.name for p in _plain(self.folder / "alive") if p.name != HEAD and self.lives(p.name)]

    def news(self) -> list[tuple[Letter, str, dict[str, Any]]]:
        """What tasks told last: kind and data."""
        found = []
        for path in _plain(self.folder / "alive"):
            with contextlib.suppress(OSError, ValueError):  # empty, or half written: the next one will be whole
                name, kind, data = json.loads(path.read_text(encoding="utf-8"))
                found.append((Letter.read(name), str(kind), dict(data)))
        return found

    @property
    def abandoned(self) -> bool:
        """Has there been no head for long? For another one, that cleans up."""
        try:
            return time.time() - (self.folder / "alive" / HEAD).stat().st_mtime > FORGOTTEN
        except OSError:
            return False

    def refusal(self) -> str:
        """Why a worker may not take part; empty where none said so."""
        try:
            return (self.folder / "refused").read_text(encoding="utf-8")
        except OSError:
            return ""

    def stop(self) -> None:
        """All shall end."""
        with contextlib.suppress(OSError):
            (self.folder / "stop").touch()

    # ----------------------------------------------------------------------------------------------- a worker's side

    def take(self, worker: str) -> tuple[Letter, Any, int] | None:
        """The first task that waits, taken; None where there is none."""
        for path in _plain(self.folder / "todo"):
            taken = self.folder / "taken" / f"{path.name}@{worker}"
            try:
                os.rename(path, taken)
                task, memory = pickle.loads(taken.read_bytes())
            except OSError:  # somebody was faster
                continue
            return Letter.read(path.name), task, memory
        return None

    def answer(self, letter: Letter, outcome: Any) -> None:
        """What became of a task."""
        write_atomically(self.folder / "ended" / letter.name, pickle.dumps(outcome))

    def refuse(self, why: str) -> None:
        """This worker may not take part."""
        write_atomically(self.folder / "refused", why.encode())

    def ended(self, worker: str) -> bool:
        """Shall a worker end: told so, or is the head gone?"""
        if (self.folder / "stop").exists():
            return True
        try:
            now = (self.folder / "alive" / worker).stat().st_mtime
            return now - (self.folder / "alive" / HEAD).stat().st_mtime > 2 * DEAD
        except OSError:
            return not self.folder.exists()

    @contextlib.contextmanager
    def beating(self, who: str, told: Callable[[], str] = lambda: "") -> Iterator[None]:
        """Give signs of life meanwhile. told: what its task told last, from `saying`."""
        over = threading.Event()
        path = self.folder / "alive" / who

        def beat() -> None:
            while not over.is_set():
                with contextlib.suppress(OSError):
                    if text := told():
                        path.write_text(text, encoding="utf-8")
                    else:
                        path.touch()
                over.wait(BEAT)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with contextlib.suppress(OSError):
                path.unlink()

    def _forget(self, name: str) -> None:
        for path in (self.folder / "taken").glob(f"{name}@*"):
            with contextlib.suppress(OSError):
                path.unlink()


def saying(letter: Letter, kind: str, data: dict[str, Any]) -> str:
    """What a task tells, as `Mailbox.news` reads it."""
    return json.dumps([letter.name, kind, data])


def _plain(folder: Path) -> list[Path]:
    """What stands in a folder, in order, but drafts."""
    return [path for path in listing(folder) if not path.name.startswith(".")]

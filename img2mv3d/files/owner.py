"""Who is at work in a folder, said by a file: for drives whose locks do nothing.

In: a path. Out: nothing; while the block lasts, the file names this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from img2mv3d.files.durable import draft_name

SAME = 1.0  # s by which the start of one process may be told differently
TRIES = 3  # to take the place of a process that is no more


class Taken(Exception):
    """A living process of this machine is at work there."""


@contextlib.contextmanager
def owned(path: Path) -> Iterator[None]:
    """Name this process in the file at `path`, which is gone at the end. Raises Taken when another process of this
    machine that still lives is named there. What a dead one left is replaced, and so is that of another machine, of
    which nothing can be known; where such a file cannot be made, go on without."""
    draft = path.with_name(draft_name())
    mine = _named(os.getpid())
    made = False
    try:
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(mine), encoding="utf-8")
            for _ in range(TRIES):
                try:
                    os.link(draft, path)  # whole or not at all, and only where there is none
                    made = True
                    break
                except FileExistsError:
                    if _lives(_read(path)):
                        raise Taken(str(path)) from None
                    path.unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if made and _read(path) == mine:
                path.unlink(missing_ok=True)


def _named(process: int) -> dict[str, Any]:
    from psutil import Process

    return {"machine": platform.node(), "process": process, "since": round(Process(process).create_time(), 2)}


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _lives(told: dict[str, Any]) -> bool:
    """Does the process live that a file names? Only of this machine that can be told."""
    from psutil import Error

    if told.get("machine") != platform.node() or told.get("process") == os.getpid():
        return False
    try:
        return abs(_named(int(told["process"]))["since"] - float(told["since"])) < SAME
    except (Error, KeyError, TypeError, ValueError, OverflowError):
        return False

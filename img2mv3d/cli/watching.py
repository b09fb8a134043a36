"""`run --watch DIR`: every photo that comes into a folder becomes a run, until Ctrl-C.

In: a folder that is looked at again and again: network drives send no events. Out: out/NAME/ and a line for each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from img2mv3d.cli.flags import ONE_PHOTO
from img2mv3d.cli.seeds import Seeds
from img2mv3d.errors import Img2mv3dError, UsageError

SECONDS = 2.0  # between two looks
STALLED = 30  # looks without a change after which a file that cannot be read is taken for what it is

Mark = tuple[int, int]  # a file's size in bytes, and the time of its last change in ns


def watch(folder: Path, until: str, typed: Mapping[str, Any], seeds: Seeds, *, report: bool) -> None:
    """Run every photo that is or comes there. What was done before, by another watch as well, costs nothing. Raises
    UsageError when the folder cannot be meant."""
    from img2mv3d.cli.many import Task, tell, work, write_gallery

    out = Path(typed.get("out") or "out")
    if not folder.is_dir():
        raise UsageError(f"--watch {folder}: no such folder")
    if out.absolute() == folder.absolute():
        raise UsageError(f"--watch {folder}: results need another folder; name it with -o")
    if given := [f"--{name}" for name in ONE_PHOTO if name in typed]:
        raise UsageError(f"{given[0]} is for one photo, not for --watch")
    print(f"watching {folder}; Ctrl-C ends it", file=sys.stderr, flush=True)
    names: dict[str, str] = {}
    for photo in arrivals(folder, lambda: time.sleep(SECONDS), is_whole):
        tell(work(Task(photo, out / name_for(photo, names), until, typed, seeds, report)), typed)
        if report:
            write_gallery(out)


def arrivals(
    folder: Path, pause: Callable[[], object], whole: Callable[[Path], bool] = lambda path: True
) -> Iterator[Path]:
    """Photos of the folder as they are there, each once and once more after it changed. One that is still being written
    waits: its size and time must be the same at two looks, and it must be whole, or not have changed for long.

    pause: comes between the looks. whole: can this file be read to its end?
    """
    before: dict[Path, Mark] = {}
    given: dict[Path, Mark] = {}
    same: dict[Path, int] = {}  # looks at which a file was as at the look before
    while True:
        now = seen(folder)
        for path in sorted(now):
            same[path] = same.get(path, 0) + 1 if now[path] == before.get(path) else 0
            if same[path] == 0 or now[path] == given.get(path):
                continue
            if same[path] >= STALLED or whole(path):
                given[path] = now[path]
                yield path
        before = now
        pause()


def is_whole(path: Path) -> bool:
    """A copy over a slow network may stand still for seconds, with half of the picture."""
    from img2mv3d.readers.photos import read_photo

    try:
        read_photo(path)
    except Img2mv3dError:
        return False
    return True


def seen(folder: Path) -> dict[Path, Mark]:
    """The folder's photos that are not empty; none while it cannot be read (a network drive that is away)."""
    from img2mv3d.cli.wanted import ENDINGS

    found: dict[Path, Mark] = {}
    try:
        for path in folder.iterdir():
            if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
                about = path.stat()
                if about.st_size:
                    found[path] = (about.st_size, about.st_mtime_ns)
    except OSError:
        return {}
    return found


def name_for(photo: Path, names: dict[str, str]) -> str:
    """The folder's name for a photo: its own without ending, with it where another photo has that already.

    names: name to photo, so far; grows.
    """
    stem = photo.stem
    name = stem if names.get(stem.casefold(), photo.name) == photo.name else photo.name
    names[name.casefold()] = photo.name
    return name

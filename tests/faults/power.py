"""Power lost at any moment of a command: what the disk may hold then, and whether the command goes on from there.

A command's calls are written down; then the disk is drawn as it may be after the first k of them. What was written to a
file since its last fsync is gone. Of what happened to names (make, rename, unlink, mkdir) three cases are tried: all of
it is there, only what an fsync of the folder has made sure, or as much as a journal happened to have written. The same
command must then end with the undisturbed digests; and once it has said that it ended well, its results are there.

`python -m tests.faults.power [COMMAND ...]` tries every moment and prints the counts.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.commands import SCENES, contents, hub, stand_ins
from tests.faults.errors import Bench
from tests.faults.recorder import Call, Judge

CHANGES = ("make", "open", "write", "fsync", "rename", "link", "unlink", "mkdir")
WAYS = ("all names", "safe names", "some names")


@dataclass
class File:
    """safe: the bytes that are on the disk for certain."""

    safe: bytes = b""


@dataclass
class Folder:
    """now: what stands in it. safe: what an fsync of it, or of a folder that a rename led to, has made sure of."""

    now: dict[str, Folder | File] = field(default_factory=dict)
    safe: dict[str, Folder | File] = field(default_factory=dict)


@dataclass
class Change:
    """Something that happened to names in `folders`, and how it gets to the disk."""

    folders: tuple[Folder, ...]
    commit: Callable[[], None]


class Log(Judge):
    """Writes down what happens to the disk: a call, and the bytes that an fsync made sure of."""

    def __init__(self) -> None:
        self.done: list[tuple[Call, bytes]] = []

    def after(self, call: Call) -> None:
        changes = call.kind in CHANGES and (call.kind != "open" or call.other == "emptied")
        if changes:
            synced = call.kind == "fsync" and Path(call.path).is_file()
            self.done.append((call, Path(call.path).read_bytes() if synced else b""))


class Disk:
    """What stands on the disk, and what is on its way there."""

    def __init__(self, root: Path, place: Path) -> None:
        """As the folder `place` is, under the name `root`."""
        self.root, self.top = root, self._taken(place)
        self.pending: list[Change] = []

    def _taken(self, place: Path) -> Folder:
        found: dict[str, Folder | File] = {
            p.name: self._taken(p) if p.is_dir() else File(p.read_bytes()) for p in place.iterdir()
        }
        return Folder(dict(found), dict(found))

    def _at(self, path: str) -> tuple[Folder, str]:
        """The folder that a path lies in, and its name there."""
        parts = Path(path).relative_to(self.root).parts
        folder = self.top
        for part in parts[:-1]:
            found = folder.now[part]
            assert isinstance(found, Folder)
            folder = found
        return folder, parts[-1] if parts else ""

    def happens(self, call: Call, data: bytes) -> None:
        """One call of the log."""
        folder, name = self._at(call.path)
        node = folder.now.get(name) if name else self.top
        if call.kind in ("make", "mkdir"):
            made: Folder | File = File() if call.kind == "make" else Folder()
            folder.now[name] = made
            self._pending(lambda: folder.safe.__setitem__(name, made), folder)
        elif call.kind == "open" and isinstance(node, File):
            self._pending(lambda: setattr(node, "safe", b""), folder)
        elif call.kind == "fsync" and isinstance(node, File):
            node.safe = data
        elif call.kind == "fsync" and isinstance(node, Folder):
            self._sync(node)
        elif call.kind == "unlink" and node is not None:
            del folder.now[name]
            self._pending(lambda: folder.safe.pop(name, None), folder)
        elif call.kind in ("rename", "link") and node is not None:
            to, there = self._at(call.other)
            to.now[there] = node
            if call.kind == "rename" and (folder is not to or name != there):
                del folder.now[name]
            self._pending(lambda: self._moved(call.kind, folder, name, to, there, node), folder, to)

    def _moved(self, kind: str, folder: Folder, name: str, to: Folder, there: str, node: Folder | File) -> None:
        if kind == "rename":  # both halves or none: no journal parts them
            folder.safe.pop(name, None)
        to.safe[there] = node

    def _pending(self, commit: Callable[[], object], *folders: Folder) -> None:
        self.pending.append(Change(folders, lambda: commit() and None))

    def _sync(self, folder: Folder) -> None:
        later = []
        for change in self.pending:
            if any(one is folder for one in change.folders):
                change.commit()
            else:
                later.append(change)
        self.pending = later

    def lay_out(self, place: Path, way: str, rng: random.Random) -> None:
        """Make `place` what the disk holds after the power went."""
        count = {"all names": len(self.pending), "safe names": 0}.get(way, rng.randint(0, len(self.pending)))
        for change in self.pending[:count]:
            change.commit()
        shutil.rmtree(place, ignore_errors=True)
        self._lay(self.top, place)

    def _lay(self, folder: Folder, place: Path) -> None:
        place.mkdir()
        for name, node in folder.safe.items():
            if isinstance(node, Folder):
                self._lay(node, place / name)
            else:
                (place / name).write_bytes(node.safe)


def logged(bench: Bench) -> list[tuple[Call, bytes]]:
    """The log of a bench's undisturbed command."""
    log = Log()
    assert bench.disturbed(log).code == 0
    return log.done


def faults(bench: Bench, log: list[tuple[Call, bytes]], moment: int, way: str) -> list[str]:
    """What is wrong after the power went when the first `moment` calls of the log had been made."""
    disk = Disk(bench.folder, bench.before)
    for call, data in log[:moment]:
        disk.happens(call, data)
    disk.lay_out(bench.folder, way, random.Random(moment))
    wrong = bench.lost()
    if moment == len(log) and contents(bench.folder, bench.scene.results) != bench.wanted:
        wrong.append("what was told as done is not there")
    return wrong + bench.afterwards(cut=True)


def moments(log: list[tuple[Call, bytes]]) -> list[int]:
    """Moments that differ: just before something gets sure, moves or goes, and the end."""
    return [k for k in range(len(log) + 1) if k == len(log) or log[k][0].kind in ("fsync", "rename", "link", "unlink")]


def drawn(place: Path, name: str, count: int, seed: int = 0) -> dict[tuple[int, str], list[str]]:
    """What is wrong at so many moments of a command, drawn at random, and at its end; nothing is as it should be."""
    with stand_ins(), hub():
        bench = Bench(name, place)
        log = logged(bench)
        rng = random.Random(seed)
        chosen = [(len(log), way) for way in WAYS] + [(k, rng.choice(WAYS)) for k in rng.sample(moments(log), count)]
        return {(k, way): wrong for k, way in chosen if (wrong := faults(bench, log, k, way))}


def main(names: list[str]) -> int:
    """Every moment of every command, the three cases in turn; prints counts and what is wrong; how many are."""
    total: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place,
        stand_ins(),
        hub(),
    ):
        for number, name in enumerate(names or list(SCENES)):
            bench = Bench(name, Path(place) / str(number))
            log, bad = logged(bench), 0
            points = [(k, WAYS[i % len(WAYS)]) for i, k in enumerate(moments(log))] + [(len(log), way) for way in WAYS]
            for moment, way in points:
                if wrong := faults(bench, log, moment, way):
                    bad += 1
                    last = log[moment - 1][0] if moment else None
                    print(f"  {way} after {moment}: {last}\n    " + "\n    ".join(wrong), flush=True)
            total.update(commands=1, calls=len(log), runs=len(points), wrong=bad)
            print(f"{name}: {len(log)} calls, {len(points)} cuts of power, {bad} wrong", flush=True)
    print(", ".join(f"{count} {name}" for name, count in total.items()))
    return total["wrong"]


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))

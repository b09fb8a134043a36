"""Every call on a file made to fail, one a run: each call site of each command, with each error that it may meet.

`python -m tests.faults.errors [COMMAND ...]` does all of them and prints the counts; tests/test_faults.py draws a few.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.faults.commands import SCENES, Said, contents, damaged, everywhere, hub, stand_ins, typed, unfinished
from tests.faults.recorder import NUMBERS, Call, Judge, Listing, failure, watching

SHORT = "short write"
MAY = {  # kind of call: what may come of it
    "open": ("EIO", "EACCES", "EMFILE"),
    "make": ("ENOSPC", "EIO", "EACCES", "EMFILE"),
    "read": ("EIO",),
    "write": ("ENOSPC", "EIO", SHORT),
    "fsync": ("ENOSPC", "EIO"),
    "rename": ("ENOSPC", "EIO", "EACCES"),
    "link": ("ENOSPC", "EIO", "EACCES"),
    "unlink": ("EIO", "EACCES"),
    "mkdir": ("ENOSPC", "EIO", "EACCES"),
    "stat": ("EIO", "EACCES"),
    "list": ("EIO", "EACCES", "EMFILE"),
    "utime": ("EIO", "EACCES"),
    "lock": ("EIO", "ENOLCK"),
    "mmap": ("ENOMEM", "EACCES"),
}
TAKES_ROOM = ("make", "write", "fsync", "rename", "link", "mkdir")
# What a command may end with when it cannot do its work: usage where it may not write, input where it cannot read what
# it was given, weights likewise, resource for disk, files and memory.
CODES = {
    "ENOSPC": {5},
    SHORT: {5},
    "EIO": {3, 4, 5},
    "EACCES": {2, 3, 4, 5},  # 5 where it wrote the file itself a moment before
    "EMFILE": {3, 4, 5},
    "ENOLCK": {5},
    "ENOMEM": {3, 4, 5},
}


class Point(NamedTuple):
    """One run: the command, the call site, and the error that meets its first call."""

    scene: str
    kind: str
    site: str
    error: str


@dataclass
class Fault(Judge):
    """Lets the first call of a site fail. A full disk stays full; of a short write one half is written before."""

    point: Point
    struck: bool = False
    calls: list[Call] = field(default_factory=list)

    def before(self, call: Call) -> None:
        full = self.point.error in ("ENOSPC", SHORT)
        if self.struck:
            if full and call.kind in TAKES_ROOM:
                raise failure(NUMBERS["ENOSPC"], call.path)
            return
        if (call.kind, call.site) == (self.point.kind, self.point.site):
            self.struck = True
            if self.point.error != SHORT:
                raise failure(NUMBERS[self.point.error], call.path)

    def room(self, call: Call, size: int) -> int:
        short = self.struck and self.point.error == SHORT and (call.kind, call.site) == self.point[1:3]
        return max(1, size // 2) if short else size


class Bench:
    """One command, and its folder before and after, made once; then as many disturbed runs of it as are wanted."""

    def __init__(self, name: str, place: Path) -> None:
        self.name, self.scene = name, SCENES[name]
        self.before, self.folder = place / "before", place / "work"
        self.before.mkdir(parents=True)
        self.scene.before(self.before)
        self.calls: list[Call] = []
        for judge in (Judge(), Listing(self.calls)):  # modules that are imported on the way look at files, too
            started = time.perf_counter()
            said = self.disturbed(judge)
            assert said.code == 0, said.err + said.trace
        self.seconds = time.perf_counter() - started
        self.wanted = contents(self.folder, self.scene.results)
        self.precious = {contents_of(self.before / name) for name in self.scene.precious}
        assert self.wanted and not unfinished(self.folder, self.scene.results)

    def disturbed(self, judge: Judge) -> Said:
        """The command on a new copy of its folder, judged."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.before, self.folder)
        with watching(self.folder, judge):
            return typed(self.folder, *self.scene.words)

    def points(self) -> list[Point]:
        """Every call site of the command with every error."""
        sites = dict.fromkeys((call.kind, call.site) for call in self.calls)
        return [Point(self.name, kind, site, error) for kind, site in sites for error in MAY[kind]]

    def faults(self, point: Point) -> list[str]:
        """What is wrong with how the command met the error; nothing is as it should be."""
        judge = Fault(point)
        said = self.disturbed(judge)
        if not judge.struck:
            return ["never reached"]
        wrong = [*wrong_words(said, CODES[point.error]), *self.lost()]
        if said.code == 0 and contents(self.folder, self.scene.results) != self.wanted:
            wrong.append("ended well with other results")
        if bad := damaged(self.folder):
            wrong.append(f"{len(bad)} damaged entries in the cache")
        return wrong + self.afterwards()

    def lost(self) -> list[str]:
        """Precious files that are nowhere."""
        there = everywhere(self.folder)
        return [f"lost {len(self.precious - there)} files"] if self.precious - there else []

    def afterwards(self, *, cut: bool = False) -> list[str]:
        """What is wrong with the same command, undisturbed, after whatever happened. cut: a process was cut off."""
        said = typed(self.folder, *self.scene.words)
        wrong = [f"afterwards {word}" for word in wrong_words(said, set())]
        if said.code:
            wrong.append(f"afterwards {said.code}: {said.err.strip()[-200:]}")
        elif (found := contents(self.folder, self.scene.results)) != self.wanted:
            names = sorted(n for n in found.keys() | self.wanted.keys() if found.get(n) != self.wanted.get(n))
            wrong.append(f"afterwards other results: {', '.join(names[:4])}")
        elif rest := unfinished(self.folder, self.scene.results, cut=cut):
            wrong.append(f"afterwards unfinished things: {', '.join(rest[:4])}")
        return wrong + [f"afterwards {word}" for word in self.lost()]


def contents_of(path: Path) -> str:
    """The digest of one file."""
    return contents(path.parent, (".",))[path.name]


def wrong_words(said: Said, codes: set[int]) -> list[str]:
    """What is wrong with how a command ended: a trace, a defect, another code than those, not one line."""
    wrong = []
    lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
    if said.trace or "Traceback" in said.err:
        wrong.append(f"trace {said.trace[-300:]}")
    if "a defect of img2mv3d" in said.err:
        wrong.append(f"defect: {lines[-1]}")
    if said.code and codes and said.code not in codes:
        wrong.append(f"code {said.code}: {said.err.strip()[-200:]}")
    if len(lines) != (said.code != 0) or (lines and len(lines[0]) > 600):
        wrong.append(f"{len(lines)} lines of error with code {said.code}")
    return wrong


def benches(names: list[str], place: Path) -> Iterator[Bench]:
    """A bench for each command, one after the other."""
    with stand_ins(), hub():
        for number, name in enumerate(names):
            yield Bench(name, place / str(number))


def drawn(place: Path, name: str, count: int, seed: int = 0) -> dict[Point, list[str]]:
    """What is wrong with so many runs of a command, drawn at random; nothing is as it should be."""
    with stand_ins(), hub():
        bench = Bench(name, place)
        points = bench.points()
        chosen = random.Random(seed).sample(points, min(count, len(points)))
        return {point: wrong for point in chosen if (wrong := bench.faults(point))}


def main(names: list[str]) -> int:
    """Every site of every command with every error; prints counts and what is wrong; how many are."""
    total: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()  # sites that an earlier command has, too
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        for bench in benches(names or list(SCENES), Path(place)):
            points = [point for point in bench.points() if point[1:] not in seen]
            seen |= {point[1:] for point in points}
            bad = 0
            for point in points:
                if wrong := bench.faults(point):
                    bad += 1
                    print(f"  {point.kind} {point.error} at {point.site}\n    " + "\n    ".join(wrong), flush=True)
            sites = len({(p.kind, p.site) for p in points})
            total.update(commands=1, calls=len(bench.calls), sites=sites, runs=len(points), wrong=bad)
            print(
                f"{bench.name}: {len(bench.calls)} calls at {sites} sites, {len(points)} runs, {bad} wrong", flush=True
            )
    print(", ".join(f"{count} {name}" for name, count in total.items()))
    return total["wrong"]


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))

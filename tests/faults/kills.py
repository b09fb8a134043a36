"""Processes killed while they work on files: before any call that changes the disk, or at a moment by chance.

Each kill is a SIGKILL to a process of its own. Every other time the command that goes on is killed, too, before the
last one may end; then results, cache and everything precious are looked at.

`python -m tests.faults.kills [COUNT]` spreads so many kills over the commands and prints the counts.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.commands import damaged, stand_ins, typed
from tests.faults.errors import Bench
from tests.faults.recorder import Call, Judge, watching

CHANGES = ("make", "write", "fsync", "rename", "link", "unlink", "mkdir")
NAMES = (
    *("run", "run, all in the cache", "run of another photo", "run after an edit", "run into another folder"),
    *("export to a file", "weights import", "cache prune"),
)


class Killer(Judge):
    """Kills its process before the call of this number, counted from 0, among those that change the disk."""

    def __init__(self, number: int) -> None:
        self.left = number

    def before(self, call: Call) -> None:
        if call.kind in CHANGES:
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1


def killed(bench: Bench, number: int | None, after: float) -> bool:
    """The command in a process of its own, killed before its call of that number, or (None) after so many seconds; did
    the kill meet it at work?"""
    if not (child := os.fork()):
        with watching(bench.folder, Judge() if number is None else Killer(number)):
            said = typed(bench.folder, *bench.scene.words)
        os._exit(said.code)
    if number is None:
        time.sleep(after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill(bench: Bench, rng: random.Random, counts: Counter[str]) -> list[str]:
    """One or two kills, then what is wrong."""
    shutil.rmtree(bench.folder, ignore_errors=True)
    shutil.copytree(bench.before, bench.folder)
    changes = [call.kind for call in bench.calls if call.kind in CHANGES]
    for _ in range(rng.randint(1, 2)):
        by_chance = rng.random() < 0.25
        number = None if by_chance else rng.randrange(len(changes))
        if killed(bench, number, rng.uniform(0, bench.seconds)):
            counts["by chance" if number is None else f"before a {changes[number]}"] += 1
    wrong = bench.lost()
    if bad := damaged(bench.folder):
        wrong.append(f"{len(bad)} damaged entries in the cache")
    return wrong + bench.afterwards(cut=True)


def many(names: tuple[str, ...], count: int, place: Path, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """At least so many kills, spread over the commands: counts, and what is wrong."""
    rng, counts, wrong = random.Random(seed), Counter[str](), []
    with stand_ins():
        for number, name in enumerate(names):
            bench = Bench(name, place / str(number))
            while counts.total() * len(names) < count * (number + 1):
                wrong += [f"{name}: {word}" for word in kill(bench, rng, counts)]
    return counts, wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        counts, wrong = many(NAMES, int(sys.argv[1]) if len(sys.argv) > 1 else 1000, Path(name))
    print("\n".join([*wrong, f"{counts.total()} kills, {len(wrong)} wrong: {dict(sorted(counts.items()))}"]))
    sys.exit(bool(wrong))

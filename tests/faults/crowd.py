"""Many processes at once on one cache and in one run's folder, with locks, with locks that do nothing (as on some
network drives), and with a clock that is set back.

Nothing wrong may come out of the cache, and what a run says that it made must be what an undisturbed run makes.

`python -m tests.faults.crowd [PROCESSES ROUNDS]` prints the counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

from img2mv3d.errors import UsageError
from img2mv3d.files.durable import digest_file
from img2mv3d.flow import pipeline
from img2mv3d.flow.entry import Source
from img2mv3d.flow.store import Store
from img2mv3d.plans import Plan
from tests.fakes import FakeBundle, FakeRunners
from tests.faults.commands import damaged, stand_ins

KEYS = [f"{number:064x}" for number in range(12)]
DAY = 86400.0


def content(key: str) -> dict[str, bytes]:
    """What belongs under a key."""
    rng = random.Random(key)
    return {name: rng.randbytes(rng.randrange(1, 40_000)) for name in ("a.bin", "views/b.bin")}


@contextlib.contextmanager
def without_locks() -> Iterator[None]:
    """Every lock is had at once by everybody."""
    with mock.patch.object(fcntl, "flock", lambda handle, how: None):
        yield


@contextlib.contextmanager
def clock_set_back(days: float = 400.0) -> Iterator[None]:
    """A clock that shows another day than the files on the disk have."""
    real = time.time
    with mock.patch.object(time, "time", lambda: real() - days * DAY):
        yield


def at_store(folder: Path, rounds: int, seed: int) -> Counter[str]:
    """One process at the cache: puts, gets, checks and prunes at random; counts of what it met."""
    rng, met, warned = random.Random(seed), Counter[str](), list[str]()
    store, draft = Store(folder / "cache", warned.append), folder / f"draft-{seed}"
    for _ in range(rounds):
        key = rng.choice(KEYS)
        into = folder / f"into-{seed}"
        shutil.rmtree(into, ignore_errors=True)
        match rng.randrange(10):
            case 0:
                store.prune(rng.choice((0, 100_000, 300_000)))
                met["prunes"] += 1
            case 1:
                store.verify()
                met["checks"] += 1
            case _:
                with store.lock(key):
                    entry = store.get(key, into)
                    if entry is None:
                        for name, data in content(key).items():
                            (draft / name).parent.mkdir(parents=True, exist_ok=True)
                            (draft / name).write_bytes(data)
                        met["puts" if store.put(key, "decode", draft, list(content(key)), {}) else "not kept"] += 1
                    else:
                        found = {name: (into / name).read_bytes() for name in entry.files}
                        met["gets" if found == content(key) else "wrong"] += 1
    met["warnings"] += len(warned)
    met["wrong"] += len([line for line in warned if "damaged" in line])
    return met


def at_out(folder: Path, rounds: int, seed: int) -> Counter[str]:
    """One process that runs into the same out/ as the others, one of two photos with one of two seeds each time."""
    rng, met = random.Random(seed), Counter[str]()
    while met["runs"] < rounds:
        which, number = rng.choice("ab"), rng.randrange(2)
        try:
            run(folder, which, number, folder / "out")
            met["runs"] += 1
        except UsageError as error:
            met["told to wait" if "another run is at work" in str(error) else str(error)] += 1
            time.sleep(rng.uniform(0.05, 0.3))
    return met


def run(folder: Path, which: str, seed: int, out: Path) -> Path:
    """A run of one of the photos; its mesh."""
    source, store = Source("photo", folder / f"{which}.png"), Store(folder / "cache")
    runners = FakeRunners().table()
    return pipeline.run(source, out, Plan(seed=seed), store=store, runners=runners, bundle=FakeBundle()).path


def crowd(work: Callable[[Path, int, int], Counter[str]], folder: Path, processes: int, rounds: int) -> Counter[str]:
    """So many processes at work in the folder: what they met, together."""
    children = []
    for seed in range(processes):
        if not (child := os.fork()):
            met, code = Counter[str](), 0
            try:
                met = work(folder, rounds, seed)
            except BaseException:
                traceback.print_exc()
                code = 1
            (folder / f"met-{seed}.json").write_text(json.dumps(met))
            os._exit(code)
        children.append(child)
    total = Counter[str]()
    for seed, child in enumerate(children):
        total["died"] += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        total.update(json.loads((folder / f"met-{seed}.json").read_text()))
    return total


def one_store(folder: Path, processes: int, rounds: int) -> tuple[Counter[str], list[str]]:
    """Processes at one cache: what they met, and what is wrong."""
    met = crowd(at_store, folder, processes, rounds)
    bad = damaged(folder)
    wrong = [f"{met[name]} {name}" for name in ("wrong", "died") if met[name]]
    return +met, wrong + [f"{key} is damaged" for key in bad]


def one_out(folder: Path, processes: int, rounds: int) -> tuple[Counter[str], list[str]]:
    """Processes in one out/: what they met, and what is wrong. Afterwards each of the runs gives what it always gives,
    out of the cache that all of them filled and without it."""
    for which in "ab":
        (folder / f"{which}.png").write_bytes(which.encode() * 50)
    met = crowd(at_out, folder, processes, rounds)
    wrong = [f"{met[name]} {name}" for name in met if name not in ("runs", "told to wait") and met[name]]
    for which in "ab":
        for seed in range(2):
            alone = folder / "alone"
            alone.mkdir(exist_ok=True)
            shutil.copy(folder / f"{which}.png", alone)
            wanted = digest_file(run(alone, which, seed, alone / f"{which}{seed}"))
            if digest_file(run(folder, which, seed, folder / f"{which}{seed}")) != wanted:
                wrong.append(f"photo {which}, seed {seed}: the cache holds another mesh")
            if digest_file(run(folder, which, seed, folder / "out")) != wanted:
                wrong.append(f"photo {which}, seed {seed}: out/ holds another mesh")
    return +met, wrong


SITUATIONS = {"locks": contextlib.nullcontext, "no locks": without_locks, "clock set back": clock_set_back}


def main(processes: int, rounds: int) -> int:
    """Both places in every situation; prints counts and what is wrong; how many are."""
    bad = 0
    for name, situation in SITUATIONS.items():
        for work in (one_store, one_out):
            with (
                tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place,
                stand_ins(),
                situation(),
            ):
                met, wrong = work(Path(place), processes, rounds)
            bad += len(wrong)
            print("\n".join([*wrong, f"{name}, {work.__name__}: {processes} x {rounds}, {dict(met)}"]), flush=True)
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:3] if len(sys.argv) > 2 else (8, 100)))))

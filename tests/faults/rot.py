"""Bits that flip in stored files: in the cache, in a run's folder, in fetched weights, of every kind, at any position.

A flipped bit in the cache is a miss with a warning; in fetched weights it is named; in a run's folder the file counts
as edited, or the record is not believed, and in both cases a line says so. What must never happen is that a file is
used as if nothing were wrong with it.

`python -m tests.faults.rot [COUNT]` flips so many bits, one at a time, and prints the counts.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from img2mv3d.bundles.fetch import faults
from img2mv3d.flow.store import Store
from tests.faults.commands import EXPORT, FETCH, RUN, contents, done, finished, hub, photo, stand_ins, typed

OUT_SHARE = 0.03  # of all flips: each costs two runs


def flip(path: Path, rng: random.Random) -> bytes:
    """Flip one bit of the file, somewhere; what was in it before."""
    before = path.read_bytes()
    data = bytearray(before)
    at = rng.randrange(8 * len(data))
    data[at // 8] ^= 1 << at % 8
    path.write_bytes(data)
    return before


def kind_of(path: Path) -> str:
    """A file's name, or its ending where there are many of a kind."""
    known = ("run.json", "entry.json", "fetched.json", "config.json", "latents.pt")
    return path.name if path.name in known else path.suffix[1:]


def in_cache(folder: Path, count: int, rng: random.Random, counts: Counter[str]) -> Iterator[str]:
    """Flips in entries: what is given out all the same."""
    kept = folder / "kept"
    shutil.copytree(folder / "cache" / "entries", kept)
    files = [p for p in sorted(kept.rglob("*")) if p.is_file() and p.stat().st_size]
    by_kind: dict[str, list[Path]] = {}
    for path in files:
        by_kind.setdefault(kind_of(path), []).append(path)
    warned: list[str] = []
    store = Store(folder / "cache", warned.append)
    for number in range(count):
        kind = sorted(by_kind)[number % len(by_kind)]
        victim = rng.choice(by_kind[kind])
        key = victim.relative_to(kept).parts[1]
        place = folder / "cache" / "entries" / key[:2] / key
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kept / key[:2] / key, place)
        flip(place / victim.relative_to(kept / key[:2] / key), rng)
        warned.clear()
        into = folder / "into"
        if store.get(key, into) is not None or any(p.is_file() for p in into.rglob("*")):
            yield f"cache: {victim.relative_to(kept)} was given out"
        if len(warned) != 1 or "damaged" not in warned[0]:
            yield f"cache: {victim.relative_to(kept)} without a word"
        counts[f"cache: {kind}"] += 1
    shutil.rmtree(folder / "cache" / "bad", ignore_errors=True)


def in_weights(place: Path, count: int, rng: random.Random, counts: Counter[str]) -> Iterator[str]:
    """Flips in fetched weights: what is taken for good."""
    files = [p for p in sorted(place.rglob("*")) if p.is_file() and p.stat().st_size]
    for number in range(count):
        victim = files[number % len(files)]
        before = flip(victim, rng)
        if not faults(place):
            yield f"weights: {victim.name} was taken for good"
        victim.write_bytes(before)
        counts[f"weights: {kind_of(victim)}"] += 1


def in_results(
    folder: Path, words: tuple[str, ...], count: int, rng: random.Random, counts: Counter[str]
) -> Iterator[str]:
    """Flips in a run's folder: what the same command does not notice, and what it does not make good again."""
    out, kept = folder / "out", folder / "whole"
    shutil.copytree(out, kept)
    wanted = contents(folder, ("out",))
    files = [p.relative_to(kept) for p in sorted(kept.rglob("*")) if p.is_file() and p.stat().st_size]
    for number in range(count):
        shutil.rmtree(out)
        shutil.copytree(kept, out)
        victim = files[number % len(files)]
        flip(out / victim, rng)
        said = typed(folder, *words)
        told = any(word in said.err for word in ("was edited", "taken as unknown", "error: ", "not from this run"))
        if not told or said.trace or "a defect" in said.err:
            yield f"out: {victim} not noticed ({said.code}): {said.err[-300:]}{said.trace}"
        if (out / victim).exists():
            (out / victim).unlink()
        again = typed(folder, *words)
        found = {n: d for n, d in contents(folder, ("out",)).items() if "set-aside" not in n}
        if again.code or found != wanted:
            yield f"out: {victim} not made good again ({again.code}): {again.err[-300:]}"
        counts[f"out: {kind_of(victim)}"] += 1


def many(count: int, place: Path, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """So many flips, one at a time: counts by place and kind, and what is wrong."""
    rng, counts, wrong = random.Random(seed), Counter[str](), []
    outs = max(2, round(count * OUT_SHARE))
    with stand_ins(), hub():
        run, real, weights = (place / name for name in ("run", "real", "weights"))
        for folder in (run, real, weights):
            folder.mkdir(parents=True)
        finished(run)
        wrong += in_results(run, RUN, outs, rng, counts)
        finished(real)
        for format in ("glb", "obj"):
            done(real, *EXPORT, format)  # real files
        shutil.copytree(real / "cache" / "entries", run / "cache" / "entries", dirs_exist_ok=True)
        photo(weights)
        done(weights, *FETCH)
        wrong += in_weights(weights / "weights" / "wonder3d", count // 10, rng, counts)
        wrong += in_cache(run, count - counts.total(), rng, counts)
    return counts, wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        counts, wrong = many(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, Path(name))
    print("\n".join([*wrong[:40], f"{counts.total()} flips, {len(wrong)} wrong: {dict(sorted(counts.items()))}"]))
    sys.exit(bool(wrong))

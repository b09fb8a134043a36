"""Real runs on toy networks, killed: in every stage, at a moment by chance or while its files are written.

Each mesh is killed once in each of its stages, then made; then an export into another format, from the run's folder, is
killed and made. Every kill is a SIGKILL to a process of its own, and what stands in the end must be what an undisturbed
run makes.

`python -m tests.faults.real [COUNT]` does at least so many kills and prints the counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from img2mv3d.flow.graph import STAGES
from img2mv3d.flow.store import Store
from tests.folders import contents
from tests.toys import toy_bundle

QUICK = [
    *("--steps", "1", "--depth-grid", "32", "--depth-effort", "0.01", "--grid", "32", "--effort", "0.01"),
    *("--faces", "400", "--texture-size", "64"),
]
RUN = ("run", "ball.png", "--bundle", "toy", *QUICK, "-o")
EXPORT = ("--format", "obj", "--faces", "300", "--texture-size", "64")
UNTRUE = ("edited", "damaged", "not from this run")  # words that no run says that only was killed before


def materials(folder: Path) -> None:
    """Toy networks and a photo."""
    toy_bundle(folder / "toy")
    photo = Image.new("RGBA", (120, 100))
    ImageDraw.Draw(photo).ellipse((20, 10, 90, 90), fill=(200, 80, 40, 255))
    photo.save(folder / "ball.png")


def record(out: Path) -> dict[str, Any]:
    """What run.json says; like a folder of nothing as long as there is none."""
    try:
        return json.loads((out / "run.json").read_text())
    except FileNotFoundError:
        return {"stages": {}}


def in_work(out: Path) -> str | None:
    """The first stage that is not through; None when all are."""
    through = record(out)["stages"]
    return next((stage for stage in STAGES if stage not in through), None)


# A process that has imported everything and forks for each run: a kill then meets work, not seconds of imports.
WARM = """
import os, sys
from img2mv3d.cli.app import main
from img2mv3d.flow import pipeline
from img2mv3d.stages import decode, depth, export, generate, given, prepare, reconstruct
for line in sys.stdin:
    if not (child := os.fork()):
        said = os.open("said", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(said, 1), os.dup2(said, 2)
        sys.argv[1:] = line.split()
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Warm:
    """Runs in `folder`, one at a time, each in a process of its own that can be killed."""

    def __init__(self, folder: Path) -> None:
        env = {**os.environ, "IMG2MV3D_CACHE": str(folder / "cache"), "OMP_WAIT_POLICY": "PASSIVE"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.folder, self.process = folder, 0
        self._parent = subprocess.Popen([sys.executable, "-c", WARM], cwd=folder, env=env, **pipes)

    def start(self, *words: str) -> None:
        self._parent.stdin.write(" ".join(words) + "\n")
        self._parent.stdin.flush()
        self.process = int(self._parent.stdout.readline())

    def over(self) -> bool:
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        """The exit code, once it is over, and what it said."""
        return int(self._parent.stdout.readline()), (self.folder / "said").read_text()

    def close(self) -> None:
        self._parent.communicate()


def begun(out: Path, process: int, stage: str, writing: bool) -> bool:
    """Has `process` come to `stage` (or further), and, if asked, to the first of its files?"""
    here = in_work(out)
    if here is not None and stage in STAGES and STAGES.index(here) < STAGES.index(stage):
        return False
    return any(not writing or files for draft in out.glob(f".img2mv3d-*-{process}") for *_, files in os.walk(draft))


class Bench:
    """A folder with an undisturbed run and an undisturbed export out of it."""

    def __init__(self, place: Path, seed: int = 0) -> None:
        materials(place)
        self.place, self.out, self.rng, self.counts = place, place / "killed", random.Random(seed), Counter[str]()
        self.warm, self.wrong = Warm(place), list[str]()
        self._done(*RUN, "undisturbed")
        self.wanted = contents(place / "undisturbed")
        self.seconds = {s: about["seconds"] for s, about in record(place / "undisturbed")["last"].items()}
        self._done("export", "undisturbed", *EXPORT)
        self.exported = contents(place / "undisturbed")

    def mesh(self, writing: bool) -> None:
        """A mesh with a kill in each stage; in every other one, beginning with the first if `writing`, while that
        stage's files are written."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.rmtree(self.place / "cache")
        for stage in STAGES:
            self._kill(stage, self.seconds[stage], writing, *RUN, "killed")
            writing = not writing
        self._ends(self.wanted, *RUN, "killed")
        shutil.rmtree(self.place / "cache")
        self._kill("export again", self.seconds["export"], writing, "export", "killed", *EXPORT)
        self._ends(self.exported, "export", "killed", *EXPORT)

    def _kill(self, stage: str, seconds: float, writing: bool, *words: str) -> None:
        self.warm.start(*words)
        while not self.warm.over() and not begun(self.out, self.warm.process, stage, writing):
            time.sleep(0.002)
        time.sleep(self.rng.uniform(0, 0.1 if writing else seconds))
        self.warm.kill()
        if self.warm.end()[0] == -signal.SIGKILL:
            at = in_work(self.out) or "export again"
            self.counts[f"{at}{', writing' * writing}"] += 1

    def _done(self, *words: str) -> str:
        self.warm.start(*words)
        code, said = self.warm.end()
        assert code == 0, said
        return said

    def _ends(self, wanted: dict[str, str], *words: str) -> None:
        self.warm.start(*words)
        code, said = self.warm.end()
        if code or any(word in said for word in UNTRUE):
            self.wrong.append(f"{words[0]} ended with {code}: {said[-300:]}")
        elif (found := contents(self.out)) != wanted:
            names = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
            self.wrong.append(f"{words[0]} gave other results: {', '.join(names[:4])}")
        if (there := Store(self.place / "cache").verify()) and (there.aside or there.stuck):
            self.wrong.append(f"{len(there.aside + there.stuck)} damaged entries in the cache")


def many(count: int, place: Path) -> tuple[Counter[str], list[str]]:
    """At least so many kills: counts by stage, and what is wrong."""
    bench, meshes = Bench(place), 0
    while bench.counts.total() < count:
        bench.mesh(bool(meshes % 2))
        meshes += 1
        told = f"{meshes} meshes, {bench.counts.total()} kills, {len(bench.wrong)} wrong"
        print(f"{told}: {dict(sorted(bench.counts.items()))}", flush=True)
    bench.warm.close()
    return bench.counts, bench.wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        counts, wrong = many(int(sys.argv[1]) if len(sys.argv) > 1 else 50, Path(name))
    print("\n".join([*wrong, f"{counts.total()} kills, {len(wrong)} wrong: {dict(sorted(counts.items()))}"]))
    sys.exit(bool(wrong))

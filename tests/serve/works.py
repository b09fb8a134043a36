"""Work for the workers of tests: importable by another process, done in milliseconds, with every way to go wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.serve.work import RunTask, mesh_name
from img2mv3d.serve.workers import Outcome, Tell


class Echo:
    """Says its task back; words tell it what to do instead."""

    def warm(self) -> None:
        """Nothing to load."""

    def do(self, task: Any, tell: Tell) -> Outcome:
        word, _, value = str(task).partition(" ")
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "raise":
            raise ValueError("a\nlong story")
        if word == "sleep":  # and listen
            for _ in range(int(float(value) / 0.05)):
                time.sleep(0.05)
                tell("tick", {})
        if word == "deaf":
            time.sleep(float(value))
        if word == "grow":
            block = bytearray(os.urandom(1 << 20)) * int(value)
            time.sleep(3)
            return Outcome(True, facts={"grown": len(block)})
        if word == "child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
            tell("child", {"pid": child.pid})
            time.sleep(60)
        return Outcome(True, facts={"said": task, "pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")})


class Unwell(Echo):
    """Cannot even start."""

    def warm(self) -> None:
        raise FileNotFoundError("no\nweights here")


class Slow(Echo):
    """Hangs while it loads."""

    def warm(self) -> None:
        time.sleep(60)


class FakeRuns:
    """A mesh that is the photo's bytes; the seed is the number of tenths of a second that it takes."""

    def warm(self) -> None:
        """Nothing to load."""

    def do(self, task: RunTask, tell: Tell) -> Outcome:
        out = task.folder / "out"
        (out / "views").mkdir(parents=True)
        photo = (task.folder / "photo").read_bytes()
        seed, depth = task.options["seed"], task.options["depth_ratio"]
        tell("stage", {"stage": "prepare", "number": 1, "total": 2, "doing": "cutting"})
        for name in VIEW_NAMES:
            (out / "views" / f"color_{name}.png").write_bytes(photo)
        for _ in range(min(seed, 100)):
            time.sleep(0.1)
            tell("progress", {"stage": "prepare", "done": 1, "total": 2})
        if depth == 0.66:
            (out / "mesh.glb.part").write_bytes(b"half a me")
            os.kill(os.getpid(), signal.SIGKILL)
        if depth == 0.77:
            return Outcome(False, "photo: no object stands out")
        tell("stood", {"stage": "prepare", "how": "computed", "seconds": 0.1})
        name = mesh_name(task.options["format"])
        inherited = sorted(p.name for p in Path(task.parent).iterdir()) if task.parent else []
        (out / name).write_bytes(f"{name} seed {seed} {len(inherited)} ".encode() + photo)
        return Outcome(True, facts={"warnings": [], "seconds": 0.1, "stages": {}, "file": name})

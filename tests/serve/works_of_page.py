"""A run for the page without any network: real pictures and a real mesh, stages that pass in tenths of a second."""

import shutil
import time
from pathlib import Path

from img2mv3d.flow.graph import GRAPH, STAGES
from img2mv3d.serve.work import RunTask, mesh_name, write_preview, write_report
from img2mv3d.serve.workers import Outcome, Tell


class Finished:
    """Copies the finished run in `folder`, stage by stage. Seed 99 fails. A depth ratio makes it slow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def warm(self) -> None:
        """Nothing to load."""

    def do(self, task: RunTask, tell: Tell) -> Outcome:
        write_preview(task.folder)
        out = task.folder / "out"
        shutil.copytree(self.folder, out)
        for number, stage in enumerate(STAGES, 1):
            tell("stage", {"stage": stage, "number": number, "total": len(STAGES), "doing": GRAPH[stage].doing})
            for step in range(4):
                time.sleep(0.4 if task.options["depth_ratio"] else 0.02)
                tell("progress", {"stage": stage, "done": step + 1, "total": 4})
            if task.options["seed"] == 99:
                return Outcome(False, "photo: the object is cut by all four borders; step back")
            tell("stood", {"stage": stage, "how": "computed", "seconds": 0.1})
        name = mesh_name(task.options["format"])
        if name != "mesh.glb":
            (out / name).write_bytes(b"a mesh of another kind")
        write_report(task.folder)
        return Outcome(True, facts={"warnings": ["a leg is thin"], "seconds": 1.0, "stages": {}, "file": name})

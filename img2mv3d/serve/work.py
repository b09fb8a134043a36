"""What the worker processes do: a photo into a mesh with everything that the page shows, and cut-outs to choose from.

In: a folder with photo, mask, back, left, right; options. Out: files in that folder, an outcome.
"""

from __future__ import annotations

import errno
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from img2mv3d import machine
from img2mv3d.errors import Img2mv3dError
from img2mv3d.flow.graph import GRAPH
from img2mv3d.flow.progress import Report
from img2mv3d.plans import PLANS, Plan
from img2mv3d.serve.workers import Outcome, StoppedError, Tell

PHOTO, MASK, BACK, OUT = "photo", "mask", "back", "out"  # names in a run's folder: none of them is the caller's
SIDES = {"left": -90.0, "right": 90.0}  # photos of other sides, and their azimuths in degrees
PICTURES = (PHOTO, MASK, BACK, *SIDES)
PREVIEW, REPORT = "photo.jpg", "report.html"
PREVIEW_SIDE = 1024  # px
TICK = 0.2  # seconds between two words about a stage's progress
TOO_MUCH = "not enough memory; try quality draft or a smaller texture_size"


@dataclass(frozen=True)
class RunTask:
    """folder: of the run, with its inputs. options: as JSON has them. parent: folder of the run that it varies."""

    folder: Path
    options: dict[str, Any]
    parent: Path | None = None


@dataclass
class PhotoRuns:
    """Photo -> mesh. bundle, device: as on the command line. plans: by the names of qualities."""

    bundle: str = "mini"
    device: str = "auto"
    plans: Mapping[str, Plan] = field(default_factory=lambda: dict(PLANS))

    def warm(self) -> None:
        """Open the weights and load torch. Raises WeightsError."""
        from img2mv3d.bundles.weights import load_bundle
        from img2mv3d.flow.runners import ready_torch

        self._bundle = load_bundle(self.bundle)
        ready_torch("cpu" if self.device == "auto" else self.device)

    def do(self, task: RunTask, tell: Tell) -> Outcome:
        """One run; whatever goes wrong becomes its outcome."""
        try:
            return Outcome(True, facts=self._run(task, tell))
        except StoppedError:
            raise
        except Exception as error:
            kind = type(error).__name__ if isinstance(error, Img2mv3dError) else "Defect"
            return Outcome(False, reason_of(error, task.folder), kind=kind)

    def _run(self, task: RunTask, tell: Tell) -> dict[str, Any]:
        from img2mv3d.flow.entry import Source
        from img2mv3d.flow.pipeline import run
        from img2mv3d.serve.run_options import RunOptions

        folder, out = task.folder, task.folder / OUT
        options = RunOptions(**task.options)
        plan = replace(options.plan(self.plans), bundle=self.bundle, device=self.device)
        if not (folder / PREVIEW).exists():
            write_preview(folder)
        if task.parent is not None and (task.parent / OUT).is_dir():
            shutil.copytree(task.parent / OUT, out, dirs_exist_ok=True)
        mask, back = (folder / name if (folder / name).exists() else None for name in (MASK, BACK))
        sides = tuple((azimuth, folder / name) for name, azimuth in SIDES.items() if (folder / name).exists())
        source = Source("photo", folder / PHOTO, mask=mask, back=back, sides=sides)
        started = time.perf_counter()
        result = run(source, out, plan, report=Telling(tell), bundle=self._bundle)
        if options.format == "obj":
            pack_obj(out)
        if options.format == "glb":
            write_report(folder)
        stages = {name: {"how": s["how"], "seconds": s["now_seconds"]} for name, s in result.stages.items()}
        seconds = round(time.perf_counter() - started, 2)
        return {
            "warnings": list(result.warnings),
            "seconds": seconds,
            "stages": stages,
            "file": mesh_name(options.format),
        }


@dataclass
class CutOuts:
    """Photo -> candidates of its cut-out, small and quick. The task is the photo's path."""

    def warm(self) -> None:
        """Load what cutting out needs; no torch."""
        from img2mv3d.serve.cutouts import candidates  # noqa: F401

    def do(self, task: Path, tell: Tell) -> Outcome:
        """Candidates as plain values."""
        from img2mv3d.serve.cutouts import candidates

        try:
            return Outcome(True, facts=candidates(task))
        except Exception as error:
            return Outcome(False, reason_of(error, task.parent))


class Telling(Report):
    """A run's report as events."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._last = tell, 0.0

    def begin(self, stage: str, number: int, total: int) -> None:
        """A stage starts."""
        self._tell("stage", {"stage": stage, "number": number, "total": total, "doing": GRAPH[stage].doing})

    def progress(self, stage: str, done: int, total: int) -> None:
        """So far."""
        now = time.monotonic()
        if now - self._last > TICK:
            self._last = now
            self._tell("progress", {"stage": stage, "done": done, "total": total})

    def end(self, stage: str, how: str, seconds: float) -> None:
        """It stands."""
        self._tell("stood", {"stage": stage, "how": how, "seconds": round(seconds, 2)})

    def note(self, line: str) -> None:
        """A sentence."""
        self._tell("note", {"text": line})


def mesh_name(format: str) -> str:
    """The mesh's file as it is offered: an obj comes with its material and picture, in one file."""
    return "mesh.obj.zip" if format == "obj" else f"mesh.{format}"


def reason_of(error: Exception, folder: Path) -> str:
    """One line for the caller, without paths of this machine."""
    if machine.is_starved(error):
        return TOO_MUCH
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no room left on the server's disk"
    words = " ".join(str(error).split()) or type(error).__name__
    for path in (folder.absolute(), folder):
        words = words.replace(f"{path}/", "")
    return words if isinstance(error, Img2mv3dError) else f"a defect of img2mv3d ({type(error).__name__}: {words})"


def write_preview(folder: Path) -> None:
    """The photo as every browser shows it: upright, small, JPEG. Raises PhotoError."""
    import io

    from PIL import Image

    from img2mv3d.files.durable import write_atomically
    from img2mv3d.readers.photos import read_photo

    picture = Image.fromarray(read_photo(folder / PHOTO).rgba)
    picture.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    sink = io.BytesIO()
    ground.convert("RGB").save(sink, format="JPEG", quality=88)
    write_atomically(folder / PREVIEW, sink.getvalue())


def write_report(folder: Path) -> None:
    """report.html of a run; a mesh without one is still a mesh."""
    from img2mv3d.files.durable import write_atomically
    from img2mv3d.report.gather import gather
    from img2mv3d.report.page import page

    try:
        write_atomically(folder / REPORT, page(gather(folder / OUT, folder / PHOTO)).encode())
    except Img2mv3dError:
        return


def pack_obj(out: Path) -> None:
    """mesh.obj, its material and its picture in one file, which appears whole."""
    draft = out / "mesh.obj.zip.part"
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((*out.glob("mesh.obj"), *out.glob("mesh.mtl"), *out.glob("mesh_*.png"))):
            archive.write(path, path.name)
    draft.replace(out / "mesh.obj.zip")

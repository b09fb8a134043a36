"""The commands whose calls on files are made to fail: what stands before each, its words, and what must stand after it.

In: an empty folder. Out: the folder as the command finds it; exit code and lines of the command, run in this process.
Networks are stand-ins or toys, so that a command takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from PIL import Image

from img2mv3d.files.durable import digest_file
from img2mv3d.flow.store import Store
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.values import Mesh
from tests.balls import ball
from tests.fakes import FakeBundle, FakeRunners

FILES = {
    "unet/config.json": b'{"unet": 1}',
    "unet/diffusion_pytorch_model.bin": random.Random(1).randbytes(30_000),
    "vae/config.json": b'{"vae": 1}',
    "vae/diffusion_pytorch_model.bin": random.Random(2).randbytes(4_000),
    "image_encoder/config.json": b"{}",
    "image_encoder/model.safetensors": random.Random(3).randbytes(2_000),
    "scheduler/scheduler_config.json": b"{}",
}


class Said(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str
    trace: str


@dataclass(frozen=True)
class Scene:
    """words: of the command, typed in the folder. before: makes what it finds there. results: folders that hold what it
    is about. precious: files that must be somewhere in the folder afterwards, whatever happens, by their content.
    """

    words: tuple[str, ...]
    before: Callable[[Path], None]
    results: tuple[str, ...] = ("out",)
    precious: tuple[str, ...] = ("photo.png",)


def contents(folder: Path, results: tuple[str, ...]) -> dict[str, str]:
    """Digests of the results by name; records and reports tell times, and what has a name of ours that begins with a
    dot (locks, drafts) is nobody's result."""
    found = (p for name in results for p in (folder / name).rglob("*") if p.is_file())
    names = {str(p.relative_to(folder)): p for p in found if p.name not in ("run.json", "report.html")}
    return {name: digest_file(p) for name, p in names.items() if ".img2mv3d" not in name}


def everywhere(folder: Path) -> set[str]:
    """Digests of all files, wherever they lie."""
    return {digest_file(p) for p in folder.rglob("*") if p.is_file()}


def damaged(folder: Path) -> list[str]:
    """Keys of entries of the folder's cache that are not whole."""
    found = Store(folder / "cache").verify()
    return found.aside + found.stuck


def unfinished(folder: Path, results: tuple[str, ...], *, cut: bool = False) -> list[str]:
    """What no command may leave behind when it ends well: drafts in its results and in the cache. cut: a process before
    it was cut off; what that one left in the cache goes with the next `cache prune`."""
    drafts = [p for name in results for p in (folder / name).rglob(".*") if p.suffix != ".lock"]
    drafts += [] if cut else (folder / "cache" / "tmp").glob("*")
    return [str(p.relative_to(folder)) for p in drafts]


# --------------------------------------------------------------------------------------------- what commands find


def photo(folder: Path, color: str = "teal") -> None:
    """A photo; the stand-ins take any bytes."""
    Image.new("RGB", (24, 20), color).save(folder / "photo.png")


def done(folder: Path, *words: str) -> None:
    """A command that ends well."""
    said = typed(folder, *words)
    assert said.code == 0, said.err + said.trace


def finished(folder: Path) -> None:
    """A finished run."""
    photo(folder)
    done(folder, *RUN)


def with_other_photo(folder: Path) -> None:
    """A finished run, and another photo under the name of its own."""
    finished(folder)
    photo(folder, "plum")


def with_edit(folder: Path) -> None:
    """A finished run, one of whose views somebody painted on."""
    finished(folder)
    picture = Image.open(folder / "out" / "views" / "color_left.png").convert("RGBA")
    picture.paste((0, 255, 0, 255), (10, 10, 14, 14))
    picture.save(folder / "out" / "views" / "color_left.png")
    shutil.copy(folder / "out" / "views" / "color_left.png", folder / "mine.png")


def without_results(folder: Path) -> None:
    """A full cache, and no results."""
    finished(folder)
    shutil.rmtree(folder / "out")


def with_checkpoint(folder: Path) -> None:
    """A copy of the published folder, as small as it can be."""
    from tests.checkpoints import tiny_checkpoint

    photo(folder)
    tiny_checkpoint(folder / "copy")


def with_half_of_the_weights(folder: Path) -> None:
    """A download that broke off in the middle of its largest file."""
    photo(folder)
    with hub(cut=12_345):
        said = typed(folder, *FETCH)
    assert said.code == 4, said.err


def with_damaged_weights(folder: Path) -> None:
    """Fetched weights in one of whose files a bit flipped."""
    photo(folder)
    with hub():
        done(folder, *FETCH)
    path = folder / "weights" / "wonder3d" / "vae" / "diffusion_pytorch_model.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 4
    path.write_bytes(data)


RUN = ("run", "photo.png", "--no-report", "--bundle", "fake")
FETCH = ("weights", "fetch", "wonder3d", "--accept-licence")
FACES = 200  # what stands for a real mesh
EXPORT = ("export", "out", "--faces", str(FACES), "--format")

SCENES = {
    "run": Scene(RUN, photo),
    "run, all in the cache": Scene(RUN, without_results),
    "run, all there": Scene(RUN, finished),
    "run of another photo": Scene(RUN, with_other_photo, precious=("photo.png", "out/mesh.glb", "out/subject.png")),
    "run after an edit": Scene(RUN, with_edit, precious=("photo.png", "mine.png")),
    "run into another folder": Scene(("run", "--from", "out", "-o", "other", *RUN[2:]), with_edit, ("out", "other")),
    "export": Scene((*EXPORT, "glb"), finished),
    "export to a file": Scene((*EXPORT, "obj", "-o", "my/cup.obj"), finished, ("out", "my")),
    "weights fetch": Scene(FETCH, photo, ("weights",)),
    "weights fetch, the rest": Scene(FETCH, with_half_of_the_weights, ("weights",)),
    "weights fetch, damaged": Scene(FETCH, with_damaged_weights, ("weights",)),
    "weights import": Scene(("weights", "import", "copy", "--accept-licence"), with_checkpoint, ("weights", "copy")),
    "cache prune": Scene(("cache", "prune", "--max-size", "2k"), finished),
    "cache verify": Scene(("cache", "verify"), finished),
}


# ----------------------------------------------------------------------------------------------- how they are run


@contextlib.contextmanager
def hub(cut: int | None = None) -> Iterator[None]:
    """A hub of made-up files on this machine, which the environment names. cut: bytes after which the largest file
    breaks off, again and again."""
    from tests.hub import Hub, running

    with running(Hub(dict(FILES))) as there:
        if cut is not None:
            there.cuts["unet/diffusion_pytorch_model.bin"] = [cut] + [0] * 9
        with mock.patch.dict(os.environ, {"HF_ENDPOINT": there.url}):
            yield


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Stages of a millisecond; a disk that is not waited for; retries without a pause."""
    from img2mv3d.bundles import fetch, weights
    from img2mv3d.bundles import hub as line
    from img2mv3d.flow import inputs, runners

    table = FakeRunners().table()

    def export(context: Any, **values: Any) -> Any:
        if context.options.faces != FACES:
            return table["export"](context, **values)
        mesh = Mesh(**{f.name: getattr(ball(True), f.name) for f in fields(MeshArrays)})
        return runners.Written(mesh, context.options, values["provenance"])  # a real file, written and read back

    with contextlib.ExitStack() as stack:
        put = lambda owner, name, value: stack.enter_context(mock.patch.object(owner, name, value))  # noqa: E731
        for name, runner in (table | {"export": export}).items():
            put(runners, name, runner)
        put(weights, "load_bundle", lambda name: FakeBundle(str(name)))
        put(inputs, "matting_digest", lambda remover: None)
        put(line, "PAUSE", 0.0)
        put(fetch, "ROOM", 0)
        put(os, "fsync", lambda handle: None)
        yield


@contextlib.contextmanager
def standing_in(folder: Path) -> Iterator[None]:
    """The working directory, the cache, weights and temporary files of a command: all in the folder."""
    before = os.getcwd(), tempfile.tempdir
    (folder / "tmp").mkdir(exist_ok=True)
    places = {"IMG2MV3D_CACHE": str(folder / "cache"), "IMG2MV3D_WEIGHTS": str(folder / "weights"), "HF_TOKEN": "x"}
    with mock.patch.dict(os.environ, places):
        os.chdir(folder)
        tempfile.tempdir = str(folder / "tmp")
        try:
            yield
        finally:
            os.chdir(before[0])
            tempfile.tempdir = before[1]


@functools.cache
def program() -> Any:
    """The command line, built once: typer builds it anew for every call."""
    from typer.main import get_command

    from img2mv3d.cli.app import app

    return get_command(app)


def typed(folder: Path, *words: str) -> Said:
    """Type a command in the folder."""
    from click.testing import CliRunner

    with standing_in(folder):
        result = CliRunner().invoke(program(), list(words), prog_name="img2mv3d")
    trace = ""
    if result.exc_info and not isinstance(result.exception, SystemExit | None):
        trace = "".join(traceback.format_exception(*result.exc_info))[-2000:]
    return Said(result.exit_code, result.stdout, result.stderr, trace)

"""The commands to look at a run: its report, the report in a browser, a turning mesh.

In: a run's folder as typed. Out: report.html, a film, an address. Why here: what a folder without a name means and what
may be written over is decided here; `report` gathers and draws.
"""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path

from img2mv3d.errors import InputError, UsageError

NAME = "report.html"


def report(folder: Path | None, photo: Path | None, target: Path | None) -> None:
    """Write the report of a run; its path to stdout."""
    folder = folder or run_here()
    if photo is not None and not photo.is_file():
        raise InputError(f"{photo}: no such photo; leave --photo away or name the one the run began with")
    print(save_report(folder, photo, target or folder / NAME).absolute())


def view(folder: Path | None, port: int, browser: bool) -> None:
    """Serve the report until somebody interrupts; made first where it is missing or older than the run."""
    from img2mv3d.report.serve import server_for

    folder = folder or run_here()
    made, record = folder / NAME, folder / "run.json"
    if not made.is_file() or (record.is_file() and made.stat().st_mtime < record.stat().st_mtime):
        save_report(folder, None, made)
    try:
        server = server_for(folder, port)
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}; take another one, or 0 for any that is free") from None
    with server:
        address = f"http://{server.server_address[0]}:{server.server_address[1]}/"
        print(address, flush=True)
        print("Ctrl-C ends it", file=sys.stderr, flush=True)
        if browser and not webbrowser.open(address):
            print("note: no browser found; open the address yourself", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def turntable(folder: Path | None, kind: str, target: Path | None, count: int, side: int) -> None:
    """Write the film of a run's mesh (or of a mesh file); its path to stdout."""
    from img2mv3d.report.gather import mesh_of
    from img2mv3d.report.turntable import KINDS, frames, write_film

    folder = folder or run_here()
    if kind not in KINDS:
        raise UsageError(f"--format {kind}: expected one of {', '.join(KINDS)}")
    if not 2 <= count <= 360 or not 32 <= side <= 2048:
        raise UsageError(f"--frames {count} --side {side}: expected 2 to 360 pictures of 32 to 2048 px")
    if kind == "mp4" and side % 2:
        raise UsageError(f"--side {side}: an mp4 needs an even number")
    mesh, name = mesh_of(folder)
    if target is None:
        beside = folder.with_name(f"{folder.stem}_turntable.{kind}")
        target = folder / f"turntable.{kind}" if folder.is_dir() else beside
    pictures = []
    for picture in frames(mesh, count, side):
        pictures.append(picture)
        if sys.stderr.isatty():
            print(f"\r{name}: {len(pictures)} of {count}", end="" if len(pictures) < count else "\n", file=sys.stderr)
    write_film(pictures, target, kind)
    print(target.absolute())


def save_report(folder: Path, photo: Path | None, target: Path) -> Path:
    """Write the report of the run in `folder` to `target`, whole or not at all. Raises InputError without a run,
    UsageError when a file of that name is there that no report is.
    """
    from img2mv3d.files.durable import write_atomically
    from img2mv3d.report.gather import gather
    from img2mv3d.report.page import MARK, page

    text = page(gather(folder, photo))
    if target.exists():
        with open(target, "rb") as file:
            if MARK.encode() not in file.read(1000):
                raise UsageError(f"{target} is not a report of ours and stays as it is; name another file with -o")
    write_atomically(target, text.encode())
    return target


def run_here() -> Path:
    """The run that is meant when nobody names one: in out/, else here. Raises InputError."""
    for folder in (Path("out"), Path()):
        if (folder / "run.json").exists():
            return folder
    raise InputError("no run in out/ or here (run.json); name its folder")

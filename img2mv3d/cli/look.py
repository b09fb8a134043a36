"""The commands to look at a run: its report, the report in a browser, a turning mesh.

In: a run's folder as typed. Out: report.html, a film, an address.
"""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from img2mv3d.cli.flags import LOOKING, TEXT, command
from img2mv3d.cli.lines import draws
from img2mv3d.errors import InputError, UsageError

NAME = "report.html"
FILMS = ("gif", "webp", "mp4")

app = typer.Typer(**TEXT)

Folder = Annotated[Path | None, typer.Argument(metavar="OUT", help="A run's folder (out/, else here).")]
Shown = Annotated[Path | None, typer.Argument(metavar="OUT", help="A run's folder or a mesh file (out/, else here).")]
File = Annotated[Path | None, typer.Option("-o", "--out", help="File to write (in the run's folder).")]
Original = Annotated[Path | None, typer.Option("--photo", help="The photo of the run (searched by name and content).")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes any free one.")]
Closed = Annotated[bool, typer.Option("--no-browser", help="Only print the address.")]
Film = Annotated[Literal[*FILMS], typer.Option("--format", help="File format; mp4 is VP9.")]
Frames = Annotated[int, typer.Option("--frames", min=2, max=360, help="Number of frames in one turn.")]
Side = Annotated[int, typer.Option("--side", min=32, max=2048, help="Size of a frame, in px.")]
Beside = Annotated[bool, typer.Option("--side-by-side", help="The photo's cut-out at the left of the mesh.")]


@command(app, "debug", group=LOOKING)
def report(folder: Folder = None, photo: Original = None, out: File = None, **flags: Any) -> None:
    """Write report.html: a run on one page that opens from disk and loads nothing.

    Photo, cut-out, the mesh to turn, views before and after, normals, depth, where a pixel is seen in the other views,
    figures, time and memory, warnings. `run` writes it as well.

    \b
    img2mv3d report out/
    """
    folder = folder or run_here()
    if photo is not None and not photo.is_file():
        raise InputError(f"{photo}: no such photo; omit --photo or name the one the run began with")
    print(save_report(folder, photo, out or folder / NAME).absolute())


@command(app, "debug", group=LOOKING)
def view(folder: Folder = None, port: Port = 0, no_browser: Closed = False, **flags: Any) -> None:
    """Show the report in the browser, served to this machine alone, until Ctrl-C.

    \b
    img2mv3d view out/
    """
    folder = folder or run_here()
    made, record = folder / NAME, folder / "run.json"
    if not made.is_file() or (record.is_file() and made.stat().st_mtime < record.stat().st_mtime):
        save_report(folder, None, made)
    serve(folder, port, browser=not no_browser)


@command(app, "debug", group=LOOKING)
def turntable(
    folder: Shown = None,
    format: Film = "gif",
    out: File = None,
    frames: Frames = 36,
    side: Side = 360,
    beside: Beside = False,
    **flags: Any,
) -> None:
    """Film the mesh turning once: turntable.gif, .webp or .mp4.

    \b
    img2mv3d turntable out/ --format webp
    img2mv3d turntable out/ --side-by-side
    """
    from img2mv3d.report.gather import cutout_of, mesh_of
    from img2mv3d.report.turntable import side_by_side, write_film

    folder = folder or run_here()
    if format == "mp4" and side % 2:
        raise UsageError(f"--side {side}: an mp4 needs an even number")
    mesh, name = mesh_of(folder)
    cutout = cutout_of(folder) if beside else None
    if out is None:
        beside = folder.with_name(f"{folder.stem}_turntable.{format}")
        out = folder / f"turntable.{format}" if folder.is_dir() else beside
    pictures = shot(mesh, name, frames, side)
    write_film(pictures if cutout is None else side_by_side(pictures, cutout), out, format)
    print(out.absolute())


def serve(folder: Path, port: int, *, browser: bool) -> None:
    """Serve the report until somebody interrupts; its address to stdout. Raises UsageError."""
    from img2mv3d.report.serve import server_for

    try:
        server = server_for(folder, port)
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}; take another one, or 0 for any that is free") from None
    with server:
        address = f"http://{server.server_address[0]}:{server.server_address[1]}/"
        print(address, flush=True)
        print("press Ctrl-C to stop", file=sys.stderr, flush=True)
        if browser and not webbrowser.open(address):
            print("note: no browser found; open the address yourself", file=sys.stderr, flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def shot(mesh: Any, name: str, count: int, side: int) -> list[Any]:
    """The film's pictures; on a terminal a line counts them."""
    from img2mv3d.report.turntable import frames

    pictures = []
    for picture in frames(mesh, count, side):
        pictures.append(picture)
        if draws(sys.stderr):
            print(f"\r{name}: {len(pictures)} of {count}", end="" if len(pictures) < count else "\n", file=sys.stderr)
    return pictures


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
                raise UsageError(
                    f"{target} is not an img2mv3d report and was not overwritten; name another file with -o"
                )
    write_atomically(target, text.encode())
    return target


def run_here() -> Path:
    """The run that is meant when nobody names one: in out/, else here. Raises InputError."""
    for folder in (Path("out"), Path()):
        if (folder / "run.json").exists():
            return folder
    raise InputError("no run in out/ or here (run.json); name its folder")

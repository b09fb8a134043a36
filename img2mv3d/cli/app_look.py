"""The commands to look at a run: report, view, turntable.

In: the words on the command line. Out: a page, an address, a film. Why here: the help of a command is its docstring
here; `look` does the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.cli.flags import TEXT, with_flags

app = typer.Typer(**TEXT)

Folder = Annotated[Path | None, typer.Argument(metavar="OUT", help="A run's folder [out/, else here].")]
Shown = Annotated[Path | None, typer.Argument(metavar="OUT", help="A run's folder or a mesh file [out/, else here].")]
File = Annotated[Path | None, typer.Option("-o", "--out", help="The file to write [in the run's folder].")]
Original = Annotated[
    Path | None, typer.Option("--photo", help="The photo it began with [found by name and content, if near].")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any that is free.")]
Closed = Annotated[bool, typer.Option("--no-browser", help="Only print the address.")]
Film = Annotated[str, typer.Option("--format", help="gif, webp or mp4 (VP9).")]
Frames = Annotated[int, typer.Option("--frames", help="Pictures of one turn.")]
Side = Annotated[int, typer.Option("--side", help="Of a picture, in px.")]


@app.command()
@with_flags("debug")
def report(folder: Folder = None, photo: Original = None, out: File = None, **flags: Any) -> None:
    """Write report.html: a run on one page that opens from disk and loads nothing.

    Photo, cut-out, the mesh to turn, views before and after, normals, depth, where a pixel is seen in the other views,
    figures, seconds and memory, warnings. `run` writes it, too.

    \b
    img2mv3d report out/
    """
    from img2mv3d.cli import look

    look.report(folder, photo, out)


@app.command()
@with_flags("debug")
def view(folder: Folder = None, port: Port = 0, no_browser: Closed = False, **flags: Any) -> None:
    """Show the report in the browser, served to this machine alone, until Ctrl-C.

    \b
    img2mv3d view out/
    """
    from img2mv3d.cli import look

    look.view(folder, port, not no_browser)


@app.command()
@with_flags("debug")
def turntable(
    folder: Shown = None, format: Film = "gif", out: File = None, frames: Frames = 36, side: Side = 360, **flags: Any
) -> None:
    """Film the mesh turning once: turntable.gif, .webp or .mp4.

    \b
    img2mv3d turntable out/ --format webp
    """
    from img2mv3d.cli import look

    look.turntable(folder, format, out, frames, side)

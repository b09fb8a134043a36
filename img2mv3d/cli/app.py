"""The command line program: all commands, each from the module of its topic.

In: the words on the command line. Out: files, one path on stdout, an exit status (errors.py lists them). Commands
import what is heavy inside of their functions.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated

import typer

from img2mv3d.cli import care, check, look, measuring, run, serving, single, training
from img2mv3d.cli.flags import TEXT, flowing
from img2mv3d.cli.guard import Guard

INTERRUPTED = 130  # exit status

app = typer.Typer(
    help=flowing(
        """One photo of an object into a textured mesh, with views that agree to the pixel.

        \b
        img2mv3d run photo.png -o out/           photo -> out/mesh.glb
        img2mv3d decode latents.pt --depth neus  latents -> pixel-aligned views
        img2mv3d export --format obj             the run in out/ -> another format
        """
    ),
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    **TEXT | {"cls": Guard, "add_completion": True},
)
for topic in (run, single, check, look, serving, care, training, measuring):
    app.add_typer(topic.app)  # no name: their commands stand beside each other


def main() -> None:
    """The console script `img2mv3d`."""
    ready_streams()
    try:
        app(prog_name="img2mv3d")
    except SystemExit as end:
        if end.code == INTERRUPTED:  # a thread that still imports would hold the prompt for many seconds
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(INTERRUPTED)
        raise


def ready_streams() -> None:
    """Make stdout and stderr take any text: what was closed by the caller swallows it, what its encoding lacks is
    written as escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _show_version(wanted: bool) -> bool:
    if wanted:
        from img2mv3d import __version__

        print(f"img2mv3d {__version__}")
        raise typer.Exit(0)
    return wanted


@app.callback()
def entry(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Only --version lives up here; the text of the help is the app's."""

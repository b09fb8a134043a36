"""The command `serve`: the page and the address.

In: flags. Out: a server until Ctrl-C, its address on stdout.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.cli.flags import PHOTO_TO_MESH, TEXT, command, parse_bytes
from img2mv3d.errors import UsageError

app = typer.Typer(**TEXT)

WHERE, LIMITS = "Address", "Limits"
TOKEN = "IMG2MV3D_TOKEN"
PORT = 8337
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Host = Annotated[
    str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all networks.", rich_help_panel=WHERE)
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any free port.", rich_help_panel=WHERE)]
Names = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="A host name that requests may use.", rich_help_panel=WHERE),
]
Closed = Annotated[bool, typer.Option("--no-browser", help="Print the address only.", rich_help_panel=WHERE)]
Workers = Annotated[
    int, typer.Option("--workers", min=1, max=64, metavar="N", help="Runs at a time.", rich_help_panel=LIMITS)
]
Queue = Annotated[
    int, typer.Option("--queue", min=1, max=10_000, metavar="N", help="Runs that may wait.", rich_help_panel=LIMITS)
]
Keep = Annotated[
    str, typer.Option("--keep", metavar="TIME", help="How long a run is kept: 90m, 12h, 7d.", rich_help_panel=LIMITS)
]
Timeout = Annotated[
    str, typer.Option("--timeout", metavar="TIME", help="Longest time of a run.", rich_help_panel=LIMITS)
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="BYTES",
        help=r"Memory that a worker may use: 8G. \[default: its share of 80 % of the machine's]",
        rich_help_panel=LIMITS,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("-o", "--out", help=r"Folder for the runs. \[default: a temporary one, removed at the end]"),
]


@command(app, "bundle", "device", "debug", group=PHOTO_TO_MESH)
def serve(
    host: Host = "127.0.0.1",
    port: Port = PORT,
    allow_host: Names = None,
    no_browser: Closed = False,
    workers: Workers = 1,
    queue: Queue = 16,
    keep: Keep = "1d",
    timeout: Timeout = "1h",
    memory: Memory = None,
    out: Folder = None,
    **flags: Any,
) -> None:
    """Serve a page to drop photos on, and an HTTP API for other programs, until Ctrl-C.

    Only this machine has access, unless --host says otherwise. Then the printed address contains a token, and a phone
    in the same network can open it. IMG2MV3D_TOKEN sets the token. Needs: pip install 'img2mv3d[serve]'.

    \b
    img2mv3d serve
    img2mv3d serve --host 0.0.0.0 --keep 7d -o runs/
    curl -F photo=@cup.jpg 'http://127.0.0.1:8337/runs?wait=1' -o cup.glb
    """
    check_installed()
    from img2mv3d.serve.server import listen, run_server

    limits = {"workers": workers, "queue": queue, "keep": parse_seconds("--keep", keep)}
    limits |= {"timeout": parse_seconds("--timeout", timeout), "memory": parse_memory(memory)}
    with tempfile.TemporaryDirectory(prefix="img2mv3d-serve-") as place:
        settings = settings_for(Path(place) if out is None else out, host, allow_host or [], limits, flags)
        bound = listen(host, port)
        announce(settings, bound.getsockname()[1], browser=not no_browser, lasting=out is not None)
        run_server(settings, bound)


def settings_for(folder: Path, host: str, names: list[str], limits: dict[str, Any], flags: dict[str, Any]) -> Any:
    """The server's settings; the token may come from the environment."""
    from img2mv3d.serve.server import Settings

    weights = {name: flags[name] for name in ("bundle", "device") if flags.get(name)}
    token = os.environ.get(TOKEN) or None
    return Settings(folder, host, tuple(name.lower() for name in names), token=token, **limits, **weights)


def check_installed() -> None:
    """Raises UsageError when the extra is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if find_spec(name) is None]
    if missing:
        raise UsageError(f"serve needs {', '.join(missing)}; pip install 'img2mv3d[serve]'")


def parse_seconds(flag: str, text: str) -> float:
    """Seconds out of "90m", "12h", "7d", "30s". Raises UsageError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", text.lower())
    if found is None or float(found.group(1)) == 0:
        raise UsageError(f"{flag} {text}: expected a time such as 90m, 12h or 7d")
    return float(found.group(1)) * SECONDS[found.group(2)]


def parse_memory(text: str | None) -> int | None:
    """Bytes out of "8G". Raises UsageError."""
    try:
        return None if text is None else parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--memory {error}") from None


def announce(settings: Any, port: int, *, browser: bool, lasting: bool) -> None:
    """The addresses to stdout, what to know about them to stderr; the browser."""
    here, others = settings.addresses(port)
    print(here, flush=True)
    for address in others:
        print(address, flush=True)
    if others:
        print("Whoever has an address with the token may use this server. It is plain http.", file=sys.stderr)
    if not lasting:
        print("Runs are removed when the server ends; -o FOLDER keeps them.", file=sys.stderr)
    print("Ctrl-C ends it", file=sys.stderr, flush=True)
    if browser and not webbrowser.open(here):
        print("note: no browser found; open the address yourself", file=sys.stderr, flush=True)

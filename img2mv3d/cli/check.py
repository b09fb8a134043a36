"""The command `check`: what a mesh file holds, in a table or as JSON, and a repaired copy beside it.

In: a path and switches as typed. Out: lines on stdout, perhaps a file, an exit status.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from img2mv3d.cli.flags import LOOKING, MM, TEXT, command, parse_length, typed_in
from img2mv3d.cli.lines import draws
from img2mv3d.errors import UnsoundError, UsageError
from img2mv3d.mesh.formats import FORMATS, READABLE, listed, those

if TYPE_CHECKING:
    from img2mv3d.mesh.health import Health

ROWS = (
    ("triangles", "faces"),
    ("boundary edges", "boundary_edges"),
    ("non-manifold edges", "nonmanifold_edges"),
    ("inconsistently oriented edges", "inconsistent_edges"),
    ("degenerate faces", "degenerate_faces"),
    ("duplicate faces", "duplicate_faces"),
    ("connected components", "components"),
    ("components inside out", "inside_out"),
)
MUST_BE_ZERO = {
    "boundary_edges",
    "nonmanifold_edges",
    "inconsistent_edges",
    "degenerate_faces",
    "duplicate_faces",
    "inside_out",
}


app = typer.Typer(**TEXT)

MeshFile = Annotated[Path, typer.Argument(help=f"{listed(READABLE, 'or')}.")]
Mend = Annotated[bool, typer.Option("--repair", help="Write a repaired copy beside it, even if faults remain.")]
Printable = Annotated[bool, typer.Option("--printable", help="Say whether it prints; repaired first if needed.")]
Unit = Annotated[
    Literal[*MM] | None,
    typer.Option(
        "--unit",
        help="What one unit of the file is.",
        show_default=f"mm in {those(lambda f: f.unit == 'mm')}, else m",
    ),
]
Longest = Annotated[
    float | None, typer.Option("--size", parser=parse_length, metavar="LENGTH", help="Its longest side once printed.")
]
Tall = Annotated[
    float | None, typer.Option("--height", parser=parse_length, metavar="LENGTH", help="Its height once printed.")
]


@command(app, "json", "debug", group=LOOKING)
def check(
    file: MeshFile,
    repair: Mend = False,
    printable: Printable = False,
    unit: Unit = None,
    size: Longest = None,
    height: Tall = None,
    **flags: Any,
) -> None:
    """Check whether a mesh file is a closed body: boundary and non-manifold edges, orientation, walls, size.

    With --printable, a verdict in words: closed, one shell, and the thinnest wall, which must be 0.8 mm, at the file's
    own size or at --size or --height. Thickness is measured by rays inwards from all over the surface. A repaired copy
    is written beside the file as NAME_repaired; it has colours at the vertices instead of a texture. Exit status: 0 if
    the mesh is sound, with --repair also if it is after the repair, with --printable if it prints; 6 if not; 3 if the
    file cannot be read.

    \b
    img2mv3d check out/mesh.glb
    img2mv3d check out/mesh.glb --printable --size 80mm
    img2mv3d check part.stl --printable --json
    """
    if (unit is not None) + (size is not None) + (height is not None) > 1:
        raise UsageError("--unit, --size and --height exclude each other; give one of them")
    check_file(
        file,
        mend=repair,
        printable=printable,
        unit=unit,
        size_mm=size,
        height_mm=height,
        as_json="json" in typed_in(flags),
    )


def check_file(
    path: Path,
    *,
    mend: bool,
    printable: bool,
    unit: str | None,
    as_json: bool,
    size_mm: float | None = None,
    height_mm: float | None = None,
) -> None:
    """Check, and with `mend` or `printable` repair, a mesh file.

    Raises UnsoundError when the mesh (or what the repair made of it) is not sound, or does not print where that was
    asked for.

    size_mm, height_mm: its longest side or its height, instead of what the unit makes them.
    """
    from functools import partial

    from img2mv3d.mesh import health
    from img2mv3d.mesh.files import read_mesh
    from img2mv3d.mesh.repair import repair

    mesh = read_mesh(path)
    up = up_of(path)
    side = mesh.vertices.max(0) - mesh.vertices.min(0)
    if height_mm is not None:
        scale = height_mm / max(float(side[1 if up == "Y" else 2]), 1e-300)
    else:
        scale = MM[unit or default_unit(path)] if size_mm is None else size_mm / float(side.max())
    check = partial(health.check, mm_per_unit=scale, up=up)
    first = last = check(mesh)
    done: tuple[str, ...] = ()
    written = None
    if (mend or printable) and not first.sound:
        mended, done = repair(mesh)
        last = check(mended) if len(mended.faces) else first
        if done and len(mended.faces) and (last.sound or mend):
            written = write_beside(path, mended)
    reasons = last.unprintable() if printable else last.faults()
    if as_json:
        result = {"file": str(path), **first.facts(), "thin": first.thin(), "done": done, "reasons": reasons}
        result |= {"prints": last.facts()["prints"], "verdict": last.verdict()}
        print(json.dumps(result | {"repaired": None if written is None else {"file": str(written), **last.facts()}}))
    else:
        verdict = last.verdict() if written is None else f"the repaired copy {last.verdict()}"
        show(path, first, done, written, last, [verdict] if printable and not reasons else [])
    if reasons:
        what = "does not print" if printable else "is not sound after the repair" if mend else "is not sound"
        more = "" if mend or printable else "; --repair writes a repaired copy beside it"
        raise UnsoundError(f"{path}: {what}: {'; '.join(reasons)}{more}")


def default_unit(path: Path) -> str:
    """What one unit is in a file of this ending: millimetres for printers' formats, metres for the others."""
    known = FORMATS.get(path.suffix.lower().lstrip("."))
    return "m" if known is None else known.unit


def up_of(path: Path) -> str:
    """The axis that points up in a file of this ending."""
    known = FORMATS.get(path.suffix.lower().lstrip("."))
    return "Y" if known is None else known.up


def write_beside(path: Path, mesh: Any) -> Path:
    """Write the mesh as NAME_repaired next to `path`, under a number where that name is taken; where it is."""
    from img2mv3d.mesh.files import write_mesh

    suffix = path.suffix if path.suffix.lower().lstrip(".") in FORMATS else ".glb"
    number, target = 1, path.with_name(f"{path.stem}_repaired{suffix}")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.stem}_repaired{number}{suffix}")
    write_mesh(mesh, target, placed=True)
    return target


def show(path: Path, first: Health, done: tuple[str, ...], written: Path | None, last: Health, said: list[str]) -> None:
    """A table of what was found, a second column for the repaired mesh, and what else is said."""
    from rich.console import Console
    from rich.table import Table

    drawn = draws(sys.stdout)
    looks = {} if drawn else {"box": None, "pad_edge": False}
    table = Table(title=path.name, title_justify="left", show_header=written is not None, **looks)
    table.add_column("")
    for title in ("found", "repaired") if written else ("found",):
        table.add_column(title, justify="right")
    columns = (first, last) if written else (first,)
    for label, name in ROWS:
        cells = [asdict(health)[name] for health in columns]
        marked = [f"[red]{c}[/red]" if c and name in MUST_BE_ZERO else str(c) for c in cells]
        table.add_row(label, *marked)
    table.add_row("watertight", *("yes" if h.watertight else "[red]no[/red]" for h in columns))
    table.add_row("manifold3d", *(h.manifold3d or "not installed" for h in columns))
    table.add_row("box in mm", *(" x ".join(f"{side:g}" for side in h.box_mm) for h in columns))
    table.add_row("volume in cm3", *("-" if h.volume_mm3 is None else f"{h.volume_mm3 / 1000:.4g}" for h in columns))
    table.add_row("thinnest wall in mm", *("-" if h.wall_mm is None else f"{h.wall_mm:g}" for h in columns))
    console = Console(highlight=False, color_system="auto" if drawn else None)
    console.print(table)
    for line in (*done, *said):
        console.print(line, markup=False, soft_wrap=True)
    if written is not None:
        print(written.absolute())

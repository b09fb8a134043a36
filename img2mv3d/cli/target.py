"""-o with the name of a mesh file: the run goes to its usual folder, its mesh to that file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from img2mv3d.errors import UsageError
from img2mv3d.mesh.formats import FORMATS


def target_of(typed: Mapping[str, Any], until: str) -> tuple[Mapping[str, Any], Path | None]:
    """The flags, and the mesh file that -o names: then the flags tell its format and no folder. None where -o names a
    folder. Raises UsageError when no mesh is made or --format says something else."""
    out = typed.get("out")
    ending = "" if out is None else Path(out).suffix.lower()[1:]
    if ending not in FORMATS or os.path.isdir(out):
        return typed, None
    if until != "export":
        raise UsageError(f"-o {out}: names a mesh file, and no mesh is made here; name a folder")
    if typed.get("format", ending) != ending:
        raise UsageError(f"-o {out}: its ending and --format {typed['format']} say different things; give one of them")
    return {**{name: value for name, value in typed.items() if name != "out"}, "format": ending}, Path(out)


def put(mesh: Path, target: Path, note: Callable[[str], None]) -> Path:
    """Copies of a run's mesh, and of what it names beside it, as `target`; the absolute path. What stands there gets
    another name first. Raises OSError."""
    from img2mv3d.files.durable import make_folder, remove_lost_drafts, write_atomically

    names = json.loads((mesh.parent / "mesh.json").read_text(encoding="utf-8")).get("files", [mesh.name])
    renamed = {name: target.stem + name.removeprefix(mesh.stem) for name in names}
    renamed[mesh.name] = target.name
    make_folder(target.parent.absolute())
    remove_lost_drafts(target.parent)
    for name, other in renamed.items():
        data = (mesh.parent / name).read_bytes()
        if name.endswith((".obj", ".mtl")):  # they name their neighbours
            for old, new in renamed.items():
                data = data.replace(f"mtllib {old}\n".encode(), f"mtllib {new}\n".encode())
                data = data.replace(f"map_Kd {old}\n".encode(), f"map_Kd {new}\n".encode())
                data = data.replace(f"norm {old}\n".encode(), f"norm {new}\n".encode())
        place = target.parent / other
        if place.exists() and place.read_bytes() != data:
            aside = _free(place)
            os.rename(place, aside)
            note(f"{place} was there already: it is now {aside.name}")
        write_atomically(place, data)
    return target.absolute()


def _free(path: Path) -> Path:
    """A name beside `path` that nothing has."""
    number = 1
    while (free := path.with_name(f"{path.stem}.previous-{number}{path.suffix}")).exists():
        number += 1
    return free

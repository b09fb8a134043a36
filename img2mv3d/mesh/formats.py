"""The mesh formats, one record each: how a file is meant, what it can hold, who writes and reads it.

Flags, writers, report and the server's API derive from these records; the served page lists their names once more. A
new format is one record here and the module that its `writer` names. Writers and readers are named by import path, so
that this module and help stay light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Format:
    """One format.

    name: as typed, and the ending of its files.
    media_type: for a browser.
    writer: import path of a function of (mesh, stem, facts) that gives the files by name, the main one last.
    unit: mm or m, what one unit in the file is.
    up: Y or Z.
    default_mm: longest side when nobody says a size; None: one world unit is one unit of the file.
    standing: on the ground, above the origin.
    texture: can the file hold one, and a material? colors: at the vertices?
    shared: do faces share their vertices in it?
    reader: import path of a function of a path that gives the parts; None: trimesh reads it.
    wary_reader: the same for files that may come from anybody, where the reader believes too much.
    beside: endings of text files that stand beside it, with their media types.
    needs: the module, package and extra without which it can be neither written nor read; None: none.
    """

    name: str
    media_type: str
    writer: str
    unit: str
    up: str = "Y"
    default_mm: float | None = None
    standing: bool = False
    texture: bool = False
    colors: bool = True
    shared: bool = True
    reader: str | None = None
    wary_reader: str | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, str, str] | None = None


TEXT = "text/plain; charset=utf-8"
_FORMATS = (
    Format("glb", "model/gltf-binary", "img2mv3d.mesh.writers:glb_files", "m", texture=True),
    Format("obj", TEXT, "img2mv3d.mesh.writers:obj_files", "m", texture=True, beside={"mtl": TEXT}),
    Format("ply", "application/octet-stream", "img2mv3d.mesh.writers:ply_files", "m"),
    Format(
        "stl",
        "model/stl",
        "img2mv3d.mesh.writers:stl_files",
        "mm",
        up="Z",
        default_mm=100.0,
        standing=True,
        colors=False,
        shared=False,
    ),
    Format(
        "3mf",
        "model/3mf",
        "img2mv3d.mesh.threemf:threemf_files",
        "mm",
        up="Z",
        default_mm=100.0,
        standing=True,
        reader="img2mv3d.mesh.threemf:read_threemf",
    ),
    Format(
        "usdz",
        "model/vnd.usdz+zip",
        "img2mv3d.mesh.usdz:usdz_files",
        "m",
        default_mm=100.0,
        standing=True,
        texture=True,
        reader="img2mv3d.mesh.usdz:read_usdz",
        wary_reader="img2mv3d.mesh.usdz:read_usdz_apart",
        needs=("pxr", "usd-core", "usd"),
    ),
)
FORMATS: Mapping[str, Format] = {format.name: format for format in _FORMATS}
ONLY_READ = ("gltf", "off")  # by trimesh
READABLE = (*FORMATS, *ONLY_READ)


def listed(names: Iterable[str], last: str = "and") -> str:
    """Names for people.

    >>> listed(("stl", "3mf", "usdz"))
    'stl, 3mf and usdz'
    """
    *first, end = names
    return f"{', '.join(first)} {last} {end}" if first else end


def those(which: Callable[[Format], object]) -> str:
    """The names of the formats for which `which` holds, for people."""
    return listed(name for name, format in FORMATS.items() if which(format))

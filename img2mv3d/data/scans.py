"""Scanned objects from mesh files: SyncDreamer's thirty of Google Scanned Objects, from the user's own copy."""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from img2mv3d.data.corpus import Solid
from img2mv3d.errors import InputError
from img2mv3d.mesh.files import read_mesh

MESHES, PICTURES = (".obj", ".glb"), (".png", ".jpg", ".jpeg")


def _azimuths() -> dict[str, float]:
    lines = Path(__file__).with_name("gso30.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {name: float(azimuth) for name, azimuth in (line.split("\t") for line in lines)}


# By the names that SyncDreamer gave them, the azimuth (degrees) of its first view: the change that it made by hand for
# some, 0 for the others.
GSO30: Mapping[str, float] = _azimuths()


@dataclass(frozen=True, eq=False)
class Scan:
    """One object, and from where it is looked at.

    azimuth_deg: of the front camera, from the mesh's +X, counter-clockwise seen from above. up: "y" or "z".
    digest: of its files. notes: where they lie, for the record.
    """

    id: str
    solid: Solid
    azimuth_deg: float
    up: str
    digest: str
    notes: Mapping[str, Any]


def gso30(folder: Path, count: int | None = None) -> Iterator[Scan]:
    """Those of the first `count` of the thirty that are there, from folder/NAME/, the first .obj or .glb in it, +Z up
    as Google's files are.

    folder/objects.tsv, when there, names other places and turns: columns id, and any of file, azimuth_deg, up (y or z).
    Raises InputError where there is none.
    """
    rows = _places(folder)
    places = {name: _mesh_file(folder, name, rows.get(name, {})) for name in list(GSO30)[:count]}
    if not any(places.values()):
        named = ", ".join(list(places)[:3])
        raise InputError(
            f"{folder}: none of the {len(places)} objects ({named}, ...) is there; expected NAME/**/*.obj, or their"
            " places in objects.tsv"
        )
    for name, path in places.items():
        if path is None:
            continue
        row = rows.get(name, {})
        azimuth, up = float(row.get("azimuth_deg") or GSO30[name]), row.get("up") or "z"
        root = folder / path.relative_to(folder).parts[0]
        root = root if root.is_dir() else folder
        notes = {"file": str(path.relative_to(folder)), "azimuth_deg": azimuth, "up": up}
        yield Scan(name, read_solid(path, root), azimuth, up, _digest(path, root), notes)


def read_solid(path: Path, root: Path) -> Solid:
    """A mesh file in the middle of a ball of radius 1/2, in its own axes.

    Raises InputError.

    root: the object's folder; Google's copies keep the picture in another part of it than the file that names it.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for file in [path, *_belongings(path, root)]:
            if not (place / file.name).exists():
                shutil.copyfile(file, place / file.name)
        try:
            mesh = read_mesh(place / path.name)
        except InputError as error:
            raise InputError(str(error).replace(folder, str(path.parent))) from None
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    centred = mesh.vertices - (low + high) / 2
    vertices = (centred / (2 * np.linalg.norm(centred, axis=1).max())).astype(np.float32)
    faces = mesh.faces.astype(np.int32)
    if mesh.texture is None or mesh.uv is None:
        return Solid(vertices, faces, face_rgb=mesh.colors[mesh.faces].mean(1).astype(np.uint8))
    uv = mesh.uv[mesh.faces].astype(np.float32)
    return Solid(vertices, faces, uv=np.stack([uv[..., 0], 1 - uv[..., 1]], axis=-1), texture=mesh.texture)


def _belongings(path: Path, root: Path) -> list[Path]:
    """Materials and pictures of a mesh, those beside it first."""
    wanted = (".mtl", *PICTURES)
    found = [p for p in sorted(path.parent.iterdir()) if p.suffix.lower() in wanted]
    return found + [p for p in sorted(root.rglob("*")) if p.suffix.lower() in wanted and p not in found]


def _places(folder: Path) -> dict[str, dict[str, str]]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of meshes")
    path = folder / "objects.tsv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row.get("id") or "": row for row in csv.DictReader(file, delimiter="\t")}
    strange = sorted(set(rows) - set(GSO30))
    if strange:
        raise InputError(f"{path}: {strange[0]!r} is none of the thirty; the column id wants their names")
    return rows


def _mesh_file(folder: Path, name: str, row: Mapping[str, str]) -> Path | None:
    if row.get("file"):
        return folder / row["file"] if (folder / row["file"]).is_file() else None
    return next((p for p in sorted((folder / name).rglob("*")) if p.suffix.lower() in MESHES), None)


def _digest(path: Path, root: Path) -> str:
    found = hashlib.sha256()
    for file in [path, *_belongings(path, root)]:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()

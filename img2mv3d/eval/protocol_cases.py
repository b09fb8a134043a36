"""The objects of the frozen protocols, and how they are shown: sides, light, size.

In: a folder of meshes. Out: `Case` values with digests of meshes and of renders. Why here: one module holds all that
must not change between two people who measure; `VERSION` counts the times it did.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.data.scene import Light, Shots, random_pose, shoot
from img2mv3d.errors import InputError
from img2mv3d.eval.exact import untouched
from img2mv3d.files.formats import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.mesh.files import read_mesh
from img2mv3d.values import Views

VERSION = 1
FRAMING_PX = 144  # long side of the front silhouette, px of 256: all six views stay inside of their frames
ELEVATION_DEG = 30.0  # from which a photo of GSO-30 is taken: SyncDreamer's; the six views stand round that camera
LIGHT = Light(ambient=1.0, sky=0.0, key=0.0, fill=0.0, occlusion=0.0)  # even and white: colours of the texture
VAL_COUNT = 60

# SyncDreamer's thirty objects of Google Scanned Objects, by the names that it gave them, and the azimuth (degrees) of
# its first view; the change that it made by hand for some, 0 for the others.
GSO30: Mapping[str, float] = {
    **{"alarm": 270.0, "backpack": 270.0, "bell": 0.0, "blocks": 270.0, "chicken": 270.0, "cream": 0.0},
    **{"elephant": 180.0, "grandfather": 270.0, "grandmother": 270.0, "hat": 0.0, "leather": 0.0, "lion": 270.0},
    **{"lunch_bag": 270.0, "mario": 270.0, "oil": 270.0, "school_bus1": 180.0, "school_bus2": 225.0, "shoe": 225.0},
    **{"shoe1": 0.0, "shoe2": 0.0, "shoe3": 0.0, "soap": 270.0, "sofa": -90.0, "sorter": 112.5, "sorting_board": 0.0},
    **{"stucking_cups": 0.0, "teapot": 0.0, "toaster": 0.0, "train": 225.0, "turtle": 225.0},
}
MESHES, PICTURES = (".obj", ".glb"), (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, eq=False)
class Subject:
    """One object as the protocol shows it. rotation: world from the mesh's own axes. mesh: digest of its files."""

    id: str
    solid: Solid
    rotation: Float[np.ndarray, "3 3"]
    mesh: str
    notes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """An object, rendered. views: exact. z: of the first surface, world units, 0 outside. photo: uint8 RGBA, straight
    alpha, the front view. framing_px: long side of its silhouette. render: digest of the pixels."""

    subject: Subject
    views: Views
    z: Float[np.ndarray, "V H W"]
    photo: UInt8[np.ndarray, "H W 4"]
    framing_px: int
    render: str


def gso30(folder: Path, count: int = len(GSO30)) -> Iterator[Subject]:
    """The first `count` of the thirty, from folder/NAME/, the first .obj or .glb in it, +Z up as Google's files are.

    folder/objects.tsv, when there, names other places and turns: columns id, and any of file, azimuth_deg, up (y or z).
    Raises InputError that names what is missing.
    """
    told = _told(folder)
    places = {name: _mesh_file(folder, name, told.get(name, {})) for name in list(GSO30)[:count]}
    missing = [name for name, path in places.items() if path is None]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of {len(places)} objects are missing ({', '.join(missing[:5])}"
            f"{', ...' if len(missing) > 5 else ''}); expected NAME/**/*.obj, or their places in objects.tsv"
        )
    for name, path in places.items():
        assert path is not None
        row = told.get(name, {})
        azimuth, up = float(row.get("azimuth_deg") or GSO30[name]), row.get("up") or "z"
        root = folder / path.relative_to(folder).parts[0]
        root = root if root.is_dir() else folder
        notes = {"file": str(path.relative_to(folder)), "azimuth_deg": azimuth, "up": up}
        turned = rotation(azimuth, ELEVATION_DEG, up)
        yield Subject(name, read_solid(path, root), turned, _digest_of_files(path, root), notes)


def val(folder: Path, count: int = VAL_COUNT) -> Iterator[Subject]:
    """Held-out objects of our corpus on which nothing was tuned, everyday things first, each in a pose drawn from its
    name: yaw free, pitch -15 to 30 degrees."""
    for entry in untouched(folder, count):
        path = folder / "objects" / f"{entry.id}.npz"
        pose = random_pose(np.random.default_rng(zlib.crc32(entry.id.encode())))
        yield Subject(entry.id, load_solid(path), pose, hashlib.sha256(path.read_bytes()).hexdigest(), {})


PROTOCOLS: Mapping[str, Callable[..., Iterator[Subject]]] = {"gso30": gso30, "val": val}


def rotation(azimuth_deg: float, elevation_deg: float, up: str = "z") -> Float[np.ndarray, "3 3"]:
    """World from a mesh's axes, for a front camera that stands at these angles. azimuth_deg: from the mesh's +X,
    counter-clockwise seen from above. up: "z" or "y". Raises InputError on another."""
    if up not in ("y", "z"):
        raise InputError(f"up {up!r}: expected y or z")
    turn, tilt = np.radians(-90.0 - azimuth_deg), np.radians(elevation_deg)
    cy, sy, cp, sp = np.cos(turn), np.sin(turn), np.cos(tilt), np.sin(tilt)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])  # +Y towards +Z: the top turns to the front camera
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) if up == "z" else np.eye(3)
    return about_x @ about_y @ upright


def case_of(subject: Subject, framing_px: int = FRAMING_PX) -> Case:
    """The six true views and the photo. What is digested are the bytes of the six pictures with alpha and normals.
    framing_px: another size, for the photo of a program that wants one."""
    shots = shoot(subject.solid, subject.rotation, framing_px, LIGHT, np.random.default_rng(0))
    color, mask, coded = to_bytes(shots.color), to_bytes(shots.mask), encode_normals(shots.normal, shots.mask)
    render = hashlib.sha256(b"".join(a.tobytes() for a in (color, mask, coded))).hexdigest()
    soft = mask.astype(np.float32) / 255
    views = Views(color.astype(np.float32) / 255, decode_normals(coded, soft), soft, SIX_VIEWS, "exact")
    z = np.where(soft >= 0.5, shots.z, 0).astype(np.float32)
    return Case(subject, views, z, photo_of(shots), shots.framing_px, render)


def photo_of(shots: Shots) -> UInt8[np.ndarray, "H W 4"]:
    """The front view cut out, straight alpha."""
    alpha = shots.mask[FRONT][..., None]
    bare = ((shots.color[FRONT] - (1 - alpha)) / np.maximum(alpha, 1 / 8)).clip(0, 1)
    return to_bytes(np.concatenate([bare, alpha], axis=-1))


def settings(which: str) -> dict[str, Any]:
    """All that decides what is rendered, in plain numbers."""
    pose = {"elevation_deg": ELEVATION_DEG} if which == "gso30" else {"pose": "drawn from the name"}
    return {"rig": SIX_VIEWS.to_dict(), "framing_px": FRAMING_PX, "size_px": IMAGE_SIZE, "light": asdict(LIGHT), **pose}


def read_solid(path: Path, root: Path) -> Solid:
    """A mesh file in the middle of a ball of radius 1/2, in its own axes. root: the object's folder; Google's copies
    keep the picture in another part of it than the file that names it. Raises InputError."""
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


def _told(folder: Path) -> dict[str, dict[str, str]]:
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


def _digest_of_files(path: Path, root: Path) -> str:
    found = hashlib.sha256()
    for file in [path, *_belongings(path, root)]:
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()

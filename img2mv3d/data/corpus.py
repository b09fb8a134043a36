"""Coloured meshes on disk, and the manifest that says what weights may learn from."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from img2mv3d.data.held_out import HELD_OUT
from img2mv3d.errors import InputError

# What trained weights may be published from under CC-BY-SA: the GPL asks for more than a list of names.
TRAINABLE_LICENCES = frozenset(
    {
        "CC0-1.0",
        "CC-BY-3.0",
        "CC-BY-3.0-US",
        "CC-BY-4.0",
        "CC-BY-SA-3.0",
        "CC-BY-SA-4.0",
        "WTFPL",
        "MIT-0",
        "Apache-2.0",
    }
)
EVERYDAY = frozenset({"sh3d", "homedecor"})  # sources with the things that people photograph
MAX_FACES = 2_000_000  # larger files are refused before anything is built from them

# Half of the corpus is ancient soldiers, their gear and their houses; a photo rarely shows one.
CATEGORY_WEIGHTS = {
    ("0ad", "character"): 0.3,
    ("0ad", "armour-weapon-tool"): 0.3,
    ("0ad", "building-or-ship"): 0.3,
    ("0ad", "building-part"): 0.3,
    ("0ad", "plant"): 0.3,
    ("0ad", "rock"): 0.5,
    ("megaglest", "strategy-unit-or-building"): 0.4,
    ("megaglest", "plant"): 0.3,
    ("megaglest", "outdoor-prop"): 0.6,
}


@dataclass(frozen=True)
class Entry:
    """One object of the list. weight: how often it is drawn in training, relative to 1; 0 is never."""

    id: str
    source: str
    licence: str
    category: str
    split: str
    cutout: bool
    faces: int
    vertices: int
    weight: float
    author: str = ""

    @property
    def everyday(self) -> bool:
        """Whether the object is a thing that people photograph."""
        return self.source in EVERYDAY


@dataclass(frozen=True, eq=False)
class Solid:
    """A coloured triangle mesh; surfaces may be open and wound either way.

    vertices: float32 [N, 3], +Y up, front +Z, in a sphere of radius 1/2. faces: int32 [F, 3]. Either `uv` float32
    [F, 3, 2] (per corner, 0..1, v downwards) with `texture` uint8 [H, W, 3 or 4] (sRGB; alpha < 128 is a hole), or
    `face_rgb` uint8 [F, 3].
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    texture: np.ndarray | None = None
    face_rgb: np.ndarray | None = None


def load_solid(path: Path) -> Solid:
    """Read one object. Raises InputError when the file is not of the form that `Solid` describes."""
    try:
        with np.load(path, allow_pickle=False) as record:
            arrays = {name: record[name] for name in record.files}
        vertices = np.asarray(arrays["vertices"], np.float32)
        faces = np.asarray(arrays["faces"], np.int32)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: no mesh of the corpus ({error}); expected an npz with vertices and faces") from None
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError(f"{path}: vertices {vertices.shape}, faces {faces.shape}, expected [N, 3] and [F, 3]")
    if not 0 < len(faces) <= MAX_FACES or faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(f"{path}: no faces, too many, or faces that name vertices which are not there")
    if not np.isfinite(vertices).all():
        raise InputError(f"{path}: vertices with NaN or infinite coordinates")
    if "texture" in arrays and "uv" in arrays:
        uv, texture = np.asarray(arrays["uv"], np.float32), np.asarray(arrays["texture"], np.uint8)
        if uv.shape != (len(faces), 3, 2) or texture.ndim != 3 or texture.shape[2] not in (3, 4):
            raise InputError(f"{path}: uv {uv.shape}, texture {texture.shape}, expected [F, 3, 2] and [H, W, 3 or 4]")
        return Solid(vertices, faces, uv=uv, texture=texture)
    rgb = np.asarray(arrays.get("face_rgb", np.full((len(faces), 3), 180)), np.uint8)
    if rgb.shape != (len(faces), 3):
        raise InputError(f"{path}: face_rgb {rgb.shape}, expected [F, 3]")
    return Solid(vertices, faces, face_rgb=rgb)


def read_manifest(path: Path) -> list[Entry]:
    """All lines of manifest.tsv in their order, with weights. Of our corpus, or a part of it, `HELD_OUT` says who is
    held out, not the file. Raises InputError when it cannot be read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            entries = [_entry(row) for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a manifest of meshes ({error!r})") from None
    if any(e.id in HELD_OUT for e in entries):
        entries = [replace(e, split="val" if e.id in HELD_OUT else "train") for e in entries]
    return entries


def without_twins(entries: list[Entry]) -> list[Entry]:
    """The `val` entries that no `train` entry equals in source, face and vertex count: those that tables may use."""
    seen = {(e.source, e.faces, e.vertices) for e in entries if e.split == "train"}
    return [e for e in entries if e.split == "val" and (e.source, e.faces, e.vertices) not in seen]


def _entry(row: dict[str, str]) -> Entry:
    source = row["id"].split("-", 1)[0]
    cutout = row["cutout"] == "1"
    entry = Entry(
        id=row["id"],
        source=source,
        licence=row["licence"],
        category=row["category"],
        split=row["split"],
        cutout=cutout,
        faces=int(row["faces"]),
        vertices=int(row["vertices"]),
        weight=_weight(source, row["category"], row["colour"], row["licence"], cutout),
        author=row.get("author") or "",
    )
    if "/" in entry.id or entry.split not in ("train", "val"):
        raise ValueError(f"id {entry.id!r}, split {entry.split!r}")
    return entry


def _weight(source: str, category: str, colour: str, licence: str, cutout: bool) -> float:
    """0 for what weights must not learn from (licence) or what six views cannot reconstruct (leaves as cut-outs)."""
    if licence not in TRAINABLE_LICENCES or cutout:
        return 0.0
    base = 3.0 if source in EVERYDAY else CATEGORY_WEIGHTS.get((source, category), 1.0)
    return base * (0.5 if colour == "single" else 1.0)

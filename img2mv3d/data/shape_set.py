"""Folders of meshes -> shards of pictures to learn shape from, and the way to read them, also while they are made.

In: corpora (`manifest.tsv`, `objects/`). Out: `DATA/solids/<id>.npz`, `DATA/<split>/<number>.npy`, arrays of PICTURE.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from img2mv3d.conventions import IMAGE_SIZE, WORLD_WIDTH
from img2mv3d.data.corpus import Entry, Solid, load_solid, read_manifest
from img2mv3d.data.mirrors import mirror_shares
from img2mv3d.data.scene import EVEN_LIGHT, random_light
from img2mv3d.data.shape_pictures import PICTURE, picture, random_picture
from img2mv3d.data.solids import carve
from img2mv3d.data.splits import ids, learners
from img2mv3d.data.turned import turned_part
from img2mv3d.data.variation import JOIN_SHARE, Deformation, Part, beside, random_deformation
from img2mv3d.errors import InputError, NothingFoundError
from img2mv3d.files.contents import read_npz, write_npz

SHARD = 64  # pictures
USED_LONG_SIDE = 144 * WORLD_WIDTH / IMAGE_SIZE  # of the outline, as `prepare` frames it
# Yaw and pitch (degrees) of held-out objects.
POSES = ((0.0, 0.0), (30.0, 0.0), (60.0, 20.0), (120.0, 20.0), (200.0, 40.0))
TRIES = 20
TURNED_SHARE = 0.1  # pictures of bodies turned on a lathe


class Objects:
    """The meshes of one or more corpora, each with its carved solid, which is made at first use and kept."""

    def __init__(self, corpora: list[Path], solids: Path) -> None:
        self._solids = solids
        self.entries: list[Entry] = []
        self._paths: dict[str, Path] = {}
        for corpus in corpora:
            for entry in read_manifest(corpus / "manifest.tsv"):
                path = corpus / "objects" / f"{entry.id}.npz"
                if path.exists() and entry.id not in self._paths:
                    self.entries.append(entry)
                    self._paths[entry.id] = path
        self.load = lru_cache(maxsize=512)(self._load)

    def part(self, name: str, deformation: Deformation | None = None) -> Part:
        """An object with its solid. Raises InputError when its file is not readable."""
        mesh, solid, mirror = self.load(name)
        return Part(mesh, solid, deformation or Deformation(), mirror)

    def _load(self, name: str) -> tuple[Solid, Bool[np.ndarray, "G G G"], Float32[np.ndarray, " T"]]:
        mesh = load_solid(self._paths[name])
        path = self._solids / f"{name}.npz"
        if not path.exists():
            self._solids.mkdir(parents=True, exist_ok=True)
            solid = carve(mesh.vertices, mesh.faces)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            shares = mirror_shares(mesh.vertices, mesh.faces)
            write_npz(temporary, bits=np.packbits(solid), grid=np.array(solid.shape[0]), mirror=shares)
            temporary.replace(path)
        record = read_npz(path, InputError, required=("bits", "grid"))
        grid = record["grid"].item()
        solid = np.unpackbits(record["bits"], count=grid**3).reshape(grid, grid, grid).astype(bool)
        mirror = record["mirror"] if "mirror" in record else mirror_shares(mesh.vertices, mesh.faces)
        return mesh, solid, mirror


def draw(objects: Objects, entries: list[Entry], rng: np.random.Generator) -> np.void:
    """One random picture of a random object of the list, drawn by weight; a few are two objects joined, a few are
    turned bodies of no corpus."""
    weights = np.array([e.weight for e in entries])
    for _ in range(TRIES):
        if rng.random() < TURNED_SHARE:
            return random_picture("turned", [turned_part(rng)], rng)
        chosen = entries[rng.choice(len(entries), p=weights / weights.sum())]
        try:
            parts = [objects.part(chosen.id, random_deformation(rng))]
            if rng.random() < JOIN_SHARE:
                other = entries[rng.choice(len(entries), p=weights / weights.sum())]
                parts.append(beside(parts[0], objects.part(other.id, random_deformation(rng)), rng))
            return random_picture(chosen.id, parts, rng)
        except (InputError, NothingFoundError):
            continue
    raise NothingFoundError(f"no picture came of {TRIES} objects")


def make_shards(
    objects: Objects,
    entries: list[Entry],
    folder: Path,
    numbers: range,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the shards of these numbers; what is there already is kept, so that several processes may share the work
    and an interrupted one goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / f"{number:05d}.npy"
        if path.exists():
            continue
        rng = np.random.default_rng([seed, number])
        _write(path, np.array([draw(objects, entries, rng) for _ in range(SHARD)], PICTURE))
        if progress:
            progress(number)


def make_held_out(objects: Objects, names: list[str], path: Path) -> None:
    """Pictures of held-out objects in fixed poses, orthographic, undeformed, each shaded by a lamp and evenly lit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = []
    for name in names:
        for yaw, pitch in POSES:
            for light in (random_light(np.random.default_rng(len(records))), EVEN_LIGHT):
                try:
                    pose = (yaw, pitch, 0.0)
                    records.append(picture(name, [objects.part(name)], pose, USED_LONG_SIDE, np.inf, light, None))
                except NothingFoundError:
                    continue  # seen end-on
    _write(path, np.array(records, PICTURE))


def make_set(
    corpora: list[Path],
    out: Path,
    pictures: int,
    *,
    jobs: int = 1,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> None:
    """Everything that `train shape` reads, in the folder `out`: shards of random pictures of the objects that may be
    learnt from, and pictures of dev objects (of a corpus without ours: of its first held-out ones).

    jobs: processes that share the shards.

    Raises InputError where the corpora hold nothing to learn from.
    """
    objects = Objects(corpora, out / "solids")
    entries = learners(objects.entries)
    if not entries:
        raise InputError(f"{corpora[0]}: no object in there may be learnt from (licence, split; see manifest.tsv)")
    there = [e.id for e in objects.entries if e.id in ids("dev")]
    held_out = there or [e.id for e in objects.entries if e.split == "val"][: len(ids("dev"))]
    if held_out and not (out / "dev" / "00000.npy").exists():
        make_held_out(objects, held_out, out / "dev" / "00000.npy")
    shards = -(-pictures // SHARD)
    report(f"{len(entries)} objects to learn from, {len(held_out)} held out, {shards} shards of {SHARD} pictures")
    work = [(corpora, out, range(first, shards, jobs), seed) for first in range(jobs)]
    if jobs == 1:
        make_shards(objects, entries, out / "train", range(shards), seed, lambda n: report(f"shard {n} of {shards}"))
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for done, _ in enumerate(pool.map(_share, work), 1):
            report(f"{done} of {jobs} processes done")


def _share(work: tuple[list[Path], Path, range, int]) -> None:
    corpora, out, numbers, seed = work
    objects = Objects(corpora, out / "solids")
    make_shards(objects, learners(objects.entries), out / "train", numbers, seed)


class ShapeSet:
    """The pictures of one split; reading `count` again shows what was added since."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._paths: list[Path] = []

    def refresh(self) -> int:
        """Look for new shards; returns how many there are."""
        self._paths = sorted(self.folder.glob("*.npy"))
        return len(self._paths)

    def draw(self, rng: np.random.Generator, count: int) -> Iterator[np.void]:
        """Random pictures, of random shards. Raises InputError at one that another version made."""
        for _ in range(count):
            shard = _mapped(self._paths[int(rng.integers(len(self._paths)))])
            yield shard[int(rng.integers(len(shard)))]


@lru_cache(maxsize=4096)
def _mapped(path: Path) -> np.ndarray:
    shard = np.load(path, mmap_mode="r")
    if shard.dtype != PICTURE:
        raise InputError(f"{path}: made by another version of img2mv3d; delete the folder and run `data shapes` again")
    return shard


def _write(path: Path, records: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        np.save(file, records)
    temporary.replace(path)

"""A corpus -> rendered sets on disk, and the way to read them, also while they are being made."""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from img2mv3d.conventions import FRONT
from img2mv3d.data.augment import photograph
from img2mv3d.data.corpus import Entry, Solid, load_solid, read_manifest, without_twins
from img2mv3d.data.scene import place, random_framing, random_light, random_pose
from img2mv3d.data.scene import render as render_scene
from img2mv3d.data.splits import ids
from img2mv3d.errors import InputError, NothingFoundError
from img2mv3d.files.contents import encode_normals, read_npz, to_bytes, write_npz

INDEX_COLUMNS = ("id", "pose", "split", "source", "licence", "weight")
SET_KEYS = ("color", "mask", "normal", "z", "photo", "framing_px")
LATENT_KEYS = ("color", "normal", "photo")
LEAST_PIXELS = 300  # of the front silhouette; smaller is no picture of anything


@dataclass(frozen=True, eq=False)
class Sample:
    """One pose of one object. color uint8 [6, 256, 256, 3] over white; mask uint8 [6, 256, 256]; normal uint8 [6, 256,
    256, 3] (coded, over white); z float16 [6, 256, 256], world units, 0 where mask is 0; photo uint8 [256, 256, 4],
    the front view as a photo, straight alpha;

    framing_px: long side of its silhouette.
    """

    color: np.ndarray
    mask: np.ndarray
    normal: np.ndarray
    z: np.ndarray
    photo: np.ndarray
    framing_px: int


class RenderSet:
    """A folder of renders; names are `<id>.<pose>`. Reading the index again (`names`) shows what was added since."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def rows(self) -> list[dict[str, str]]:
        """The index, one dict per set with INDEX_COLUMNS. Raises InputError when there is none."""
        path = self.folder / "index.tsv"
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; `img2mv3d data render` makes one") from None
        whole = [line for line in lines if line.endswith("\n")]  # the last line may still be on its way
        return list(csv.DictReader(whole, delimiter="\t", quoting=csv.QUOTE_NONE))

    def names(self, split: str | None = None) -> list[str]:
        """Names in the order in which they were rendered; split "train", "val" or None for both."""
        return [f"{row['id']}.{row['pose']}" for row in self.rows() if split in (None, row["split"])]

    def weights(self, split: str | None = None) -> dict[str, float]:
        """Training weight of every name."""
        return {f"{r['id']}.{r['pose']}": float(r["weight"]) for r in self.rows() if split in (None, r["split"])}

    def set_path(self, name: str) -> Path:
        """Where the set lies."""
        return self.folder / "sets" / f"{name}.npz"

    def latents_path(self, name: str) -> Path:
        """Where its latents lie, or will."""
        return self.folder / "latents" / f"{name}.npz"

    def load(self, name: str) -> Sample:
        """Read one set. Raises InputError when it is missing or damaged."""
        arrays = read_npz(self.set_path(name), InputError, required=SET_KEYS)
        return Sample(*(arrays[k] for k in SET_KEYS[:-1]), arrays["framing_px"].item())

    def latents(self, name: str) -> dict[str, np.ndarray] | None:
        """Scaled latents float32 `color`, `normal` [6, 4, 32, 32] and `photo` [4, 32, 32]; None when there are none."""
        path = self.latents_path(name)
        if not path.exists():
            return None
        arrays = read_npz(path, InputError, required=LATENT_KEYS)
        return {key: arrays[key].astype(np.float32) for key in LATENT_KEYS}

    def latents_source(self, name: str) -> str | None:
        """Where its latents come from: "teacher" or "mini"; None when there are none."""
        path = self.latents_path(name)
        return read_npz(path, InputError, required=("source",))["source"].item() if path.exists() else None

    def write_latents(self, name: str, source: str, **latents: np.ndarray) -> None:
        """Store float16 `color`, `normal`, `photo`;

        source: "teacher" or "mini".
        """
        arrays = {key: np.asarray(latents[key], np.float16) for key in LATENT_KEYS}
        write_atomically(self.latents_path(name), **arrays, source=np.array(source))


def render_corpus(
    meshes: Path,
    out: Path,
    *,
    poses: int = 2,
    seed: int = 0,
    limit: int | None = None,
    wanted: Callable[[Entry], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Render what the corpus allows to learn from (weight above 0), and of its held-out objects those without twins
    among the others; sets that exist are kept, so it can be resumed.

    Returns the names of objects that could not be rendered, each with its reason.

    meshes: folder with manifest.tsv and objects/; objects that are not there are passed over.
    poses: of everyday objects; others get half as many.
    limit: at most that many sets in all.
    wanted: keep only some entries.
    """
    work = planned_sets(meshes, poses=poses, seed=seed, limit=limit, wanted=wanted)
    (out / "sets").mkdir(parents=True, exist_ok=True)
    index = _Index(out / "index.tsv")
    failed = []
    for done, (entry, pose) in enumerate(work):
        name = f"{entry.id}.{pose}"
        try:
            render_set(meshes, out, name, seed)
            index.add(entry, pose)
        except (InputError, NothingFoundError) as error:
            failed.append(f"{name}: {error}")
        if progress:
            progress(done + 1, len(work))
    return failed


def planned_sets(
    meshes: Path,
    *,
    poses: int = 2,
    seed: int = 0,
    limit: int | None = None,
    wanted: Callable[[Entry], bool] | None = None,
) -> list[tuple[Entry, int]]:
    """(entry, pose) of every set that `render_corpus` renders, in its order.

    What `data.splits` keeps from every network is no training object, whatever the list says, and not held out either:
    `dev` and `test` have their own tables.
    """
    listed = read_manifest(meshes / "manifest.tsv")
    unseen = ids("unseen")
    learnt = {e.id for e in listed if e.split == "train" and e.id not in unseen}
    fit = learnt | {e.id for e in without_twins(listed)}  # a twin of any listed training object tells nothing new
    entries = [e for e in listed if e.id in fit and e.weight > 0 and (wanted is None or wanted(e))]
    entries = [e for e in entries if (meshes / "objects" / f"{e.id}.npz").exists()]
    return list(schedule(entries, poses, seed))[:limit]


def render_set(meshes: Path, out: Path, name: str, seed: int) -> None:
    """Render the set `<id>.<pose>` unless it exists. Raises InputError, NothingFoundError."""
    path = out / "sets" / f"{name}.npz"
    if path.exists():
        return
    solid = load_solid(meshes / "objects" / f"{name.rpartition('.')[0]}.npz")
    sample = render(solid, _numbers(name, seed))
    arrays = {key: getattr(sample, key) for key in SET_KEYS[:-1]}
    write_atomically(path, **arrays, framing_px=np.array(sample.framing_px, np.int32))


def render(solid: Solid, rng: np.random.Generator) -> Sample:
    """One random pose, framing and light of one object. Raises NothingFoundError when hardly anything is to be seen."""
    renders = render_scene(solid, random_pose(rng), random_framing(rng), random_light(rng), rng)
    if (renders.mask[FRONT] > 0.5).sum() < LEAST_PIXELS:
        raise NothingFoundError(f"less than {LEAST_PIXELS} px are covered in the front view")
    return Sample(
        to_bytes(renders.color),
        to_bytes(renders.mask),
        encode_normals(renders.normal, renders.mask),
        renders.z.astype(np.float16),
        photograph(renders.color[FRONT], renders.mask[FRONT], rng),
        renders.framing_px,
    )


def world_vertices(solid: Solid, name: str, seed: int = 0) -> Float32[np.ndarray, "N 3"]:
    """The object's vertices in the world as they stood when `render_corpus` rendered the set of this name."""
    rng = _numbers(name, seed)
    pose = random_pose(rng)
    return place(solid.vertices, pose, random_framing(rng))[0]


def schedule(entries: list[Entry], poses: int, seed: int) -> Iterator[tuple[Entry, int]]:
    """(entry, pose) in the order of usefulness: each pose of validation and everyday objects, mixed, then of the rest;
    validation objects and the rest get half as many poses.
    """
    order = np.random.default_rng(seed).permutation(len(entries))
    shuffled = [entries[i] for i in order]
    val = [e for e in shuffled if e.split == "val"]
    everyday = [e for e in shuffled if e.split == "train" and e.everyday]
    rest = [e for e in shuffled if e.split == "train" and not e.everyday]
    for pose in range(poses):
        halved = pose < (poses + 1) // 2
        queue = iter(val if halved else [])
        for i, entry in enumerate(everyday):
            yield entry, pose
            if i % 4 == 0 and (held_out := next(queue, None)) is not None:
                yield held_out, pose
        yield from ((entry, pose) for entry in queue)
        yield from ((entry, pose) for entry in (rest if halved else []))


def write_atomically(path: Path, **arrays: np.ndarray) -> None:
    """An npz that is either whole or not there; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write_npz(partial, **arrays)
    partial.replace(path)


def _numbers(name: str, seed: int) -> np.random.Generator:
    """A set's own random numbers."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


class _Index:
    """index.tsv, a line at a time; knows which lines are there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.write_text("\t".join(INDEX_COLUMNS) + "\n", encoding="utf-8")
        self._there = {tuple(line.split("\t")[:2]) for line in path.read_text(encoding="utf-8").splitlines()}

    def add(self, entry: Entry, pose: int) -> None:
        if (entry.id, str(pose)) in self._there:
            return
        row = (entry.id, str(pose), entry.split, entry.source, entry.licence, f"{entry.weight:g}")
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\t".join(row) + "\n")
        self._there.add((entry.id, str(pose)))

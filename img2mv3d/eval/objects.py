"""Objects of the corpus that tables may use: held out of every training, without twins, not tuned on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from img2mv3d.conventions import FRONT
from img2mv3d.data.augment import photograph
from img2mv3d.data.corpus import Entry, Solid, load_solid, read_manifest, without_twins
from img2mv3d.data.held_out import TUNED
from img2mv3d.data.scene import place, random_light, random_pose, render
from img2mv3d.eval.comparison import Case, Planned
from img2mv3d.files.formats import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Views

VERSION = 1  # of what `photographed` shows


def held_out(folder: Path, count: int, seed: int = 0) -> list[Entry]:
    """Held-out objects without cut-outs and without twins in the training set, two thirds of them everyday things."""
    entries = [e for e in without_twins(read_manifest(folder / "manifest.tsv")) if not e.cutout]
    entries = [e for e in entries if (folder / "objects" / f"{e.id}.npz").exists()]
    order = np.random.default_rng(seed).permutation(len(entries))
    everyday = [entries[i] for i in order if entries[i].everyday]
    rest = [entries[i] for i in order if not entries[i].everyday]
    first = everyday[: count - min(len(rest), count // 3)]
    return first + rest[: count - len(first)]


def untouched(folder: Path, count: int) -> list[Entry]:
    """Held-out objects on which nothing was tuned: all everyday things first, then the others; at most `count`."""
    everything = held_out(folder, 1_000_000)
    return [e for e in everything if e.id not in TUNED][:count]


def planned(folder: Path, count: int, framing_px: int) -> Iterator[Planned]:
    """Untouched objects, each in a pose and light drawn at random and photographed as users do."""
    for entry in untouched(folder, count):
        path = folder / "objects" / f"{entry.id}.npz"
        digest = f"photographed {VERSION} {framing_px} {path.stat().st_size}"
        yield Planned(
            entry.id, "photo", digest, lambda path=path: photographed(path.stem, load_solid(path), framing_px)
        )


def photographed(name: str, solid: Solid, framing_px: int, seed: int = 0) -> Case:
    """One random pose and light of an object; the photo has a camera's and a cut-out's faults."""
    rng = np.random.default_rng(seed)
    pose, light = random_pose(rng), random_light(rng)
    renders = render(solid, pose, framing_px, light, rng)
    mask = to_bytes(renders.mask).astype(np.float32) / 255
    normal = decode_normals(encode_normals(renders.normal, renders.mask), mask)
    placed, _ = place(solid.vertices, pose, framing_px)
    photo = photograph(renders.color[FRONT], renders.mask[FRONT], rng)
    z = np.where(mask >= 0.5, renders.z, 0).astype(np.float32)
    return Case(name, "photo", photo, Views(renders.color, normal, mask, SIX_VIEWS), z, (placed, solid.faces))

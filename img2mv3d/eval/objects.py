"""Objects of the corpus that tables may use: held out of every training, without twins, not tuned on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from img2mv3d.conventions import FRONT
from img2mv3d.data.augment import photograph
from img2mv3d.data.corpus import Entry, Solid, load_solid, read_manifest, without_twins
from img2mv3d.data.held_out import TUNED
from img2mv3d.data.scene import Renders, place, random_light, random_pose, render
from img2mv3d.eval.comparison import Case, Planned
from img2mv3d.files.contents import decode_normals, encode_normals, to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.compositing import from_white
from img2mv3d.values import Views

VERSION = 1  # of what `photographed` shows


def held_out(folder: Path, seed: int = 0) -> list[Entry]:
    """Held-out objects without cut-outs and without twins in the training set: everyday things first, then the rest,
    each in an order drawn by the seed."""
    entries = [e for e in without_twins(read_manifest(folder / "manifest.tsv")) if not e.cutout]
    entries = [e for e in entries if (folder / "objects" / f"{e.id}.npz").exists()]
    order = np.random.default_rng(seed).permutation(len(entries))
    return sorted((entries[i] for i in order), key=lambda entry: not entry.everyday)


def untouched(folder: Path, count: int) -> list[Entry]:
    """Held-out objects on which nothing was tuned: all everyday things first, then the others; at most `count`."""
    return [e for e in held_out(folder) if e.id not in TUNED][:count]


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
    truth = views_of(renders.color, to_bytes(renders.mask), encode_normals(renders.normal, renders.mask))
    placed, _ = place(solid.vertices, pose, framing_px)
    photo = photograph(renders.color[FRONT], renders.mask[FRONT], rng)
    return Case(name, "photo", photo, truth, first_surface(renders, truth), (placed, solid.faces))


def views_of(
    color: Float[np.ndarray, "V H W 3"], mask: UInt8[np.ndarray, "V H W"], normal: UInt8[np.ndarray, "V H W 3"]
) -> Views:
    """The true views of a set, with masks and normals as files hold them.

    color: over white, [0, 1].
    normal: coded, as in `data.renders.Sample`.
    """
    soft = mask.astype(np.float32) / 255
    return Views(color, decode_normals(normal, soft), soft, SIX_VIEWS)


def first_surface(renders: Renders, truth: Views) -> Float[np.ndarray, "V H W"]:
    """z of what was rendered, world units, 0 outside of the true masks."""
    return np.where(truth.mask >= 0.5, renders.z, 0).astype(np.float32)


def front_photo(color: Float[np.ndarray, "V H W 3"], mask: Float[np.ndarray, "V H W"]) -> UInt8[np.ndarray, "H W 4"]:
    """The front view cut out, straight alpha, without any of a photo's faults.

    color: over white.
    """
    alpha = mask[FRONT][..., None]
    return to_bytes(np.concatenate([from_white(color[FRONT], alpha), alpha], axis=-1))

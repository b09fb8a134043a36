"""A run's folder -> everything that a report shows, as far as it is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from img2mv3d.errors import Img2mv3dError, InputError, PhotoError
from img2mv3d.files.contents import read_json, read_png
from img2mv3d.files.forms import ANY, NUMBER, fits
from img2mv3d.flow.run_folder import FORM
from img2mv3d.geometry.agreement import Agreement, agreement
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.values import Subject, Views, load_depth, load_views

if TYPE_CHECKING:
    from img2mv3d.mesh.arrays import MeshArrays

PHOTO_SIDE = 900  # px: what a report keeps of the photo
BEST_FIRST = sorted(FORMATS.values(), key=lambda f: (not f.texture, not f.colors))  # of meshes, to look at
NOTES = {  # of mesh.json, what is shown
    "silhouette_iou?": {"views": {ANY: NUMBER}, "min": NUMBER, "mean": NUMBER},
    "seen?": {"photo": NUMBER, "views": NUMBER, "none": NUMBER},
    "likeness?": {"front_covered": NUMBER, "front_db": NUMBER, "seam_usual": NUMBER, "seam_jump": NUMBER},
    **{"watertight?": bool, "pieces?": int},
}
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Story:
    """What a run's folder holds; None where it does not.

    record: run.json.
    photo: uint8 [H, W, 3], reduced.
    subject: uint8 [H, W, 4], straight alpha.
    plain, views: six decoded views.
    depth: (z, hit), float32 [V, H, W]. mesh, and mesh_name of its file;
    notes: mesh.json.
    agree: of plain and of views with the depth.
    missing: one sentence for each thing that is not there or cannot be read.
    """

    folder: Path
    record: dict[str, Any]
    photo: np.ndarray | None
    subject: np.ndarray | None
    plain: Views | None
    views: Views | None
    depth: tuple[np.ndarray, np.ndarray] | None
    mesh: MeshArrays | None
    mesh_name: str
    notes: dict[str, Any]
    agree: dict[str, Agreement]
    missing: tuple[str, ...]


def gather(folder: Path, photo: Path | None = None) -> Story:
    """Read the run in `folder`.

    Raises InputError when nothing of a run is in there.

    photo: the file it began with; None looks for one of that name and content beside the folder.
    """
    missing: list[str] = []

    def attempt(read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Img2mv3dError as error:
            missing.append(" ".join(str(error).split()))
            return None

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of a run")
    if not any((folder / name).exists() for name in ("run.json", "subject.png", "views", "plain", "mesh.glb")):
        raise InputError(f"{folder}: no run in there (run.json); make one with `img2mv3d run PHOTO -o {folder}`")
    record = attempt(lambda: read_json(folder / "run.json", InputError)) or {}
    notes = attempt(lambda: read_json(folder / "mesh.json", InputError)) or {}
    for name, held, form in (("run.json", record, FORM), ("mesh.json", notes, NOTES)):
        if not fits(held, form):
            missing.append(f"{folder / name}: not as a run leaves it")
            held.clear()
    photo = photo or find_photo(folder, record.get("source") or {})
    picture = None if photo is None else attempt(lambda: _reduced(photo))
    subject = attempt(lambda: read_png(folder / "subject.png", "RGBA", PhotoError))
    plain, views = (attempt(lambda name=name: load_views(folder / name)) for name in ("plain", "views"))
    depth = None
    if plain is not None:
        depth = attempt(lambda: load_depth(folder / "depth.npz", plain.mask.shape)[:2])
    agree = {}
    for name, found in (("plain", plain), ("views", views)):
        if depth is not None and found is not None and found.mask.shape == depth[0].shape:
            agree[name] = agreement(found.color, found.mask, *depth, found.rig)
    mesh, mesh_name = attempt(lambda: mesh_of(folder)) or (None, "")
    return Story(folder, record, picture, subject, plain, views, depth, mesh, mesh_name, notes, agree, tuple(missing))


def find_photo(folder: Path, source: dict[str, Any]) -> Path | None:
    """The photo that run.json's `source` speaks of: a file of that name here, in the folder or beside it, with the same
    content. None when there is none, or when the run did not begin with a photo.
    """
    name = str(source.get("name") or "")
    if source.get("kind") != "photo" or not name or Path(name).name != name:
        return None
    for place in (Path(), folder, folder.absolute().parent):
        path = place / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == source.get("digest"):
            return path
    return None


def mesh_of(place: Path) -> tuple[MeshArrays, str]:
    """The mesh of a run's folder, or of a mesh file, turned to +Y up (in its own unit), and its file's name. Raises
    InputError when there is none or it cannot be read.
    """
    names = [place / f"mesh.{f.name}" for f in BEST_FIRST] if place.is_dir() else [place]
    path = next((p for p in names if p.exists()), None)
    if path is None:  # before the readers are loaded
        raise InputError(f"{place}: no mesh in there; `img2mv3d export {place}` makes one")
    from img2mv3d.mesh.files import read_mesh

    mesh = read_mesh(path)
    known = FORMATS.get(path.suffix.lower().lstrip("."))
    if known is not None and known.up == "Z":  # formats of printers stand on the plate
        turned = mesh.vertices[:, [0, 2, 1]] * np.array([1.0, 1.0, -1.0])
        mesh = replace(mesh, vertices=turned)
    return mesh, path.name


def cutout_of(place: Path) -> np.ndarray:
    """The photo's cut-out at its own resolution, uint8 [H, W, 4] with straight alpha, of a run's folder or of the run
    that a mesh file lies in. Raises InputError when there is no run, or its cut-out cannot be read or shows nothing.
    """
    folder = place if place.is_dir() else place.parent
    if not (folder / "subject.png").is_file():
        raise InputError(
            f"{place}: no photo's cut-out there (subject.png); name the folder of a run that began with a photo, or"
            " omit --side-by-side"
        )
    full = Subject.load(folder).full
    if not (full[..., 3] > 127).any():
        raise InputError(f"{folder / 'subject_full.png'}: shows nothing; run prepare again")
    return full


def _reduced(path: Path) -> np.ndarray:
    """The photo, upright, at most PHOTO_SIDE px a side, over white: uint8 [H, W, 3]."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (PHOTO_SIDE, PHOTO_SIDE))
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError) as reason:
        raise PhotoError(f"{path}: cannot be read ({' '.join(str(reason).split())[:80]})") from None
    picture.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    ground = Image.new("RGBA", picture.size, "white")
    ground.alpha_composite(picture)
    return np.asarray(ground.convert("RGB"))

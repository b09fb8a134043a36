"""The frozen protocols: which objects are shown from which sides, with digests of meshes and of renders."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from img2mv3d.conventions import IMAGE_SIZE
from img2mv3d.data import scans
from img2mv3d.data.corpus import Solid, load_solid
from img2mv3d.data.scene import EVEN_LIGHT, place, random_pose, render
from img2mv3d.data.shape_pictures import turned_by
from img2mv3d.data.splits import ids
from img2mv3d.errors import InputError
from img2mv3d.eval import FROM_ABOVE, PROTOCOLS
from img2mv3d.eval.comparison import Case, Planned
from img2mv3d.eval.objects import first_surface, front_photo, untouched, views_of
from img2mv3d.files.contents import encode_normals, to_bytes, write_json, write_png
from img2mv3d.files.durable import digest_file
from img2mv3d.geometry.cameras import SIX_VIEWS

VERSION = 1
FRAMING_PX = 144  # long side of the front silhouette, px of 256: all six views stay inside of their frames
ELEVATION_DEG = 30.0  # from which a scan's photo is taken: SyncDreamer's; the six views stand round that camera
REAL = ("gso-", "ycb-")  # how names of real scans begin
VAL_COUNT = 60
LISTED_PITCHES = (0.0, 20.0)  # degrees from above: a level photo, and one as people take them


@dataclass(frozen=True, eq=False)
class Subject:
    """One object as the protocol shows it. rotation: world from the mesh's own axes. mesh: digest of its files."""

    id: str
    solid: Solid
    rotation: Float[np.ndarray, "3 3"]
    mesh: str
    notes: Mapping[str, Any]
    condition: str = ""


def gso30(folder: Path, count: int | None = None, elevation_deg: float = ELEVATION_DEG) -> Iterator[Subject]:
    """The first `count` of Google Scanned Objects' thirty, see `data.scans.gso30`."""
    for scan in scans.gso30(folder, count):
        yield Subject(scan.id, scan.solid, rotation(scan.azimuth_deg, elevation_deg, scan.up), scan.digest, scan.notes)


def real_scans(folder: Path, count: int | None = None, elevation_deg: float = ELEVATION_DEG) -> Iterator[Subject]:
    """The real scans of `test`, each photographed at an azimuth by its name."""
    for path in _there(folder, [name for name in sorted(ids("test")) if name.startswith(REAL)], count):
        yaw = float(zlib.crc32(path.stem.encode()) % 360)
        pose = turned_by(yaw, elevation_deg)
        yield Subject(path.stem, load_solid(path), pose, digest_file(path), {"azimuth_deg": yaw})


def val(folder: Path, count: int | None = None, elevation_deg: float = ELEVATION_DEG) -> Iterator[Subject]:
    """Held-out objects of our corpus on which nothing was tuned, everyday things first, each in a pose drawn from its
    name: yaw free, pitch -15 to 30 degrees."""
    for entry in untouched(folder, count or VAL_COUNT):
        path = folder / "objects" / f"{entry.id}.npz"
        pose = random_pose(np.random.default_rng(zlib.crc32(entry.id.encode())))
        yield Subject(entry.id, load_solid(path), pose, digest_file(path), {})


def listed(split: str) -> Callable[..., Iterator[Subject]]:
    """The objects of a list of `data.splits`, each photographed level and from above, at a yaw by its name."""

    def subjects(folder: Path, count: int | None = None, elevation_deg: float = ELEVATION_DEG) -> Iterator[Subject]:
        there = _there(folder, sorted(ids(split)), count)
        for pitch in LISTED_PITCHES:
            for path in there:
                yaw, digest = zlib.crc32(path.stem.encode()) % 360, digest_file(path)
                pose, name = turned_by(float(yaw), pitch), f"{path.stem}@{pitch:g}"
                yield Subject(name, load_solid(path), pose, digest, {"pitch_deg": pitch}, f"{split}, {pitch:g} degrees")

    return subjects


def _there(folder: Path, names: list[str], count: int | None) -> list[Path]:
    """The files of the first `count` objects of a list that a corpus holds."""
    return [path for name in names if (path := folder / "objects" / f"{name}.npz").exists()][:count]


SUBJECTS: Mapping[str, Callable[..., Iterator[Subject]]] = dict(
    zip(PROTOCOLS, (gso30, val, listed("dev"), listed("test"), real_scans), strict=True)
)


def rotation(azimuth_deg: float, elevation_deg: float, up: str = "z") -> Float[np.ndarray, "3 3"]:
    """World from a mesh's axes, for a front camera that stands at these angles. azimuth_deg: from the mesh's +X,
    counter-clockwise seen from above. up: "z" or "y". Raises InputError on another."""
    if up not in ("y", "z"):
        raise InputError(f"up {up!r}: expected y or z")
    upright = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) if up == "z" else np.eye(3)
    return turned_by(-90.0 - azimuth_deg, elevation_deg) @ upright


def planned(
    which: str,
    folder: Path,
    count: int | None = None,
    out: Path | None = None,
    objects: dict[str, Any] | None = None,
    elevation_deg: float = ELEVATION_DEG,
) -> Iterator[Planned]:
    """The cases of a protocol, rendered one by one.

    out: where out/photos/NAME.png is written, what other programs are to be given.
    objects: filled with what was shown, by name: digests of mesh and render, notes.
    elevation_deg: of the camera, in protocols of FROM_ABOVE.
    """
    for subject in SUBJECTS[which](folder, count, elevation_deg):
        case, digest = case_of(subject, subject.condition or which)
        if out is not None:
            (out / "photos").mkdir(parents=True, exist_ok=True)
            write_png(out / "photos" / f"{subject.id}.png", case.photo)
        if objects is not None:
            objects[subject.id] = {"mesh": subject.mesh, "render": digest, **subject.notes}
        yield Planned(subject.id, subject.condition or which, digest, lambda case=case: case)


def case_of(subject: Subject, which: str) -> tuple[Case, str]:
    """The true views and the photo, and a digest of the six pictures' bytes with alpha and normals."""
    solid, pose = subject.solid, subject.rotation
    renders = render(solid, pose, FRAMING_PX, EVEN_LIGHT, np.random.default_rng(0))
    color, mask, coded = to_bytes(renders.color), to_bytes(renders.mask), encode_normals(renders.normal, renders.mask)
    digest = hashlib.sha256(b"".join(a.tobytes() for a in (color, mask, coded))).hexdigest()
    truth = views_of(color.astype(np.float32) / 255, mask, coded)

    def reframed(framing_px: int) -> UInt8[np.ndarray, "H W 4"]:
        if framing_px == FRAMING_PX:
            return photo
        again = render(solid, pose, framing_px, EVEN_LIGHT, np.random.default_rng(0))
        return front_photo(again.color, again.mask)

    placed = place(solid.vertices, pose, FRAMING_PX)[0], solid.faces
    photo = front_photo(renders.color, renders.mask)
    return Case(subject.id, which, photo, truth, first_surface(renders, truth), placed, reframed=reframed), digest


def write_notes(
    out: Path, which: str, objects: Mapping[str, Any], table: str, elevation_deg: float = ELEVATION_DEG
) -> str:
    """out/protocol.json (what was rendered, by which settings) and out/protocol.md; the page's text."""
    notes = {
        "protocol": which,
        "version": VERSION,
        "settings": settings(which, elevation_deg),
        "digest": digest_of(objects),
    }
    write_json(out / "protocol.json", notes | {"objects": dict(objects)})
    count = f"{len(objects)} of {len(scans.GSO30)}" if which == "gso30" else len(objects)
    head = f"Protocol {which}, version {VERSION}: {count} objects, renders {digest_of(objects)[:16]}.\n"
    (out / "protocol.md").write_text(head + table, encoding="utf-8")
    return head + table


def check_notes(out: Path, which: str, elevation_deg: float = ELEVATION_DEG) -> None:
    """Raises InputError where another protocol, another version of it or another elevation was measured."""
    path = out / "protocol.json"
    if path.exists():
        former = json.loads(path.read_text(encoding="utf-8"))
        asked = settings(which, elevation_deg).get("elevation_deg")
        measured = former.get("protocol"), former.get("version"), former.get("settings", {}).get("elevation_deg")
        if measured != (which, VERSION, asked):
            raise InputError(f"{path}: of another protocol, version or elevation; name another folder with -o")


def digest_of(objects: Mapping[str, Any]) -> str:
    """One digest of all renders: people who have the same one measured against the same pictures."""
    lines = "".join(f"{name} {objects[name]['render']}\n" for name in sorted(objects))
    return hashlib.sha256(lines.encode()).hexdigest()


def settings(which: str, elevation_deg: float = ELEVATION_DEG) -> dict[str, Any]:
    """All that decides what is rendered, in plain numbers."""
    pose = {"elevation_deg": elevation_deg} if which in FROM_ABOVE else {"pose": "drawn from the name"}
    fixed = {"rig": SIX_VIEWS.to_dict(), "framing_px": FRAMING_PX, "size_px": IMAGE_SIZE, "light": asdict(EVEN_LIGHT)}
    return fixed | pose

"""Meshes on disk: written whole and read back by trimesh before they get their name; read strictly."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from img2mv3d.errors import Img2mv3dError, InputError, ResourceError, UsageError
from img2mv3d.mesh.arrays import MeshArrays, MeshLike, face_normals
from img2mv3d.mesh.extract import volume
from img2mv3d.mesh.formats import FORMATS, READABLE, Format
from img2mv3d.mesh.headers import check_header
from img2mv3d.mesh.placement import place
from img2mv3d.mesh.raster import sample_bilinear
from img2mv3d.mesh.writers import srgb_of_linear


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


Reader = Callable[[Path], list[MeshArrays]]
WRITERS: dict[str, Callable[[MeshLike, str, dict[str, Any]], dict[str, bytes]]] = {
    name: _imported(format.writer) for name, format in FORMATS.items()
}
READERS = {name: _imported(format.reader) for name, format in FORMATS.items() if format.reader}  # the rest is trimesh's
WARY = READERS | {name: _imported(format.wary_reader) for name, format in FORMATS.items() if format.wary_reader}
MAX_BYTES = 1 << 30
MAX_FACES = 5_000_000
MAX_TEXTURE = 8192  # px a side, as many as we write
PLACE = 2e-6  # of the largest coordinate: files hold 32-bit floats or 8 digits
COLOR = 2 / 255  # rounding on the way to linear light and back
PROBES = 97  # faces whose colour is compared


def write_mesh(
    mesh: MeshLike,
    path: Path,
    format: str | None = None,
    *,
    size_mm: float | None = None,
    height_mm: float | None = None,
    up: str | None = None,
    provenance: dict[str, Any] | None = None,
    placed: bool = False,
) -> dict[str, Any]:
    """Write `mesh` (world axes and units) to `path` and return what was checked: format, files, bytes, vertices, faces,
    volume, box, textured, and where it stands: unit and up of the file, file_from_world.

    Same mesh, same bytes. Raises UsageError on an unknown format, one whose package is missing or a place that cannot
    be written, ResourceError when the disk is full or gives back something else; then nothing is left behind and an
    older file stays as it was.

    format: one of `formats.FORMATS`; None: by the path's ending. Obj has .mtl and a picture beside it.
    size_mm, height_mm, up: as `placement.place` takes them; volume and box are in the file's units.
    placed: the mesh stands in the file's axes and units already. Everything is written into a folder of its own next to
        `path`, synced, read back, compared and only then renamed.
    provenance: plain values for glTF's asset.extras, next to the tool's name and version.
    """
    path = Path(path)
    kind = (format or path.suffix.lstrip(".")).lower()
    if kind not in WRITERS:
        raise UsageError(f"{path}: cannot write {kind or 'a file without ending'!r}; choose {', '.join(WRITERS)}")
    _check_arrays(mesh, path)
    from img2mv3d import __version__

    facts = {"name": "img2mv3d", "version": __version__, **(provenance or {})}
    stem, rule = path.stem, FORMATS[kind]
    mesh, file_from_world = (mesh, np.eye(4)) if placed else place(mesh, kind, size_mm, height_mm, up)
    files = WRITERS[kind](mesh, stem, facts)
    if path.suffix.lstrip(".").lower() != kind:  # the user's own name, with our format in it
        files = {path.name if name == f"{stem}.{kind}" else name: data for name, data in files.items()}
    main = list(files)[-1]
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{stem}-", dir=path.parent))
        for name, data in files.items():
            _write_synced(folder / name, data)
        again = _load(folder / main, kind, InputError)
        _compare(mesh, again, path, rule)
        for name in files:
            os.replace(folder / name, path.parent / name)
        _sync_folder(path.parent)
    except InputError as error:
        raise ResourceError(f"{path}: what was written cannot be read back ({error}); is the disk sound?") from None
    except OSError as error:
        raise _as_ours(path, error) from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
    return {
        "format": kind,
        "files": sorted(files),
        "bytes": sum(map(len, files.values())),
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "volume": float(f"{volume(mesh.vertices, mesh.faces):.7g}"),
        "box": np.round([mesh.vertices.min(0), mesh.vertices.max(0)], 5).tolist(),
        "textured": mesh.texture is not None and mesh.uv is not None and rule.texture,
        "unit": rule.unit,
        "up": rule.up if placed else (up or rule.up).upper(),
        "file_from_world": np.round(file_from_world, 9).tolist(),
        "read_back": "equal",
    }


def read_mesh(path: Path, error: type[InputError] = InputError) -> MeshArrays:
    """The triangles of a file of one of `formats.READABLE`, in its own axes and units (ours are glTF's); a 3mf, which
    may name any unit, in millimetres, a usdz in metres and +Y up.

    Several parts become one; colours come from the texture or the vertices, middle grey where there are none.
    Raises `error` when the file is missing, empty, of another kind, larger than 1 GiB or 5 million faces, or holds
    values that are not finite, indices that lead nowhere, fewer than four faces, or no area at all;
    UsageError when the reader's package is missing.
    """
    path = Path(path)
    if path.suffix.lower() not in (endings := [f".{name}" for name in READABLE]):
        raise error(f"{path}: not a mesh file that can be read; expected one of {', '.join(endings)}")
    try:
        size = path.stat().st_size
    except OSError as reason:
        raise error(f"{path}: {'no such file' if reason.errno == errno.ENOENT else reason.strerror}") from None
    if not path.is_file() or size == 0:
        raise error(f"{path}: {'an empty file' if path.is_file() else 'not a file'}; give a mesh")
    if size > MAX_BYTES:
        raise error(f"{path}: larger than {MAX_BYTES >> 20} MiB; simplify it first")
    mesh = _load(path, path.suffix.lower().lstrip("."), error, WARY)
    if len(mesh.faces) < 4:
        raise error(f"{path}: {len(mesh.faces)} triangles; a body has at least four")
    if len(mesh.faces) > MAX_FACES:
        raise error(f"{path}: {len(mesh.faces)} triangles, at most {MAX_FACES} can be used; simplify it first")
    if not np.isfinite(mesh.vertices).all():
        raise error(f"{path}: holds vertices that are not numbers; repair or export it again")
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.vertices):
        raise error(f"{path}: faces name vertices that do not exist; repair or export it again")
    extent = np.ptp(mesh.vertices, axis=0).max()
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1).sum()
    if not np.isfinite(area) or area <= 1e-12 * extent**2:
        raise error(f"{path}: its triangles have no area; repair or export it again")
    return mesh


def _load(path: Path, kind: str, error: type[InputError], readers: Mapping[str, Reader] = READERS) -> MeshArrays:
    try:
        with np.errstate(all="ignore"):
            check_header(path, kind, MAX_FACES)
            if kind in readers:
                return _joined(readers[kind](path), path, error)
            scene = trimesh.load_scene(path, file_type=kind, process=False, maintain_order=True)
            parts = [_part(scene, name, kind) for name in scene.graph.nodes_geometry]
    except (MemoryError, Img2mv3dError):
        raise
    except Exception as reason:  # readers of broken files raise many kinds; all mean the same to the user
        words = getattr(reason, "strerror", None) or " ".join(str(reason).split())[:100] or type(reason).__name__
        raise error(f"{path}: cannot be read as a mesh ({words})") from None
    return _joined([part for part in parts if part is not None], path, error)


def _joined(parts: list[MeshArrays], path: Path, error: type[InputError]) -> MeshArrays:
    """Several parts as one mesh; a single one keeps its texture."""
    if not parts:
        raise error(f"{path}: holds no triangles")
    if any(part.uv is not None and not np.isfinite(part.uv).all() for part in parts):
        raise error(f"{path}: holds places in the texture that are not numbers; repair or export it again")
    if len(parts) == 1:
        return replace(parts[0], colors=_baked(parts[0]))
    counts = np.cumsum([0, *(len(p.vertices) for p in parts)])
    faces = np.concatenate([p.faces + start for p, start in zip(parts, counts[:-1], strict=True)])
    return MeshArrays(np.concatenate([p.vertices for p in parts]), faces, np.concatenate([_baked(p) for p in parts]))


def _part(scene: trimesh.Scene, node: str, kind: str) -> MeshArrays | None:
    """One geometry of a scene at its place, as our arrays."""
    place, name = scene.graph[node]
    body = scene.geometry[name]
    if not isinstance(body, trimesh.Trimesh) or len(body.faces) == 0:
        return None
    faces = np.array(body.faces, np.int64)
    if np.linalg.det(place[:3, :3]) < 0:
        faces = faces[:, ::-1]
    vertices = np.array(body.vertices, np.float64) @ place[:3, :3].T + place[:3, 3]
    colors = np.full((len(vertices), 3), 128, np.uint8)
    visual = body.visual
    uv = getattr(visual, "uv", None)
    if uv is not None and np.ndim(uv) == 2 and len(uv) == len(vertices) and uv.shape[1] >= 2:
        picture = _picture(visual.material)
        if picture is not None:
            return MeshArrays(vertices, faces, colors, np.array(uv[:, :2], np.float64), picture)
    attributes = getattr(visual, "vertex_attributes", {})
    if "color" in attributes:  # glTF beside a material: raw and linear
        raw = np.asarray(attributes["color"])[:, :3]
        colors = srgb_of_linear(raw if raw.dtype.kind == "f" else raw / np.iinfo(raw.dtype).max)
    elif visual.kind == "vertex":
        colors = np.array(visual.vertex_colors[:, :3], np.uint8)
        colors = srgb_of_linear(colors / 255) if kind in ("glb", "gltf") else colors
    elif visual.kind is not None and getattr(visual, "main_color", None) is not None:
        colors = np.tile(np.array(visual.main_color[:3], np.uint8), (len(vertices), 1))
    return MeshArrays(vertices, faces, colors)


def _picture(material: Any) -> np.ndarray | None:
    """uint8 [H, W, 3], or None: trimesh keeps glTF's and obj's pictures under different names."""
    picture = getattr(material, "baseColorTexture", None)
    picture = getattr(material, "image", None) if picture is None else picture
    if picture is None:
        return None
    if max(picture.size) > MAX_TEXTURE:
        raise ValueError(f"its texture of {picture.size[0]} x {picture.size[1]} px is too large")
    return np.asarray(picture.convert("RGB"))


def _baked(mesh: MeshArrays) -> np.ndarray:
    """Vertex colours, from the texture if there is one."""
    if mesh.texture is None or mesh.uv is None:
        return mesh.colors
    return (_texture_at(mesh, mesh.uv) * 255 + 0.5).astype(np.uint8)


def _texture_at(mesh: MeshLike, uv: np.ndarray) -> np.ndarray:
    height, width = mesh.texture.shape[:2]
    px = np.stack([uv[:, 0] * width, (1 - uv[:, 1]) * height], axis=1)
    return sample_bilinear(mesh.texture, px) / 255


def _check_arrays(mesh: MeshLike, path: Path) -> None:
    """Ours, not the user's: a mesh that cannot be written is a defect (ValueError)."""
    count = len(mesh.vertices)
    if (
        len(mesh.faces) == 0
        or not np.isfinite(mesh.vertices).all()
        or mesh.faces.max() >= count
        or mesh.faces.min() < 0
    ):
        raise ValueError(f"{path}: no mesh to write, or one with broken values")
    if mesh.colors.shape != (count, 3) or (mesh.uv is not None and mesh.uv.shape != (count, 2)):
        raise ValueError(f"{path}: {count} vertices, but colors {mesh.colors.shape}")


def _compare(mesh: MeshLike, again: MeshArrays, path: Path, rule: Format) -> None:
    """Raises ResourceError unless the file says what the mesh is: triangles in order, side, colours of some points (as
    far as the format has them). Both in the file's axes and units.
    """

    def different(what: str) -> ResourceError:
        return ResourceError(f"{path}: read back, its {what} differ from what was written; is the disk sound?")

    if len(again.faces) != len(mesh.faces) or (rule.shared and len(again.vertices) != len(mesh.vertices)):
        raise different("counts of vertices and faces")
    scale = float(np.abs(mesh.vertices).max())
    if np.abs(again.vertices[again.faces] - mesh.vertices[mesh.faces]).max() > PLACE * scale:
        raise different("corners")
    if np.sign(volume(again.vertices, again.faces)) != np.sign(volume(mesh.vertices, mesh.faces)):
        raise different("inside and outside")
    if not rule.colors:
        return
    probe = np.linspace(0, len(mesh.faces) - 1, min(PROBES, len(mesh.faces))).astype(np.int64)
    if again.texture is not None:
        ours, theirs = (_texture_at(m, m.uv[m.faces[probe]].mean(1)) for m in (mesh, again))
    else:
        ours, theirs = (m.colors[m.faces[probe]].astype(np.float64).mean(1) / 255 for m in (mesh, again))
    if np.abs(ours - theirs).max() > COLOR:
        raise different("colours")


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """So that the new name, too, survives a power cut; some file systems refuse, which changes nothing."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _as_ours(path: Path, error: OSError) -> Exception:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return ResourceError(f"{path}: cannot be written ({error.strerror}); raise the limit (ulimit -n)")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return ResourceError(f"{path}: cannot be written ({error.strerror}); make room or choose another place")
    return UsageError(f"{path}: cannot be written ({error.strerror or error}); choose another place with -o")

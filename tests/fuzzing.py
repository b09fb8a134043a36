"""Damaged files by the thousand: each reader gives a value or one line, quickly, in little memory, and never a trace.

`python -m tests.fuzzing READER --seconds 600 -o found.json` looks for as long as is wanted (READER: photo, latents,
views, mesh, values or records); tests/test_hostile.py does the same for a moment. Hypothesis draws the damage: bytes
flipped, cut, doubled and spliced, and below the checksums, too: members of zips packed again, leaves of JSON, words of
text, values of a pickled record. What a reader raises beside its own errors is a crash; so is what takes SLOW_S.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from PIL import Image

from img2mv3d.bundles.manifests import to_toml
from img2mv3d.errors import Img2mv3dError, InputError, WeightsError
from img2mv3d.files.contents import read_latents, write_latents
from img2mv3d.files.durable import sealed
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.files import read_mesh, write_mesh
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.readers.photos import read_mask, read_photo
from img2mv3d.values import Body, Depth, Subject, Surface, Views, load_views, save_views
from tests.balls import missing

SLOW_S = 20.0  # of one case: an honest file of this size takes a tenth of a second
LARGE = 100 << 20  # bytes by which one case may raise the peak without being kept for a look
MEMORY = 3 << 30  # bytes of address space beyond what the process has when it starts, threads of libraries included
WORDS = ("nan", "inf", "-1", "0", "1e308", "99999999999", "", "../../x", "f 1 2 3", "\x00", "{", "]", "usemtl")
LEAVES = (None, True, -1, 0, 1, 2**31, 2**63, -(2**40), 1e308, "", "x", "../../x", [], {}, [[]], [1, 2, 3], {"a": []})
SIZES = (0, 1, 2, 127, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1)


# ------------------------------------------------------------------------------------------------- kinds of damage


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, other: bytes) -> bytes:
    """`whole` after one to six strokes."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 6))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 7)):
            case 0:
                data[at] = draw(st.integers(0, 255))
            case 1:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 2:
                size = draw(st.sampled_from((1, 2, 4, 8)))
                number = draw(st.sampled_from(SIZES)) & ((1 << 8 * size) - 1)
                data[at : at + size] = number.to_bytes(size, draw(st.sampled_from(("little", "big"))))
            case 3:
                del data[at : at + draw(st.integers(1, 64))]
            case 4:
                data[at:at] = data[at : at + draw(st.integers(1, 64))]
            case 5:
                data[at:at] = draw(st.binary(min_size=1, max_size=16))
            case 6:
                del data[at:]
            case 7:
                data[at:] = other[draw(st.integers(0, max(len(other) - 1, 0))) :]
    return bytes(data)


@st.composite
def repacked(draw: st.DrawFn, whole: bytes) -> bytes:
    """A zip with one member damaged, renamed, doubled or left out, its checksums right again."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = draw(st.sampled_from(sorted(members)))
    match draw(st.integers(0, 3)):
        case 0 | 1:
            data = members[name]
            text = name.endswith((".model", ".rels", ".xml", ".usda"))
            members[name] = draw(worded(data)) if text else draw(damaged(data, data[::-1]))
        case 2:
            members[draw(st.sampled_from(("../../x", "/x", name + "/x", "")))] = members.pop(name)
        case 3:
            members.pop(name)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for key, data in members.items():
            archive.writestr(zipfile.ZipInfo(key or "x"), data)
    return buffer.getvalue()


@st.composite
def worded(draw: st.DrawFn, whole: bytes) -> bytes:
    """A text with some of its words replaced, lines doubled, shuffled or left out."""
    lines = whole.decode("utf-8", "replace").split("\n")
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 3)):
            case 0 | 1:
                words = lines[at].split(" ")
                words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(WORDS))
                lines[at] = " ".join(words)
            case 2:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))])
            case 3:
                lines[at] = ""
    return "\n".join(lines).encode()


@st.composite
def leafed(draw: st.DrawFn, whole: Any) -> Any:
    """A JSON value with one to three of its parts replaced or left out."""
    tree = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        node, key = tree, None
        while isinstance(node, dict | list) and node:
            keys = sorted(node) if isinstance(node, dict) else range(len(node))
            key = draw(st.sampled_from(list(keys)))
            if not isinstance(node[key], dict | list) or not node[key] or draw(st.integers(0, 4)) == 0:
                break
            node = node[key]
        if key is None:
            return _leaf(draw)
        if draw(st.integers(0, 5)) == 0:
            del node[key]
        else:
            node[key] = _leaf(draw)
    return tree


def _leaf(draw: st.DrawFn) -> Any:
    return json.loads(json.dumps(draw(st.sampled_from(LEAVES))))  # a copy: the next stroke may change it


@st.composite
def chunked(draw: st.DrawFn, whole: bytes) -> bytes:
    """A PNG with a chunk damaged, doubled or left out, its checksums right again."""
    chunks, at = [], 8
    while at + 12 <= len(whole):
        size = struct.unpack(">I", whole[at : at + 4])[0]
        chunks.append((whole[at + 4 : at + 8], whole[at + 8 : at + 8 + size]))
        at += 12 + size
    index = draw(st.integers(0, len(chunks) - 1))
    kind, data = chunks[index]
    match draw(st.integers(0, 3)):
        case 0 | 1:
            chunks[index] = (kind, draw(damaged(data or b"\0", data[::-1])))
        case 2:
            chunks.insert(draw(st.integers(0, len(chunks))), (kind, data))
        case 3:
            chunks.pop(index)
    pack = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    return whole[:8] + b"".join(pack(k, d) for k, d in chunks)


# ------------------------------------------------------------------------------------------- what the readers take


def photos() -> dict[str, bytes]:
    """A small picture in every format that is read, by ending."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(np.kron(rng.integers(0, 256, (6, 5, 4), np.uint8), np.ones((8, 8, 1), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {}
    for name, mode, more in (
        ("png", "RGBA", {"dpi": (72, 72)}),
        ("p.png", "P", {"transparency": 0}),
        ("jpg", "RGB", {"exif": exif, "progressive": True}),
        ("cmyk.jpg", "CMYK", {}),
        ("webp", "RGBA", {"lossless": True}),
        ("tif", "RGB", {"compression": "tiff_lzw"}),
        ("16.tif", "I;16", {}),
        ("gif", "P", {}),
        ("bmp", "RGB", {}),
        ("ppm", "RGB", {}),
    ):
        buffer = io.BytesIO()
        image = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
        image.save(buffer, Image.registered_extensions()["." + name.split(".")[-1]], **more)
        found[name] = buffer.getvalue()
    return found


def record() -> dict[str, Any]:
    """What a latents file holds, as small as is allowed."""
    rng = np.random.default_rng(0)
    color = rng.standard_normal((6, 4, 4, 4)).astype(np.float32)
    told = {"framing_px": 144, "vae": {"name": "sd", "digest": "0"}, "bundle": "mini", "seed": 0, "settings": {}}
    return {"color": color, "normal": color, "front": np.zeros((32, 32, 4), np.uint8), "rig": SIX_VIEWS, **told}


def views() -> Views:
    """Six views of 16 px."""
    rng = np.random.default_rng(0)
    normal = np.zeros((6, 16, 16, 3), np.float32)
    normal[..., 2] = 1
    return Views(rng.random((6, 16, 16, 3), np.float32), normal, np.ones((6, 16, 16), np.float32), SIX_VIEWS)


def ball() -> MeshArrays:
    """Eight triangles with a texture."""
    points = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    texture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    return MeshArrays(points, faces, np.full((6, 3), 128, np.uint8), points[:, :2] / 2 + 0.5, texture)


def meshes(folder: Path) -> dict[str, dict[str, bytes]]:
    """The ball in every format, with the files that lie beside it."""
    found = {}
    for name in (name for name, format in FORMATS.items() if not missing(format)):
        (folder / name).mkdir(parents=True)
        write_mesh(ball(), folder / name / f"mesh.{name}")
        found[name] = {p.name: p.read_bytes() for p in sorted((folder / name).iterdir())}
    glb = found["glb"]["mesh.glb"]
    length = struct.unpack("<I", glb[12:16])[0]
    tree, rest = json.loads(glb[20 : 20 + length]), glb[28 + length :]
    tree["buffers"][0]["uri"] = "mesh.bin"
    found["gltf"] = {"mesh.bin": rest, "mesh.gltf": json.dumps(tree).encode()}
    found["off"] = {"mesh.off": b"OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 1 2 3\n3 2 0 3\n"}
    return found


# -------------------------------------------------------------------------------------------- one case per reader


def photo_case(folder: Path) -> Callable[[st.DataObject], str]:
    """A damaged photo, as photo and as mask."""
    good = photos()

    def case(data: st.DataObject) -> str:
        name = data.draw(st.sampled_from(sorted(good)))
        other = good[data.draw(st.sampled_from(sorted(good)))]
        deep = name.endswith("png") and data.draw(st.booleans())
        path = folder / f"photo.{name}"
        path.write_bytes(data.draw(chunked(good[name]) if deep else damaged(good[name], other)))
        (read_mask if data.draw(st.integers(0, 3)) == 0 else read_photo)(path)
        return name

    return case


def latents_case(folder: Path) -> Callable[[st.DataObject], str]:
    """A damaged latents.pt, or a whole one with odd things inside."""
    path = folder / "latents.pt"
    write_latents(path, record())
    good = path.read_bytes()
    stored = torch.load(path, weights_only=True)
    kinds = (torch.float32, torch.float64, torch.float16, torch.uint8, torch.int64, torch.complex64, torch.bool)
    tensors = st.builds(
        lambda shape, kind: torch.zeros(shape, dtype=kind),
        st.lists(st.sampled_from((0, 1, 3, 4, 6, 32, 33)), max_size=5).filter(lambda s: np.prod(s or [1]) < 1e6),
        st.sampled_from(kinds),
    )
    broad = tensors.map(lambda t: t.reshape(-1)[:1].expand(3, 1 << 20) if t.numel() else t)
    sparse = st.just(torch.eye(4).to_sparse())
    odd = st.one_of(tensors, broad, sparse, st.sampled_from([v for v in LEAVES if not isinstance(v, dict | list)]))

    def case(data: st.DataObject) -> str:
        how = data.draw(st.sampled_from(("bytes", "members", "values", "rig")))
        if how == "bytes":
            path.write_bytes(data.draw(damaged(good, good[::-1])))
        elif how == "members":
            path.write_bytes(data.draw(repacked(good)))
        else:
            changed = dict(stored)
            if how == "rig":
                changed["rig"] = data.draw(leafed(changed["rig"]))
            else:
                changed[data.draw(st.sampled_from(sorted(changed)))] = data.draw(odd)
            torch.save(changed, path)
        read_latents(path)
        return how

    return case


def views_case(folder: Path) -> Callable[[st.DataObject], str]:
    """A folder of views with one file damaged, or views.json with odd things inside."""
    save_views(views(), folder / "good")
    good = {p.name: p.read_bytes() for p in sorted((folder / "good").iterdir())}
    notes = json.loads(good["views.json"])

    def case(data: st.DataObject) -> str:
        place = folder / "views"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / "good", place)
        how = data.draw(st.sampled_from(("json", "json text", "picture", "missing")))
        name = data.draw(st.sampled_from(sorted(good)))
        if how == "json":
            (place / "views.json").write_text(json.dumps(data.draw(leafed(notes))))
        elif how == "json text":
            (place / "views.json").write_bytes(data.draw(damaged(good["views.json"], good["views.json"])))
        elif how == "missing":
            (place / name).unlink()
        else:
            deep = data.draw(st.booleans()) and name.endswith("png")
            (place / name).write_bytes(data.draw(chunked(good[name]) if deep else damaged(good[name], good[name])))
        load_views(place)
        return how

    return case


def mesh_case(folder: Path) -> Callable[[st.DataObject], str]:
    """A damaged mesh file, or a damaged file beside it."""
    good = meshes(folder / "good")
    kinds = [kind for kind in sorted(good) for _ in range(1 if kind == "usdz" else 4)]  # it needs a process a case

    def case(data: st.DataObject) -> str:
        kind = data.draw(st.sampled_from(kinds))
        place = folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        files = dict(good[kind])
        name = data.draw(st.sampled_from(sorted(files)))
        whole = files[name]
        if zipfile.is_zipfile(io.BytesIO(whole)) and data.draw(st.booleans()):
            files[name] = data.draw(repacked(whole))
        elif name.endswith("gltf"):
            files[name] = json.dumps(data.draw(leafed(json.loads(whole)))).encode()
        elif name.endswith("glb") and data.draw(st.integers(0, 3)):
            length = struct.unpack("<I", whole[12:16])[0]
            text = json.dumps(data.draw(leafed(json.loads(whole[20 : 20 + length])))).encode()
            text += b" " * (-len(text) % 4)
            head = struct.pack("<III", 0x46546C67, 2, 12 + 8 + len(text) + len(whole) - 20 - length)
            files[name] = head + struct.pack("<II", len(text), 0x4E4F534A) + text + whole[20 + length :]
        elif name.endswith((".obj", ".mtl", ".off", ".ply")) and data.draw(st.booleans()):
            files[name] = data.draw(worded(whole))
        else:
            files[name] = data.draw(damaged(whole, whole[::-1]))
        for key, content in files.items():
            (place / key).write_bytes(content)
        mesh = read_mesh(place / f"mesh.{kind}")
        assert np.isfinite(mesh.vertices).all() and 0 <= mesh.faces.min() <= mesh.faces.max() < len(mesh.vertices)
        return kind

    return case


def values_case(folder: Path) -> Callable[[st.DataObject], str]:
    """A damaged surface.npz, shape.npz, depth.npz or subject, or whole ones with odd arrays or notes inside."""
    rng, good = np.random.default_rng(0), folder / "good"
    grid = rng.random((8, 8, 8), np.float32)
    maps = rng.random((4, 4, 3), np.float32)
    ring = views()
    picture = rng.integers(0, 256, (256, 256, 4), np.uint8)
    good.mkdir()
    Surface(grid, {"iou": 1.0}).save(good)
    box = (0.0, 0.0, 0.0, 0.3, 0.4, 0.2, *np.eye(3)[[0, 2, 1]].ravel().tolist())
    Body(grid, maps, maps, 0.5, maps[0, :, :2], 10.0, 3.0, box=box).save(good)
    Depth(ring.mask, ring.mask, ring, grid).save(good)
    Subject(picture, picture[:64, :64].copy(), Framing((1.0, 1.0), (0.0, 0.0), 144)).save(good)
    files = {name: (good / name).read_bytes() for name in ("surface.npz", "shape.npz", "depth.npz", "prepare.json")}
    kinds = ("f2", "f4", "f8", "i8", "u1", "?", "c8", "U4")
    shapes = st.lists(st.sampled_from((0, 1, 2, 3, 4, 6, 8, 16)), max_size=4)
    odd = st.builds(lambda shape, kind: np.ones(shape, kind), shapes, st.sampled_from(kinds))
    odd = st.one_of(odd, st.just(np.full((8, 8, 8), np.nan, np.float32)))
    place = folder / "case"

    def changed(data: st.DataObject, name: str) -> bytes:
        if name.endswith(".json"):
            return json.dumps(data.draw(leafed(json.loads(files[name])))).encode()
        with np.load(good / name) as held:
            arrays = dict(held)
        if data.draw(st.booleans()):
            notes = json.loads(bytes(arrays["notes"]))
            arrays["notes"] = np.frombuffer(json.dumps(data.draw(leafed(notes))).encode(), np.uint8)
        else:
            arrays[data.draw(st.sampled_from(sorted(arrays)))] = data.draw(odd)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def case(data: st.DataObject) -> str:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(good, place)
        name = data.draw(st.sampled_from(sorted(files)))
        match data.draw(st.integers(0, 2)) if name.endswith("npz") else data.draw(st.integers(1, 2)):
            case 0:
                (place / name).write_bytes(data.draw(repacked(files[name])))
            case 1:
                (place / name).write_bytes(data.draw(damaged(files[name], files[name][::-1])))
            case 2:
                (place / name).write_bytes(changed(data, name))
        {"surface.npz": Surface, "shape.npz": Body, "depth.npz": Depth, "prepare.json": Subject}[name].load(place)
        return name

    return case


def records_case(folder: Path) -> Callable[[st.DataObject], str]:
    """A damaged run.json, entry of the cache, record of fetched weights, manifest or TOML beside a network; or one with
    odd things inside, its seal right again."""
    from img2mv3d.bundles.fetch import faults
    from img2mv3d.bundles.manifests import read_manifest
    from img2mv3d.cli.carry import recalled_settings
    from img2mv3d.flow.entry import Source
    from img2mv3d.flow.graph import GRAPH
    from img2mv3d.flow.provenance import provenance
    from img2mv3d.flow.run_folder import RunFolder
    from img2mv3d.flow.store import Store
    from img2mv3d.matting.model import model_for
    from img2mv3d.report.gather import gather
    from img2mv3d.report.page import page

    key = "0" * 64
    facts = {"size": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    about = {"key": key, "inputs": {"subject": key}, "version": 1, "seconds": 1.0, "peak_bytes": 5, "warnings": ["w"]}
    about |= {"names": ["a"], "edited": ["a"], "original": key}
    about |= {"made_with": {"options": {"grid": 3}, "seed": 1, "weights": {"name": "m", "digest": key, "licence": "x"}}}
    run = {
        "format": "img2mv3d-run/1",
        "source": {"kind": "photo", "name": "a.png", "digest": key},
        "settings": {"seed": 3, "bundle": "mini", "depth": {"grid": 64}, "export": {"format": "glb"}},
        "stages": {"prepare": about, "depth": about},
        "files": {"subject.png": {"stage": "prepare", **facts}},
        "pending": {"subject.png": [key]},
        "last": {"prepare": {"how": "computed", "seconds": 1.0}},
        "warnings": ["w"],
        "version": "0.1.0",
        "seconds": 1.0,
        "result": "mesh.glb",
    }
    made = {"format": "img2mv3d-entry/1", "key": key, "stage": "decode", "files": {"a": facts}, "made": {"seconds": 1}}
    fetched = {"format": "img2mv3d-fetched/1", "upstream": "wonder3d", "files": {"a": facts}}
    manifest = {"format": "img2mv3d-bundle/1", "name": "m", "framing_px": 144, "generate": {"steps": 2}}
    manifest |= {"parts": {"unet": {"file": "u.safetensors", "sha256": key, "config": {"heads": [1]}}}}
    network = {"size": 320, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    store, place = Store(folder / "cache"), folder / "out"
    entry = store.folder / "entries" / key[:2] / key if store.folder else folder
    for where in (place, entry / "files"):
        where.mkdir(parents=True)
    (entry / "files" / "a").write_bytes(b"{}")
    (place / "subject.png").write_bytes(b"{}")
    (folder / "net.onnx").write_bytes(b"")

    def as_run() -> None:
        found = RunFolder(place, lambda line: None)
        for stage in GRAPH:
            found.edited(stage), found.marks(stage)
        recalled_settings(Source("run", place), {})
        provenance(found.record, [], {}, {})
        page(gather(place, None))

    def as_entry() -> None:
        store.entries(), store.get(key, folder / "into"), store.verify()

    def as_manifest() -> None:
        from img2mv3d.bundles.weights import load_bundle

        read_manifest(folder)
        bundle = load_bundle(folder)
        bundle.parts(), bundle.framing_px, bundle.licence, bundle.vae

    shares = {"photo": 0.3, "views": 0.6, "none": 0.1}
    likeness = {"front_covered": 0.9, "front_db": 20.0, "seam_usual": 0.1, "seam_jump": 0.2}
    overlap = {"views": {"front": 0.9, "back": 0.8}, "min": 0.8, "mean": 0.9}
    mesh = {"watertight": True, "pieces": 1, "seen": shares, "likeness": likeness, "silhouette_iou": overlap}

    readers: dict[str, tuple[Path, Any, Callable[[], Any]]] = {
        "mesh": (place / "mesh.json", mesh, as_run),
        "run": (place / "run.json", run, as_run),
        "entry": (entry / "entry.json", made, as_entry),
        "fetched": (folder / "fetched.json", fetched, lambda: faults(folder)),
        "manifest": (folder / "manifest.toml", manifest, as_manifest),
        "network": (folder / "net.toml", network, lambda: model_for(str(folder / "net.onnx"))),
    }

    def case(data: st.DataObject) -> str:
        name = data.draw(st.sampled_from(sorted(readers)))
        path, whole, read = readers[name]
        toml = path.suffix == ".toml"
        pack = (lambda tree: to_toml(tree).encode()) if toml else sealed
        path.parent.mkdir(parents=True, exist_ok=True)
        if data.draw(st.booleans()):
            path.write_bytes(data.draw((worded if toml else damaged)(pack(whole), *(() if toml else (b"{}",)))))
        else:
            tree = data.draw(leafed(whole))
            try:
                path.write_bytes(pack(tree if isinstance(tree, dict) else whole))
            except (WeightsError, AttributeError):  # no TOML can say that
                path.write_bytes(b"")
        read()
        return name

    return case


CASES = {
    "photo": photo_case,
    "latents": latents_case,
    "views": views_case,
    "mesh": mesh_case,
    "values": values_case,
    "records": records_case,
}


# ---------------------------------------------------------------------------------------------------- the long look


class TooSlow(Exception):
    """One case took longer than SLOW_S."""


def look(reader: str, seconds: float | None, keep: Path | None = None, cases: int = 100) -> dict[str, Any]:
    """Read damaged files for so long: cases, outcomes, the slowest case in seconds, peak memory above the start in MB,
    and crashes: where, what, and how often. seconds: None for `cases` files, the same in every call. keep: a folder for
    copies of what crashed first, was slow or took much.
    """
    crashes: dict[str, dict[str, Any]] = {}
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        case = CASES[reader](folder)
        started, base = time.monotonic(), peak()

        def once(data: st.DataObject) -> None:
            nonlocal slowest
            started, before = time.monotonic(), peak()
            signal.setitimer(signal.ITIMER_REAL, SLOW_S)
            try:
                case(data)
                outcomes["read"] += 1
            except (InputError, WeightsError) as error:
                outcomes["refused" if "\n" not in str(error) else "refused in several lines"] += 1
            except Img2mv3dError:
                outcomes["another error of ours"] += 1
            except Exception as error:
                if type(error).__module__.startswith("hypothesis"):
                    raise
                outcomes["crashed"] += 1
                place = traceback.extract_tb(error.__traceback__)[-1]
                key = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
                if key not in crashes:
                    crashes[key] = {"times": 0, "says": str(error)[:200], "trace": traceback.format_exc()[-1500:]}
                    if keep is not None:
                        shutil.copytree(folder, keep / f"{reader}-{len(crashes)}", dirs_exist_ok=True)
                crashes[key]["times"] += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                took, grown = time.monotonic() - started, peak() - before
                if keep is not None and ((took > 1 and took > slowest) or grown > LARGE):
                    shutil.copytree(folder, keep / f"{reader}-{took:.1f}s-{grown >> 20}mb", dirs_exist_ok=True)
                slowest = max(slowest, took)

        quiet = settings(
            max_examples=cases,
            derandomize=seconds is None,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
            verbosity=Verbosity.quiet,
        )
        quiet(given(st.data())(once))()
        while seconds is not None and time.monotonic() < started + seconds:
            quiet(given(st.data())(once))()
        return {
            "reader": reader,
            "seconds": round(time.monotonic() - started),
            "cases": outcomes.total(),
            "outcomes": dict(outcomes),
            "slowest_s": round(slowest, 2),
            "peak_mb": round((peak() - base) / 1e6),
            "crashes": crashes,
        }


def peak() -> int:
    """Bytes of this process that were in memory at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _too_slow(number: int, frame: Any) -> None:
    raise TooSlow(f"more than {SLOW_S:g} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=CASES)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("-o", "--out", type=Path)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_slow)
    virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (virtual + MEMORY, virtual + MEMORY))
    told = json.dumps(look(asked.reader, asked.seconds, asked.keep), indent=1)
    print(told, file=sys.stdout)
    if asked.out:
        asked.out.write_text(told + "\n")

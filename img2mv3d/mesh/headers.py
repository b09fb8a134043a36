"""Header validation: what a mesh file claims about its own size, before a reader allocates it."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

HEAD = 4096  # bytes in which the header of a text-headed file must end
PIECE = 1 << 24  # bytes of a text read at a time


def check_header(path: Path, kind: str, max_faces: int) -> None:
    """Raises ValueError where the file says that it holds more than `max_faces` triangles or more bytes than it has.

    kind: glb, gltf, ply, stl, obj or off; of others nothing is known here.
    """
    looks = {"glb": _glb, "gltf": _gltf, "ply": _ply, "stl": _stl, "obj": _obj, "off": _off}
    faces = looks[kind](path) if kind in looks else 0
    if faces > max_faces:
        raise ValueError(f"{faces} triangles, at most {max_faces} can be used; simplify it first")


def _glb(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(12)
        tree = None
        while len(head := file.read(8)) == 8:
            length = struct.unpack("<I", head[:4])[0]
            if length > size - file.tell():
                raise ValueError(f"a part of it claims {length} bytes, {size - file.tell()} are left; fetch it again")
            if tree is None:
                tree = json.loads(file.read(length))
            else:
                file.seek(length, 1)
    return _triangles(tree)


def _gltf(path: Path) -> int:
    return _triangles(json.loads(path.read_bytes()))


def _triangles(tree: Any) -> int:
    """Of a glTF tree, every place of a mesh counted."""
    packed = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt"}
    needed = tree.get("extensionsRequired", []) if isinstance(tree, dict) else []
    if found := [packed[name] for name in needed if isinstance(name, str) and name in packed]:
        raise ValueError(f"it is compressed with {found[0]}, which is not read here; export it without compression")
    try:
        accessors = tree.get("accessors", [])
        counts = [int(accessor["count"]) for accessor in accessors]
        empty = [n for n, accessor in zip(counts, accessors, strict=True) if "bufferView" not in accessor]
        uses = Counter(node.get("mesh") for node in tree.get("nodes", []))
        faces = 0
        for index, mesh in enumerate(tree.get("meshes", [])):
            for part in mesh["primitives"]:
                faces += uses[index] * (counts[part.get("indices", part["attributes"]["POSITION"])] // 3)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise ValueError("its tree is not as glTF wants it") from None
    return max(faces, *(n // 3 for n in empty), 0)  # what has no bytes behind it is made, not read


def _ply(path: Path) -> int:
    """Lists have any length, so that faces are what a header can tell; points three a face."""
    with path.open("rb") as file:
        lines = file.read(HEAD).split(b"end_header")[0].splitlines()
    claims = {words[1]: int(words[2]) for line in lines if len(words := line.split()) == 3 and words[0] == b"element"}
    return max(claims.get(b"face", 0), claims.get(b"vertex", 0) // 3)


def _stl(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(84)
    if len(head) == 84 and size == 84 + 50 * (count := struct.unpack("<I", head[80:])[0]):
        return count
    return size // 250  # a text: a facet takes seven lines


def _obj(path: Path) -> int:
    with path.open("rb") as file:
        faces, last = 0, b"\n"
        while piece := file.read(PIECE):
            faces += (last + piece).count(b"\nf ")
            last = piece[-2:]
    return faces


def _off(path: Path) -> int:
    with path.open("rb") as file:
        words = file.read(HEAD).split()
    numbers = [int(word) for word in words[:4] if word.isdigit()]
    return max(numbers[1], numbers[0] // 3) if len(numbers) > 1 else 0

"""A mesh -> the bytes of glb, obj, ply and stl files. Equal meshes give equal bytes."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import numpy as np
from PIL import Image

from img2mv3d.mesh.arrays import MeshLike, face_normals, shading_normals, tangents

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963  # glTF 2.0, bufferView.target
FLOAT, UINT = 5126, 5125  # glTF 2.0, accessor.componentType


def glb_files(mesh: MeshLike, stem: str, provenance: dict[str, Any]) -> dict[str, bytes]:
    """{name: bytes} of a binary glTF 2.0 with everything inside: one mesh, one material, and the texture as PNG, or
    linear vertex colours when there is none. A normal map comes with the tangents that it was made for.
    """
    textured = mesh.texture is not None and mesh.uv is not None
    normals = shading_normals(mesh.vertices, mesh.faces)
    arrays = {
        "POSITION": (mesh.vertices.astype("<f4"), "VEC3"),
        "NORMAL": (normals.astype("<f4"), "VEC3"),
    }
    if textured and mesh.normal_map is not None:
        arrays["TANGENT"] = (tangents(mesh.vertices, mesh.faces, mesh.uv, normals).astype("<f4"), "VEC4")
    if textured:
        flipped = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1)  # glTF counts v downwards from the top
        arrays["TEXCOORD_0"] = (flipped.astype("<f4"), "VEC2")
    else:
        arrays["COLOR_0"] = (linear_of_srgb(mesh.colors).astype("<f4"), "VEC3")  # glTF: a linear factor
    blocks, views, accessors = [], [], []

    def add(data: bytes, target: int | None) -> int:
        views.append({"buffer": 0, "byteOffset": sum(map(len, blocks)), "byteLength": len(data)})
        if target:
            views[-1]["target"] = target
        blocks.append(data + b"\0" * (-len(data) % 4))
        return len(views) - 1

    primitive: dict[str, Any] = {"attributes": {}, "material": 0, "mode": 4}
    for name, (values, kind) in arrays.items():
        entry = {"bufferView": add(values.tobytes(), ARRAY_BUFFER), "componentType": FLOAT, "type": kind}
        entry["count"] = len(values)
        if name == "POSITION":
            entry |= {"min": values.min(0).tolist(), "max": values.max(0).tolist()}
        primitive["attributes"][name] = len(accessors)
        accessors.append(entry)
    indices = mesh.faces.astype("<u4")
    primitive["indices"] = len(accessors)
    view = add(indices.tobytes(), ELEMENT_ARRAY_BUFFER)
    accessors.append({"bufferView": view, "componentType": UINT, "type": "SCALAR", "count": indices.size})
    surface: dict[str, Any] = {"metallicFactor": mesh.metallic, "roughnessFactor": mesh.roughness}
    material: dict[str, Any] = {"name": "surface", "doubleSided": False, "pbrMetallicRoughness": surface}
    tree: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "img2mv3d", "extras": provenance},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": stem}],
        "meshes": [{"name": stem, "primitives": [primitive]}],
        "materials": [material],
        "accessors": accessors,
        "bufferViews": views,
    }
    if textured:
        surface["baseColorTexture"] = {"index": 0}
        pictures = [mesh.texture]
        if mesh.normal_map is not None:
            material["normalTexture"] = {"index": 1}
            pictures.append(mesh.normal_map)
        tree["images"] = [{"bufferView": add(png(p), None), "mimeType": "image/png"} for p in pictures]
        tree["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        tree["textures"] = [{"sampler": 0, "source": i} for i in range(len(pictures))]
    binary = b"".join(blocks)
    tree["buffers"] = [{"byteLength": len(binary)}]
    text = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(binary), 0x004E4942) + binary
    return {f"{stem}.glb": struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks}


def obj_files(mesh: MeshLike, stem: str, provenance: dict[str, Any]) -> dict[str, bytes]:
    """{name: bytes} of a Wavefront file; with a texture also its material library, with the common additions for
    roughness, metal and normal maps, and its pictures. The obj is last."""
    textured = mesh.texture is not None and mesh.uv is not None
    lines = [f"# img2mv3d {provenance.get('version', '')}".rstrip(), "# +Y up, the front looks to +Z"]
    files: dict[str, bytes] = {}
    if textured:
        files[f"{stem}_color.png"] = png(mesh.texture)
        material = ["newmtl surface", "Ka 1 1 1", "Kd 1 1 1", "Ks 0 0 0", "illum 1", f"map_Kd {stem}_color.png"]
        material += [f"Pr {mesh.roughness:g}", f"Pm {mesh.metallic:g}"]
        if mesh.normal_map is not None:
            files[f"{stem}_normal.png"] = png(mesh.normal_map)
            material.append(f"norm {stem}_normal.png")
        files[f"{stem}.mtl"] = ("\n".join(material) + "\n").encode()
        lines.append(f"mtllib {stem}.mtl")
    if textured:
        lines += [f"v {x:.8g} {y:.8g} {z:.8g}" for x, y, z in mesh.vertices.tolist()]
        lines += [f"vt {u:.8g} {v:.8g}" for u, v in mesh.uv.tolist()]
    else:
        both = np.concatenate([mesh.vertices, mesh.colors / 255], axis=1).tolist()
        lines += [f"v {x:.8g} {y:.8g} {z:.8g} {r:.6f} {g:.6f} {b:.6f}" for x, y, z, r, g, b in both]
    normals = shading_normals(mesh.vertices, mesh.faces)
    lines += [f"vn {x:.6f} {y:.6f} {z:.6f}" for x, y, z in normals.tolist()]
    lines += ["usemtl surface"] if textured else []
    corner = "{0}/{0}/{0}" if textured else "{0}//{0}"
    names = [corner.format(i) for i in range(1, len(mesh.vertices) + 1)]
    lines += [f"f {names[a]} {names[b]} {names[c]}" for a, b, c in mesh.faces.tolist()]
    files[f"{stem}.obj"] = ("\n".join(lines) + "\n").encode()
    return files


def ply_files(mesh: MeshLike, stem: str, provenance: dict[str, Any]) -> dict[str, bytes]:
    """{name: bytes} of a binary little-endian PLY with vertex colours and normals."""
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment img2mv3d {provenance.get('version', '')}".rstrip(),
        "comment +Y up, the front looks to +Z",
        f"element vertex {len(mesh.vertices)}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        f"element face {len(mesh.faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    vertex = np.empty(len(mesh.vertices), [("place", "<f4", 3), ("normal", "<f4", 3), ("color", "u1", 3)])
    vertex["place"], vertex["color"] = mesh.vertices, mesh.colors
    vertex["normal"] = shading_normals(mesh.vertices, mesh.faces)
    face = np.empty(len(mesh.faces), [("count", "u1"), ("corner", "<i4", 3)])
    face["count"], face["corner"] = 3, mesh.faces
    return {f"{stem}.ply": ("\n".join(header) + "\n").encode() + vertex.tobytes() + face.tobytes()}


def stl_files(mesh: MeshLike, stem: str, provenance: dict[str, Any]) -> dict[str, bytes]:
    """{name: bytes} of a binary STL: triangles and nothing else, 32-bit floats."""
    header = f"img2mv3d {provenance.get('version', '')}, millimetres, +Z up"  # must not begin with "solid"
    face = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")])
    normal = face_normals(mesh.vertices, mesh.faces)
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    face["normal"] = normal / np.where(length > 0, length, 1)
    face["corners"] = mesh.vertices[mesh.faces]
    return {f"{stem}.stl": header.encode()[:80].ljust(80) + struct.pack("<I", len(face)) + face.tobytes()}


def linear_of_srgb(srgb: np.ndarray) -> np.ndarray:
    """uint8 sRGB -> float in [0, 1], proportional to light (IEC 61966-2-1); `srgb_of_linear` undoes it."""
    x = srgb / 255.0
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def srgb_of_linear(linear: np.ndarray) -> np.ndarray:
    """Float in [0, 1], proportional to light -> uint8 sRGB."""
    x = np.clip(linear, 0, 1)
    return (np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055) * 255 + 0.5).astype(np.uint8)


def png(texture: np.ndarray) -> bytes:
    """A picture, uint8 [H, W, 3], as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(texture).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()

"""3MF written and read: the core specification and its colour groups. trimesh's reader wants lxml and knows no
colours."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np

from img2mv3d.mesh.arrays import MeshArrays, MeshLike
from img2mv3d.mesh.placement import moved

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
COLOURS = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
MM = {"micron": 1e-3, "millimeter": 1.0, "centimeter": 10.0, "inch": 25.4, "foot": 304.8, "meter": 1000.0}
MAX_MODEL = 1 << 29  # bytes of XML, unpacked
MAX_PARTS = 10_000
MAX_DEPTH = 8  # of objects that are made of objects
DAY = (1980, 1, 1, 0, 0, 0)  # the first that a zip can tell: same mesh, same bytes
TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
)
RELATIONS = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="/3D/3dmodel.model" Id="rel0" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)


def threemf_files(mesh: MeshLike, stem: str, provenance: dict[str, Any]) -> dict[str, bytes]:
    """{name: bytes} of a 3MF with one object and its vertex colours; `mesh` in millimetres, +Z up."""
    colors, which = np.unique(mesh.colors, axis=0, return_inverse=True)
    of_vertex = which.reshape(-1)
    application = quoteattr(f"img2mv3d {provenance.get('version', '')}".rstrip())[1:-1]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<model unit="millimeter" xml:lang="en-US" xmlns="{CORE}" xmlns:m="{COLOURS}">',
        f'<metadata name="Application">{application}</metadata>',
        '<resources><m:colorgroup id="1">',
        *(f'<m:color color="#{r:02X}{g:02X}{b:02X}"/>' for r, g, b in colors.tolist()),
        f'</m:colorgroup><object id="2" name={quoteattr(stem)} type="model" pid="1" pindex="0"><mesh><vertices>',
        *(f'<vertex x="{x:.6f}" y="{y:.6f}" z="{z:.6f}"/>' for x, y, z in mesh.vertices.tolist()),
        "</vertices><triangles>",
        *(
            f'<triangle v1="{a}" v2="{b}" v3="{c}" pid="1" p1="{p}" p2="{q}" p3="{r}"/>'
            for (a, b, c), (p, q, r) in zip(mesh.faces.tolist(), of_vertex[mesh.faces].tolist(), strict=True)
        ),
        '</triangles></mesh></object></resources><build><item objectid="2"/></build></model>',
    ]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        parts = (("[Content_Types].xml", TYPES), ("_rels/.rels", RELATIONS), ("3D/3dmodel.model", "\n".join(lines)))
        for name, text in parts:
            entry = zipfile.ZipInfo(name, DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text.encode(), compresslevel=6)
    return {f"{stem}.3mf": buffer.getvalue()}


def read_threemf(path: Path) -> list[MeshArrays]:
    """The meshes that a 3MF builds, in millimetres and its own axes; middle grey where it tells no colours.

    Raises ValueError (and what zip and XML raise) on anything that is not such a file.
    """
    with zipfile.ZipFile(path) as archive:
        name = next((n for n in archive.namelist() if n.lower().endswith(".model")), None)
        if name is None:
            raise ValueError("no 3D model inside")
        if archive.getinfo(name).file_size > MAX_MODEL:
            raise ValueError(f"its model is larger than {MAX_MODEL >> 20} MiB")
        text = archive.read(name)
    if b"<!DOCTYPE" in text[:4096]:
        raise ValueError("a document type in a 3MF")
    root = ElementTree.fromstring(text)
    scale = np.diag([*[MM[root.get("unit", "millimeter")]] * 3, 1.0])
    groups = {
        group.get("id"): [_color(entry.get("color", "")) for entry in group]
        for group in root.iter(f"{{{COLOURS}}}colorgroup")
    }
    objects = {entry.get("id"): entry for entry in root.iter(f"{{{CORE}}}object")}
    found: list[MeshArrays] = []

    def add(number: str | None, matrix: np.ndarray, depth: int) -> None:
        if depth > MAX_DEPTH or len(found) > MAX_PARTS:
            raise ValueError("objects inside of objects without end")
        entry = objects[number]
        if (body := entry.find(f"{{{CORE}}}mesh")) is not None:
            found.append(_mesh(body, entry, groups, matrix))
        for part in entry.iter(f"{{{CORE}}}component"):
            add(part.get("objectid"), matrix @ _matrix(part.get("transform")), depth + 1)

    for item in root.iter(f"{{{CORE}}}item"):
        add(item.get("objectid"), scale @ _matrix(item.get("transform")), 0)
    return [mesh for mesh in found if len(mesh.faces)]


def _mesh(body: Any, entry: Any, groups: dict[str | None, list[tuple[int, ...]]], matrix: np.ndarray) -> MeshArrays:
    points = [[float(v.get(k)) for k in "xyz"] for v in body.iter(f"{{{CORE}}}vertex")]
    triangles = list(body.iter(f"{{{CORE}}}triangle"))
    faces = np.array([[int(t.get(k)) for k in ("v1", "v2", "v3")] for t in triangles], np.int64).reshape(-1, 3)
    vertices = np.array(points, np.float64).reshape(-1, 3)
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise ValueError("triangles name vertices that do not exist")
    colors = np.full((len(vertices), 3), 128, np.uint8)
    for triangle, corners in zip(triangles, faces.tolist(), strict=True):
        group = groups.get(triangle.get("pid", entry.get("pid")))
        if group:
            first = triangle.get("p1", entry.get("pindex", "0"))
            for corner, key in zip(corners, ("p1", "p2", "p3"), strict=True):
                colors[corner] = group[int(triangle.get(key, first))]
    if np.linalg.det(matrix[:3, :3]) < 0:
        faces = faces[:, ::-1]
    return MeshArrays(moved(vertices, matrix), faces, colors)


def _matrix(text: str | None) -> np.ndarray:
    """3MF tells four rows of three numbers for row vectors; here column vectors are turned."""
    matrix = np.eye(4)
    if text:
        matrix[:3] = np.array([float(word) for word in text.split()]).reshape(4, 3).T
    return matrix


def _color(text: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(text[1:7]))

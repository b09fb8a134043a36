"""USDZ written and read; needs usd-core (the extra `usd`)."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from img2mv3d.errors import UsageError
from img2mv3d.mesh.arrays import MeshArrays, MeshLike, vertex_normals
from img2mv3d.mesh.formats import linear_of_srgb, png, srgb_of_linear
from img2mv3d.mesh.placement import moved

MISSING = "usdz files need usd-core, which is not installed; pip install 'img2mv3d[usd]'"
ALIGNMENT = 64  # bytes; the package's own rule, so that readers can map it into memory
MAX_PACKAGE = 1 << 30  # bytes, unpacked
MAX_PICTURE = 1 << 28  # bytes, packed
DAY = (1980, 1, 1, 0, 0, 0)


def usdz_files(mesh: MeshLike, stem: str, provenance: dict[str, Any]) -> dict[str, bytes]:
    """{name: bytes} of a USDZ: one mesh, one rough material with the texture, else linear vertex colours; `mesh` in
    metres, +Y up. Raises UsageError when usd-core is missing.
    """
    sdf, *_ = _pxr()
    textured = mesh.texture is not None and mesh.uv is not None
    layer = sdf.Layer.CreateAnonymous(".usda")
    if not layer.ImportFromString(_text(mesh, textured, provenance)):
        raise ValueError(f"{stem}: USD does not take its own text")
    with tempfile.TemporaryDirectory() as folder:
        layer.Export(f"{folder}/mesh.usdc")
        files = {"mesh.usdc": Path(folder, "mesh.usdc").read_bytes()}
    if textured:
        files["textures/color.png"] = png(mesh.texture)
    return {f"{stem}.usdz": _packed(files)}


def read_usdz(path: Path) -> list[MeshArrays]:
    """The meshes of a USDZ in metres, +Y up; polygons as fans of triangles, middle grey where there are no colours.

    Raises UsageError when usd-core is missing, and what USD and zip raise on anything that is no such file.
    """
    _, usd, geom, shade = _pxr()
    _check_package(path)
    stage = usd.Stage.Open(str(path))
    inside = f"{path}["  # how USD names what lies in a package
    names = [layer.identifier for layer in stage.GetUsedLayers() if not layer.anonymous]
    if any(name != str(path) and not name.startswith(inside) for name in names):
        raise ValueError("it refers to files outside of itself")
    scale = geom.GetStageMetersPerUnit(stage)
    up = np.eye(4)
    if geom.GetStageUpAxis(stage) == "Z":
        up[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    found = []
    for prim in stage.Traverse():
        if not prim.IsA(geom.Mesh):
            continue
        place = np.array(geom.Xformable(prim).ComputeLocalToWorldTransform(usd.TimeCode.Default())).T
        mesh = _mesh(geom.Mesh(prim), up @ np.diag([scale, scale, scale, 1.0]) @ place)
        if mesh is not None and mesh.uv is not None:
            picture = _picture(path, prim, shade)
            mesh = MeshArrays(mesh.vertices, mesh.faces, mesh.colors, mesh.uv if picture is not None else None, picture)
        found += [] if mesh is None else [mesh]
    return found


def _check_package(path: Path) -> None:
    """USD believes whatever a damaged layer says about its own sizes, so checksums are compared first."""
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_PACKAGE:
            raise ValueError(f"it unpacks to more than {MAX_PACKAGE >> 20} MiB")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it is damaged")


def _pxr() -> tuple[Any, Any, Any, Any]:
    try:
        from pxr import Sdf, Usd, UsdGeom, UsdShade
    except ImportError:
        raise UsageError(MISSING) from None
    return Sdf, Usd, UsdGeom, UsdShade


def _text(mesh: MeshLike, textured: bool, provenance: dict[str, Any]) -> str:
    def tuples(values: np.ndarray) -> str:
        return "[" + ", ".join("(" + ", ".join(f"{x:.9g}" for x in row) + ")" for row in values.tolist()) + "]"

    extent = np.stack([mesh.vertices.min(0), mesh.vertices.max(0)])
    if textured:
        colours = f'texCoord2f[] primvars:st = {tuples(mesh.uv)} (interpolation = "vertex")'
        primvar, kind, source = "st", "float2", "texture.outputs:rgb"
        texture = """
        def Shader "texture"
        {
            uniform token info:id = "UsdUVTexture"
            asset inputs:file = @textures/color.png@
            token inputs:sourceColorSpace = "sRGB"
            token inputs:wrapS = "clamp"
            token inputs:wrapT = "clamp"
            float2 inputs:st.connect = </mesh/surface/reader.outputs:result>
            float3 outputs:rgb
        }"""
    else:
        linear = linear_of_srgb(mesh.colors)
        colours = f'color3f[] primvars:displayColor = {tuples(linear)} (interpolation = "vertex")'
        primvar, kind, source, texture = "displayColor", "float3", "reader.outputs:result", ""
    return f"""#usda 1.0
(
    defaultPrim = "mesh"
    doc = "img2mv3d {provenance.get("version", "")}"
    metersPerUnit = 1
    upAxis = "Y"
)
def Xform "mesh" (kind = "component")
{{
    def Mesh "body" (prepend apiSchemas = ["MaterialBindingAPI"])
    {{
        uniform bool doubleSided = 0
        float3[] extent = {tuples(extent)}
        int[] faceVertexCounts = {[3] * len(mesh.faces)}
        int[] faceVertexIndices = {mesh.faces.reshape(-1).tolist()}
        rel material:binding = </mesh/surface>
        point3f[] points = {tuples(mesh.vertices)}
        normal3f[] normals = {tuples(vertex_normals(mesh.vertices, mesh.faces))} (interpolation = "vertex")
        {colours}
        uniform token subdivisionScheme = "none"
    }}
    def Material "surface"
    {{
        token outputs:surface.connect = </mesh/surface/shader.outputs:surface>
        def Shader "shader"
        {{
            uniform token info:id = "UsdPreviewSurface"
            color3f inputs:diffuseColor.connect = </mesh/surface/{source}>
            float inputs:metallic = 0
            float inputs:roughness = 1
            token outputs:surface
        }}
        def Shader "reader"
        {{
            uniform token info:id = "UsdPrimvarReader_{kind}"
            string inputs:varname = "{primvar}"
            {kind} outputs:result
        }}{texture}
    }}
}}
"""


def _packed(files: dict[str, bytes]) -> bytes:
    """A zip that is only stored, every file's bytes at a multiple of 64."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, DAY)
            pad = -(buffer.tell() + 30 + len(name) + 4) % ALIGNMENT  # 30 bytes of header, 4 of the extra field's own
            entry.extra = b"\x86\x19" + pad.to_bytes(2, "little") + bytes(pad)
            archive.writestr(entry, data)
    return buffer.getvalue()


def _mesh(body: Any, matrix: np.ndarray) -> MeshArrays | None:
    points = np.array(body.GetPointsAttr().Get() or [], np.float64).reshape(-1, 3)
    corners = np.array(body.GetFaceVertexIndicesAttr().Get() or [], np.int64)
    counts = np.array(body.GetFaceVertexCountsAttr().Get() or [], np.int64)
    starts = np.cumsum(counts) - counts
    if counts.sum() != len(corners) or not len(points):
        return None
    if len(corners) and (corners.min() < 0 or corners.max() >= len(points)):
        raise ValueError("faces name points that do not exist")
    uv, colors = (_primvar(body, name, len(points)) for name in ("st", "displayColor"))
    polygons = zip(starts.tolist(), counts.tolist(), strict=True)
    ears = [(start, start + i, start + i + 1) for start, count in polygons for i in range(1, count - 1)]
    faces = corners[np.array(ears, np.int64).reshape(-1, 3)]
    turned = np.linalg.det(matrix[:3, :3]) < 0
    if turned != (str(body.GetOrientationAttr().Get()) == "leftHanded"):
        faces = faces[:, ::-1]
    grey = np.full((len(points), 3), 128, np.uint8)
    return MeshArrays(moved(points, matrix), faces, grey if colors is None else srgb_of_linear(colors), uv)


def _primvar(body: Any, name: str, count: int) -> np.ndarray | None:
    """[count, K] values at the points; None when there are none, or others than one for each."""
    from pxr import UsdGeom

    primvar = UsdGeom.PrimvarsAPI(body.GetPrim()).GetPrimvar(name)
    if not primvar or not primvar.HasValue():
        return None
    found = np.array(primvar.ComputeFlattened(), np.float64)
    if len(found) == 1 and name == "displayColor":
        found = np.repeat(found, count, axis=0)
    return found if len(found) == count else None


def _picture(path: Path, prim: Any, shade: Any) -> np.ndarray | None:
    """uint8 [H, W, 3] behind the bound material's colour, out of the package itself."""
    material, _ = shade.MaterialBindingAPI(prim).ComputeBoundMaterial()
    for inner in material.GetPrim().GetChildren() if material else ():
        shader = shade.Shader(inner)
        if shader and shader.GetIdAttr().Get() == "UsdUVTexture":
            with zipfile.ZipFile(path) as archive:
                name = shader.GetInput("file").Get().path
                if name in archive.namelist() and archive.getinfo(name).file_size <= MAX_PICTURE:
                    return np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
    return None

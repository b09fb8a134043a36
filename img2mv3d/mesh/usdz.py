"""USDZ written and read; needs usd-core (the extra `usd`)."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from img2mv3d.errors import UsageError
from img2mv3d.mesh.arrays import MeshArrays, MeshLike, shading_normals
from img2mv3d.mesh.placement import moved
from img2mv3d.mesh.writers import linear_of_srgb, png, srgb_of_linear

MISSING = "usdz files need usd-core, which is not installed; pip install 'img2mv3d[usd]'"
ALIGNMENT = 64  # bytes; the package's own rule, so that readers can map it into memory
MAX_PACKAGE = 1 << 30  # bytes, unpacked
MAX_PICTURE = 1 << 28  # bytes, packed
ROOM = 3 << 30  # bytes of address space for reading a file of a stranger
PATIENCE = 600.0  # s for the same
STARVED = 2  # exit status of that process
PARTS = ("vertices", "faces", "colors", "uv", "texture")
PICTURE, RELIEF = "textures/color.png", "textures/normal.png"  # in the package
DAY = (1980, 1, 1, 0, 0, 0)


def usdz_files(mesh: MeshLike, stem: str, provenance: dict[str, Any]) -> dict[str, bytes]:
    """{name: bytes} of a USDZ: one mesh, one material with the texture, else linear vertex colours; `mesh` in
    metres, +Y up. Raises UsageError when usd-core is missing.
    """
    picture = mesh.texture if mesh.uv is not None else None
    stage = _stage(mesh, picture is not None, provenance)
    with tempfile.TemporaryDirectory() as folder:
        stage.GetRootLayer().Export(f"{folder}/mesh.usdc")
        files = {"mesh.usdc": Path(folder, "mesh.usdc").read_bytes()}
    if picture is not None:
        files[PICTURE] = png(picture)
        if mesh.normal_map is not None:
            files[RELIEF] = png(mesh.normal_map)
    return {f"{stem}.usdz": _packed(files)}


def read_usdz(path: Path) -> list[MeshArrays]:
    """The meshes of a USDZ in metres, +Y up; polygons as fans of triangles, middle grey where there are no colours.

    Raises UsageError when usd-core is missing, and what USD and zip raise on anything that is no such file.
    """
    usd, geom, shade = _pxr()
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


def read_usdz_apart(path: Path) -> list[MeshArrays]:
    """The same, of a file that may come from anybody: USD believes what a layer says about its own sizes and ends the
    process where it cannot go on, so it reads in one of its own, whose memory is limited where the system can do that.
    """
    _pxr()
    _check_package(path)
    line = [sys.executable, "-c", "from img2mv3d.mesh.usdz import main; main()", str(path.absolute())]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PXR_WORK_THREAD_LIMIT": "1"}
    try:
        done = subprocess.run(line, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise ValueError(f"USD does not come to an end with it in {PATIENCE:.0f} s") from None
    if done.returncode == 1:
        raise ValueError(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    if done.returncode == STARVED:
        raise ValueError(f"USD needs more than {ROOM >> 30} GiB of memory for it")
    if done.returncode:
        raise ValueError("USD breaks down over it")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as held:
        count = len({name.partition(".")[0] for name in held.files})
        return [MeshArrays(*(held.get(f"{i}.{part}") for part in PARTS)) for i in range(count)]


def main() -> None:
    """Read the file that the command line names, and write its meshes to stdout as an npz."""
    _pxr()
    process = psutil.Process()
    if hasattr(process, "rlimit"):  # where the system has such limits
        most = process.memory_info().vms + ROOM
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            process.rlimit(psutil.RLIMIT_AS, (most, most))
    try:
        meshes = read_usdz(Path(sys.argv[1]))
    except MemoryError:
        sys.exit(STARVED)
    except Exception as reason:
        words = " ".join(str(reason).split())
        if "bad_alloc" in words:
            sys.exit(STARVED)
        sys.exit(next(iter(re.findall(r": '(.{1,300}?)'(?: Error in|$)", words)), words[:300]) or type(reason).__name__)
    arrays = {f"{i}.{part}": getattr(mesh, part) for i, mesh in enumerate(meshes) for part in PARTS}
    np.savez(sys.stdout.buffer, **{name: array for name, array in arrays.items() if array is not None})


def _check_package(path: Path) -> None:
    """USD believes whatever a damaged layer says about its own sizes, so checksums are compared first."""
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > MAX_PACKAGE:
            raise ValueError(f"it unpacks to more than {MAX_PACKAGE >> 20} MiB")
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it is damaged")


def _pxr() -> tuple[Any, Any, Any]:
    try:
        from pxr import Usd, UsdGeom, UsdShade
    except ImportError:
        raise UsageError(MISSING) from None
    return Usd, UsdGeom, UsdShade


def _stage(mesh: MeshLike, textured: bool, provenance: dict[str, Any]) -> Any:
    """A stage in memory: the default prim /mesh with the body and its material."""
    usd, geom, shade = _pxr()
    stage = usd.Stage.CreateInMemory()
    stage.GetRootLayer().documentation = f"img2mv3d {provenance.get('version', '')}"
    geom.SetStageUpAxis(stage, geom.Tokens.y)
    geom.SetStageMetersPerUnit(stage, 1.0)
    root = geom.Xform.Define(stage, "/mesh").GetPrim()
    usd.ModelAPI(root).SetKind("component")
    stage.SetDefaultPrim(root)
    body = _add_body(stage, mesh, textured)
    shade.MaterialBindingAPI.Apply(body).Bind(_add_material(stage, mesh, textured))
    return stage


def _add_body(stage: Any, mesh: MeshLike, textured: bool) -> Any:
    """The mesh as a prim, with texture coordinates or linear colours at its vertices."""
    from pxr import Sdf, UsdGeom, Vt

    def vectors(values: np.ndarray) -> Any:
        array = Vt.Vec2fArray if values.shape[1] == 2 else Vt.Vec3fArray
        return array.FromNumpy(np.ascontiguousarray(values, np.float32))

    body = UsdGeom.Mesh.Define(stage, "/mesh/body")
    body.CreatePointsAttr(vectors(mesh.vertices))
    body.CreateExtentAttr(vectors(np.stack([mesh.vertices.min(0), mesh.vertices.max(0)])))
    body.CreateFaceVertexCountsAttr(Vt.IntArray(len(mesh.faces), 3))
    body.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(mesh.faces.astype(np.int32).reshape(-1)))
    body.CreateNormalsAttr(vectors(shading_normals(mesh.vertices, mesh.faces)))
    body.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    body.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    body.CreateDoubleSidedAttr(False)
    if textured:
        name, kind, values = "st", Sdf.ValueTypeNames.TexCoord2fArray, mesh.uv
    else:
        name, kind, values = "displayColor", Sdf.ValueTypeNames.Color3fArray, linear_of_srgb(mesh.colors)
    UsdGeom.PrimvarsAPI(body).CreatePrimvar(name, kind, UsdGeom.Tokens.vertex).Set(vectors(values))
    return body.GetPrim()


def _add_material(stage: Any, mesh: MeshLike, textured: bool) -> Any:
    """A surface whose colour is the texture's, or that of the vertices."""
    from pxr import Sdf, UsdShade

    kinds = Sdf.ValueTypeNames

    def shader(name: str, identifier: str, **inputs: tuple[Any, Any]) -> Any:
        made = UsdShade.Shader.Define(stage, f"/mesh/surface/{name}")
        made.CreateIdAttr(identifier)
        for word, (kind, value) in inputs.items():
            made.CreateInput(word, kind).Set(value)
        return made

    reader = shader(
        "reader",
        "UsdPrimvarReader_float2" if textured else "UsdPrimvarReader_float3",
        varname=(kinds.String, "st" if textured else "displayColor"),
    )
    color = place = reader.CreateOutput("result", kinds.Float2 if textured else kinds.Float3)

    def picture(name: str, file: str, space: str, **inputs: tuple[Any, Any]) -> Any:
        wrap = {"wrapS": (kinds.Token, "clamp"), "wrapT": (kinds.Token, "clamp")}
        told = {"file": (kinds.Asset, file), "sourceColorSpace": (kinds.Token, space), **wrap, **inputs}
        texture = shader(name, "UsdUVTexture", **told)
        texture.CreateInput("st", kinds.Float2).ConnectToSource(place)
        return texture.CreateOutput("rgb", kinds.Float3)

    if textured:
        color = picture("texture", PICTURE, "sRGB")
    surface = shader(
        "shader",
        "UsdPreviewSurface",
        metallic=(kinds.Float, mesh.metallic),
        roughness=(kinds.Float, mesh.roughness),
    )
    if textured and mesh.normal_map is not None:
        coded = {"scale": (kinds.Float4, (2.0, 2.0, 2.0, 2.0)), "bias": (kinds.Float4, (-1.0, -1.0, -1.0, 0.0))}
        relief = picture("texture_normal", RELIEF, "raw", **coded)
        surface.CreateInput("normal", kinds.Normal3f).ConnectToSource(relief)
    surface.CreateInput("diffuseColor", kinds.Color3f).ConnectToSource(color)
    material = UsdShade.Material.Define(stage, "/mesh/surface")
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", kinds.Token))
    return material


def _packed(files: dict[str, bytes]) -> bytes:
    """A zip that is only stored, every file's bytes at a multiple of 64. USD's own packing stamps the time of day."""
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
        if shader and shader.GetIdAttr().Get() == "UsdUVTexture" and inner.GetName() != "texture_normal":
            with zipfile.ZipFile(path) as archive:
                name = shader.GetInput("file").Get().path
                if name in archive.namelist() and archive.getinfo(name).file_size <= MAX_PICTURE:
                    return np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
    return None

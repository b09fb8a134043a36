"""A mesh in every format, seen by other programs' readers: `python -m tests.opened_elsewhere FOLDER` writes the files
and says what trimesh and usd-core make of them; `python tests/opened_elsewhere.py FOLDER open3d` (or bpy, where it is)
goes on with files that were written. The block is 80 mm high and has a tower on one corner, so that lying, mirrored,
bare and wrongly sized meshes are told apart. The table of docs/formats.md is made of these lines.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = ("glb", "obj", "ply", "stl", "3mf", "usdz")
HEIGHT_MM = 80.0


def write(folder: Path) -> dict[str, Any]:
    """block.glb and the others in `folder`, and facts.json: where the tower stands (mm), the file's unit and axis."""
    from dataclasses import replace

    from img2mv3d.mesh.files import write_mesh
    from img2mv3d.plans import ExportOptions
    from img2mv3d.stages.export import export
    from tests.lettered import lettered_block

    world = lettered_block()
    facts: dict[str, Any] = {}
    for name in FORMATS:
        options = ExportOptions(format=name, faces=6_000, texture_size=512)
        mesh = export(world.surface, world.views, world.subject, options=replace(options, elevation_deg=0.0))
        told = write_mesh(mesh, folder / f"block.{name}", height_mm=HEIGHT_MM)
        scale = HEIGHT_MM / np.ptp(mesh.vertices[:, 1])
        shape = mesh.vertices * scale
        facts[name] = {"unit": told["unit"], "up": told["up"], "textured": told["textured"], "tower": tower(shape)}
    (folder / "facts.json").write_text(json.dumps(facts))
    return facts


def tower(points: np.ndarray) -> list[float]:
    """Where the tower's top stands (mm from the middle of the box): elsewhere when it lies or is a mirror image."""
    p = points - (points.max(0) + points.min(0)) / 2
    top = p[p[:, 1] > p[:, 1].max() - 2]
    return [float(v) for v in (top.max(0) + top.min(0)) / 2]


def verdict(points: np.ndarray, mm_per_unit: float, up: str, colors: int, facts: dict[str, Any]) -> str:
    """What a reader's points [N, 3] say against what was written. colors: distinct ones that the reader shows."""
    p = points * mm_per_unit
    world = p if up == "Y" else np.stack([p[:, 0], p[:, 2], -p[:, 1]], axis=1)
    height = np.ptp(world[:, 1])
    right = "right size" if abs(height - HEIGHT_MM) < 0.01 * HEIGHT_MM else f"{height:.4g} mm high"
    same = np.abs(np.array(tower(world)) - facts["tower"]).max() < 3
    stands = "upright, not mirrored" if same else "TURNED OR MIRRORED"
    return f"opens; {stands}; {right}; {'coloured' if colors > 8 else 'no colours'}"


def by_trimesh(path: Path, facts: dict[str, Any]) -> str:
    """As trimesh alone reads it, without our reader."""
    import trimesh

    scene = trimesh.load_scene(path)
    mesh = scene.to_mesh()
    unit = {"m": 1000.0, "mm": 1.0}[facts["unit"]]
    visual = mesh.visual.to_color() if hasattr(mesh.visual, "to_color") else mesh.visual
    return verdict(mesh.vertices, unit, facts["up"], len(np.unique(visual.vertex_colors, axis=0)), facts)


def by_usd(path: Path, facts: dict[str, Any]) -> str:
    """As USD alone reads it."""
    from pxr import Usd, UsdGeom

    stage = Usd.Stage.Open(str(path))
    prim = next(p for p in stage.Traverse() if p.IsA(UsdGeom.Mesh))
    points = np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get(), float)
    textured = any(p.GetTypeName() == "Shader" and "texture" in p.GetName() for p in stage.Traverse())
    unit = 1000 * UsdGeom.GetStageMetersPerUnit(stage)
    return verdict(points, unit, UsdGeom.GetStageUpAxis(stage), 99 if textured else 0, facts)


def by_open3d(path: Path, facts: dict[str, Any]) -> str:
    """As Open3D reads it; a texture counts as colours."""
    import open3d

    if path.suffix in (".usdz", ".3mf"):
        return "not a format of this reader"
    model = open3d.io.read_triangle_model(str(path))
    mesh = model.meshes[0].mesh if model.meshes else open3d.io.read_triangle_mesh(str(path))
    pictures = [m.albedo_img for m in model.materials if m.albedo_img is not None and np.asarray(m.albedo_img).size]
    colors = 99 if pictures else len(np.unique(np.asarray(mesh.vertex_colors), axis=0))
    unit = {"m": 1000.0, "mm": 1.0}[facts["unit"]]
    return verdict(np.asarray(mesh.vertices), unit, facts["up"], colors, facts)


def by_bpy(path: Path, facts: dict[str, Any]) -> str:
    """As Blender imports it: its world is +Z up, in metres; its importers turn +Y up by themselves."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    ops = {
        ".glb": bpy.ops.import_scene.gltf,
        ".obj": bpy.ops.wm.obj_import,
        ".ply": bpy.ops.wm.ply_import,
        ".stl": bpy.ops.wm.stl_import,
        ".usdz": bpy.ops.wm.usd_import,
    }
    if path.suffix not in ops:
        return "not a format of this reader"
    ops[path.suffix](filepath=str(path))
    body = next(o for o in bpy.data.objects if o.type == "MESH")
    bpy.context.view_layer.update()
    place = np.array(body.matrix_world)
    points = np.array([v.co for v in body.data.vertices]) @ place[:3, :3].T + place[:3, 3]
    textured = any(i.size[0] > 8 for i in bpy.data.images) or len(body.data.color_attributes) > 0
    up = facts["up"] if path.suffix == ".ply" else "Z"  # which it takes as it lies
    unit = {"m": 1000.0, "mm": 1.0}[facts["unit"]]
    return verdict(points, unit, up, 99 if textured else 0, facts)


def by_lib3mf(path: Path, facts: dict[str, Any]) -> str:
    """As the 3MF consortium's own library reads it, strictly."""
    import lib3mf

    if path.suffix != ".3mf":
        return "not a format of this reader"
    model = lib3mf.get_wrapper().CreateModel()
    reader = model.QueryReader("3mf")
    reader.SetStrictModeActive(True)
    reader.ReadFromFile(str(path))
    objects = model.GetMeshObjects()
    objects.MoveNext()
    body = objects.GetCurrentMeshObject()
    points = np.array([list(v.Coordinates) for v in body.GetVertices()], float)
    groups = model.GetColorGroups()
    colors = groups.GetCurrentColorGroup().GetCount() if groups.MoveNext() else 0
    return verdict(points, 1.0, "Z", colors, facts)


READERS = {"trimesh": by_trimesh, "usd-core": by_usd, "open3d": by_open3d, "bpy": by_bpy, "lib3mf": by_lib3mf}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[2:] or ["trimesh", "usd-core"]
    known = json.loads((place / "facts.json").read_text()) if len(sys.argv) > 2 else write(place)
    for program in wanted:
        for kind in FORMATS if program != "usd-core" else ("usdz",):
            try:
                line = READERS[program](place / f"block.{kind}", known[kind])
            except Exception as error:
                line = f"FAILS: {type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}"
            print(f"{program} | {kind} | {line}", flush=True)

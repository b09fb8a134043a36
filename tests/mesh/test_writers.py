"""Bytes of mesh files: what glTF's, obj's and ply's rules ask for."""

import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from img2mv3d.mesh.arrays import MeshArrays, shading_normals, tangents, vertex_normals
from img2mv3d.mesh.files import write_mesh
from img2mv3d.mesh.writers import linear_of_srgb, obj_files, ply_files, srgb_of_linear
from tests.balls import ball


def test_the_glb_says_what_glTF_wants(tmp_path: Path) -> None:
    path = tmp_path / "ball.glb"
    write_mesh(ball(True), path, provenance={"bundle": "mini", "seed": 0})
    data = path.read_bytes()
    magic, version, length, text_length, kind = struct.unpack("<IIIII", data[:20])
    assert (magic, version, length, kind) == (0x46546C67, 2, len(data), 0x4E4F534A)
    tree = json.loads(data[20 : 20 + text_length])
    assert tree["asset"]["version"] == "2.0" and tree["asset"]["extras"]["bundle"] == "mini"
    assert tree["asset"]["extras"]["name"] == "img2mv3d" and tree["asset"]["extras"]["version"]
    (material,) = tree["materials"]
    surface = material["pbrMetallicRoughness"]
    assert (surface["metallicFactor"], surface["roughnessFactor"], material["doubleSided"]) == (0.0, 1.0, False)
    assert tree["images"][0]["mimeType"] == "image/png"
    (primitive,) = tree["meshes"][0]["primitives"]
    assert set(primitive["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"}  # COLOR_0 would multiply the texture
    for view in tree["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= tree["buffers"][0]["byteLength"]


def test_vertex_colours_of_a_glb_are_linear(tmp_path: Path) -> None:
    mesh = ball()
    write_mesh(mesh, tmp_path / "ball.glb")
    raw = next(iter(trimesh.load_scene(tmp_path / "ball.glb", process=False).geometry.values()))
    stored = np.asarray(raw.visual.vertex_attributes["color"])
    np.testing.assert_allclose(stored, linear_of_srgb(mesh.colors), atol=1e-6)
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(srgb_of_linear(linear_of_srgb(levels)), levels)


def test_the_obj_names_its_material_and_the_material_its_picture() -> None:
    files = obj_files(ball(True), "ball", {"version": "1"})
    assert list(files) == ["ball_color.png", "ball.mtl", "ball.obj"]
    assert b"Pr 1\nPm 0\n" in files["ball.mtl"]
    assert b"mtllib ball.mtl\n" in files["ball.obj"] and b"map_Kd ball_color.png\n" in files["ball.mtl"]
    assert list(obj_files(ball(), "ball", {})) == ["ball.obj"]


def test_the_ply_is_as_long_as_its_header_says() -> None:
    mesh = ball()
    data = ply_files(mesh, "ball", {})["ball.ply"]
    header, _, body = data.partition(b"end_header\n")
    assert b"element vertex %d\n" % len(mesh.vertices) in header
    assert len(body) == len(mesh.vertices) * (6 * 4 + 3) + len(mesh.faces) * (1 + 3 * 4)


def relieved() -> MeshArrays:
    """A ball with a texture and a normal map that leans everything a little to the right."""
    mesh = ball(True)
    return replace(mesh, normal_map=np.full_like(mesh.texture, (160, 128, 250)), roughness=0.3, metallic=0.8)


def test_roughness_metal_and_normal_map_are_read_back(tmp_path: Path) -> None:
    mesh = relieved()
    write_mesh(mesh, tmp_path / "ball.glb")
    scene = trimesh.load_scene(tmp_path / "ball.glb", process=False)
    material = next(iter(scene.geometry.values())).visual.material
    assert (material.roughnessFactor, material.metallicFactor) == (0.3, 0.8)
    np.testing.assert_array_equal(np.asarray(material.normalTexture.convert("RGB")), mesh.normal_map)
    write_mesh(mesh, tmp_path / "ball.obj")
    said = (tmp_path / "ball.mtl").read_text()
    assert "Pr 0.3\nPm 0.8\nnorm ball_normal.png\n" in said
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "ball_normal.png")), mesh.normal_map)


def test_shading_knows_no_seams_of_the_texture() -> None:
    mesh = ball()
    soup = mesh.vertices[mesh.faces].reshape(-1, 3)
    alone = np.arange(len(soup)).reshape(-1, 3)
    np.testing.assert_allclose(
        shading_normals(soup, alone), vertex_normals(mesh.vertices, mesh.faces)[mesh.faces.ravel()], atol=1e-9
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_tangents_point_along_u_and_the_bitangent_up(mirrored: bool) -> None:
    mesh = ball(True)
    front = mesh.faces[(mesh.vertices[mesh.faces][..., 2] > 0).all(1)]  # where x and y are a chart
    uv = mesh.uv * [-1, 1] if mirrored else mesh.uv
    normals = vertex_normals(mesh.vertices, mesh.faces)
    used = np.unique(front)
    tangent = tangents(mesh.vertices, front, uv, normals)[used]
    np.testing.assert_allclose(np.linalg.norm(tangent[:, :3], axis=1), 1)
    np.testing.assert_allclose((tangent[:, :3] * normals[used]).sum(1), 0, atol=1e-9)
    across = np.cross(normals[used], tangent[:, :3]) * tangent[:, 3:]
    middle = normals[used, 2] > 0.6
    assert ((tangent[:, 0] < 0) == mirrored)[middle].all() and (across[middle, 1] > 0.5).all()


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Khronos's validator lies: NODE_PATH, else fetched with npm."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    if (Path(os.environ.get("NODE_PATH", "none")) / "gltf-validator").is_dir():
        return Path(os.environ["NODE_PATH"])
    folder = tmp_path_factory.mktemp("node")
    words = ["npm", "install", "--silent", "--no-audit", "--no-fund", "gltf-validator@2.0.0-dev.3.10"]
    if subprocess.run(words, cwd=folder, capture_output=True).returncode:
        pytest.skip("npm cannot fetch gltf-validator here")
    return folder / "node_modules"


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [ball(), ball(True), relieved()], ids=["colours", "texture", "normal map"])
@pytest.mark.parametrize("size", [{}, {"size_mm": 80.0}])
def test_khronos_validator_finds_nothing(
    mesh: MeshArrays, size: dict[str, float], tmp_path: Path, node_modules: Path
) -> None:
    told = {"settings": {"export": {"faces": 20_000}}, "seed": 7, "weights": [{"name": "mini", "licence": None}]}
    write_mesh(mesh, tmp_path / "ball.glb", provenance=told, **size)
    words = ["node", Path(__file__).with_name("gltf_validate.cjs"), tmp_path / "ball.glb"]
    environment = {**os.environ, "NODE_PATH": str(node_modules)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    issues = json.loads(done.stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]

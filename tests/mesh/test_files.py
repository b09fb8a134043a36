"""Files of meshes: what is written is read, broken files are refused in one line, failures leave nothing behind."""

import errno
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from img2mv3d.errors import DepthError, InputError, ResourceError, UsageError
from img2mv3d.mesh import files
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.extract import volume
from img2mv3d.mesh.files import read_mesh, write_mesh
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.mesh.placement import moved
from tests.balls import WRITABLE, ball

FUZZED = ("glb", "obj", "ply", "stl", "3mf")  # usdz is read by usd-core alone


@pytest.mark.parametrize("format", WRITABLE)
@pytest.mark.parametrize("textured", [False, True])
def test_what_is_written_is_read(format: str, textured: bool, tmp_path: Path) -> None:
    mesh = ball(textured)
    facts = write_mesh(mesh, tmp_path / f"ball.{format}")
    again = read_mesh(tmp_path / f"ball.{format}")
    rule, world_from_file = FORMATS[format], np.linalg.inv(facts["file_from_world"])
    corners = moved(again.vertices[again.faces.ravel()], world_from_file)
    np.testing.assert_allclose(corners, mesh.vertices[mesh.faces.ravel()], atol=2e-6)
    assert facts["volume"] == pytest.approx(volume(again.vertices, again.faces), rel=1e-4) and facts["volume"] > 0
    np.testing.assert_allclose(facts["box"], [again.vertices.min(0), again.vertices.max(0)], atol=2e-5)
    if rule.shared:
        np.testing.assert_array_equal(again.faces, mesh.faces)
    if not rule.colors:
        assert again.texture is None and (again.colors == 128).all()
    elif textured and rule.texture:
        np.testing.assert_array_equal(again.texture, mesh.texture)
        np.testing.assert_allclose(again.uv, mesh.uv, atol=1e-6)
    else:
        np.testing.assert_array_equal(again.colors, mesh.colors)
        assert again.texture is None
    assert sorted(os.listdir(tmp_path)) == facts["files"]


@pytest.mark.parametrize("format", WRITABLE)
def test_equal_meshes_give_equal_bytes_whatever_the_folder(format: str, tmp_path: Path) -> None:
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        facts = write_mesh(ball(True), tmp_path / folder / f"mesh.{format}")
        contents.append([(tmp_path / folder / name).read_bytes() for name in facts["files"]])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mesh.glb"
    write_mesh(ball(), path)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "write":
        monkeypatch.setattr(files, "_write_synced", full)
    else:
        monkeypatch.setattr(files.os, where, full)
    with pytest.raises(ResourceError, match=r"mesh.glb: cannot be written \(No space left"):
        write_mesh(ball(True), path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["mesh.glb"] and path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_mesh(ball(), tmp_path / "missing" / "mesh.glb")
    with pytest.raises(UsageError, match="choose glb, obj, ply"):
        write_mesh(ball(), tmp_path / "mesh.fbx")
    with pytest.raises(UsageError, match="without ending"):
        write_mesh(ball(), tmp_path / "mesh")
    write_mesh(ball(), tmp_path / "mesh", "ply")
    assert (tmp_path / "mesh").read_bytes()[:3] == b"ply"


def mirrored(mesh: MeshArrays) -> MeshArrays:
    return replace(mesh, vertices=mesh.vertices * [-1, 1, 1])


def inside_out(mesh: MeshArrays) -> MeshArrays:
    return replace(mesh, faces=mesh.faces[:, ::-1])


def one_face_less(mesh: MeshArrays) -> MeshArrays:
    return replace(mesh, faces=mesh.faces[1:])


def other_colours(mesh: MeshArrays) -> MeshArrays:
    return replace(mesh, colors=255 - mesh.colors)


@pytest.mark.parametrize("format", WRITABLE)
@pytest.mark.parametrize("damage", [mirrored, inside_out, one_face_less, other_colours])
def test_a_file_that_says_something_else_gets_no_name(
    damage: object, format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if damage is other_colours and not FORMATS[format].colors:
        pytest.skip("a format without colours")
    writer = files.WRITERS[format]
    monkeypatch.setitem(files.WRITERS, format, lambda mesh, stem, facts: writer(damage(mesh), stem, facts))
    with pytest.raises(ResourceError, match="differ from what was written"):
        write_mesh(ball(), tmp_path / f"mesh.{format}")
    assert os.listdir(tmp_path) == []


def test_a_truncated_file_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = files.WRITERS["glb"]
    cut = lambda mesh, stem, facts: {k: v[: len(v) // 2] for k, v in writer(mesh, stem, facts).items()}  # noqa: E731
    monkeypatch.setitem(files.WRITERS, "glb", cut)
    with pytest.raises(ResourceError, match="read back"):
        write_mesh(ball(), tmp_path / "mesh.glb")
    assert os.listdir(tmp_path) == []


OBJ = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"
TETRAHEDRON = "f 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"
BROKEN = {
    "missing.obj": None,
    "empty.obj": "",
    "text.glb": "hello",
    "points.obj": OBJ,
    "one.obj": OBJ + "f 1 2 3\n",
    "nan.obj": OBJ.replace("v 1 0 0", "v nan 0 0") + TETRAHEDRON,
    "inf.obj": OBJ.replace("v 1 0 0", "v inf 0 0") + TETRAHEDRON,
    "flat.obj": "v 0 0 0\nv 0 0 0\nv 0 0 0\nv 0 0 0\n" + TETRAHEDRON,
    "line.obj": "v 0 0 0\nv 1 0 0\nv 2 0 0\nv 3 0 0\n" + TETRAHEDRON,
    "index.obj": OBJ + TETRAHEDRON.replace("4", "9"),
    "huge.obj": OBJ.replace("1", "1e300") + TETRAHEDRON,
    "what.blend": "hello",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if BROKEN[name] is not None:
        path.write_text(BROKEN[name])
    with pytest.raises(DepthError) as caught:
        read_mesh(path, DepthError)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tetrahedron_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "ok.obj"
    path.write_text(OBJ + TETRAHEDRON)
    mesh = read_mesh(path)
    assert len(mesh.faces) == 4 and volume(mesh.vertices, mesh.faces) == pytest.approx(1 / 6)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(FUZZED), st.integers(0, 2**31), st.integers(1, 8))
def test_random_damage_is_an_input_error_or_a_mesh(format: str, seed: int, count: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mesh.{format}"
        write_mesh(ball(True), path)
        data, rng = bytearray(path.read_bytes()), np.random.default_rng(seed)
        for _ in range(count):
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data) + 1)] if seed % 2 else data)
        try:
            mesh = read_mesh(path)
        except InputError:
            return
        assert np.isfinite(mesh.vertices).all() and mesh.faces.max() < len(mesh.vertices)


def test_parts_of_a_scene_stand_at_their_places(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for x in (-1.0, 1.0):
        box = trimesh.creation.box((0.5, 0.5, 0.5))
        scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([x, 0, 0]))
    turned = np.diag([-1.0, 1, 1, 1])  # a mirrored part must not come inside out
    scene.add_geometry(trimesh.creation.box((0.2, 0.2, 0.2)), transform=turned)
    scene.export(tmp_path / "scene.glb")
    mesh = read_mesh(tmp_path / "scene.glb")
    np.testing.assert_allclose([mesh.vertices.min(0)[0], mesh.vertices.max(0)[0]], [-1.25, 1.25])
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(2 * 0.125 + 0.008)


@pytest.mark.parametrize("name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression"])
def test_a_compressed_file_is_called_so(tmp_path: Path, name: str) -> None:
    tree = json.dumps({"asset": {"version": "2.0"}, "extensionsRequired": [name], "meshes": []}).encode()
    tree += b" " * (-len(tree) % 4)
    head = struct.pack("<III", 0x46546C67, 2, 20 + len(tree)) + struct.pack("<II", len(tree), 0x4E4F534A)
    (tmp_path / "a.glb").write_bytes(head + tree)
    with pytest.raises(InputError, match=r"compressed with (Draco|meshopt).*without compression"):
        read_mesh(tmp_path / "a.glb")

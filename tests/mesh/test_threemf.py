"""3MF: our reader and another's agree about our files; what the format allows and we do not write is read, too."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from img2mv3d.errors import InputError
from img2mv3d.mesh.extract import volume
from img2mv3d.mesh.files import read_mesh
from img2mv3d.mesh.placement import place
from img2mv3d.mesh.threemf import CORE, read_threemf, threemf_files
from tests.balls import ball

BODY = (
    '<mesh><vertices><vertex x="0" y="0" z="0"/><vertex x="1" y="0" z="0"/><vertex x="0" y="1" z="0"/>'
    '<vertex x="0" y="0" z="1"/></vertices><triangles><triangle v1="0" v2="2" v3="1"/><triangle v1="0" v2="1" v3="3"/>'
    '<triangle v1="1" v2="2" v3="3"/><triangle v1="2" v2="0" v3="3"/></triangles></mesh>'
)
PARTS = '<components><component objectid="1"/></components>'


def packed(path: Path, model: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("3D/3dmodel.model", model)
    return path


def model(objects: str, build: str, unit: str = "millimeter") -> str:
    return f'<model unit="{unit}" xmlns="{CORE}"><resources>{objects}</resources><build>{build}</build></model>'


def test_trimesh_reads_the_same(tmp_path: Path) -> None:
    pytest.importorskip("lxml", reason="trimesh reads 3mf with lxml only")
    mesh, _ = place(ball(), "3mf")
    path = tmp_path / "ball.3mf"
    path.write_bytes(threemf_files(mesh, "ball", {"version": "1"})["ball.3mf"])
    scene = trimesh.load_scene(path, process=False)
    (theirs,) = scene.geometry.values()
    (ours,) = read_threemf(path)
    for vertices, faces in ((theirs.vertices, theirs.faces), (ours.vertices, ours.faces)):
        np.testing.assert_allclose(vertices, mesh.vertices, atol=1e-6)
        np.testing.assert_array_equal(faces, mesh.faces)
    assert scene.units == "millimeter"
    np.testing.assert_array_equal(ours.colors, mesh.colors)


def test_units_places_and_objects_made_of_objects_are_read(tmp_path: Path) -> None:
    objects = f'<object id="1">{BODY}</object><object id="2"><components>'
    objects += '<component objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"/></components></object>'
    build = '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 5 0 0"/><item objectid="2"/>'
    mesh = read_mesh(packed(tmp_path / "two.3mf", model(objects, build, "centimeter")))
    assert len(mesh.faces) == 8 and mesh.vertices.max(0)[0] == 60 and mesh.vertices.min(0)[0] == -10
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(2 * 1000 / 6)  # the mirrored one is not inside out


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("loop", model(f'<object id="1">{PARTS}</object>', '<item objectid="1"/>')),
        ("unit", model(f'<object id="1">{BODY}</object>', '<item objectid="1"/>', "parsec")),
        ("nobody", model("", '<item objectid="1"/>')),
        ("nothing", model("", "")),
        ("index", model(f'<object id="1">{BODY}</object>', '<item objectid="1"/>').replace('v1="0"', 'v1="9"')),
        ("entities", "<!DOCTYPE a [<!ENTITY a 'b'>]>" + model(f'<object id="1">{BODY}</object>', "")),
        ("words", "hello"),
    ],
)
def test_what_is_no_3mf_is_refused_in_one_line(name: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_mesh(packed(tmp_path / f"{name}.3mf", text))
    assert f"{name}.3mf" in str(caught.value) and "\n" not in str(caught.value)

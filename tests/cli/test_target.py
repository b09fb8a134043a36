"""-o with the name of a mesh file, and flags that nothing remembers."""

import json

import pytest

from img2mv3d.cli.target import put, target_of
from img2mv3d.errors import UsageError
from tests.cli.conftest import Run
from tests.conftest import Workshop


def test_o_with_a_mesh_s_ending_is_a_file(img2mv3d: Run, workshop: Workshop) -> None:
    result = img2mv3d("run", "photo.png", "-o", "cars/car.obj")
    assert result.exit_code == 0 and result.stdout.strip() == str(workshop.folder / "cars" / "car.obj")
    assert (workshop.folder / "cars" / "car.obj").read_bytes() == (workshop.out / "mesh.obj").read_bytes()
    result = img2mv3d("export", "out", "-o", "car.ply")
    assert (workshop.folder / "car.ply").is_file() and result.exit_code == 0


def test_o_without_such_an_ending_is_a_folder(img2mv3d: Run, workshop: Workshop) -> None:
    assert img2mv3d("run", "photo.png", "-o", "car.v2").exit_code == 0
    assert (workshop.folder / "car.v2" / "mesh.glb").is_file()
    (workshop.folder / "old.obj").mkdir()
    assert img2mv3d("run", "photo.png", "-o", "old.obj").exit_code == 0
    assert (workshop.folder / "old.obj" / "mesh.glb").is_file()


def test_a_file_that_was_there_gets_another_name(img2mv3d: Run, workshop: Workshop) -> None:
    (workshop.folder / "car.glb").write_bytes(b"precious")
    result = img2mv3d("run", "photo.png", "-o", "car.glb")
    assert "car.previous-1.glb" in result.stderr
    assert (workshop.folder / "car.previous-1.glb").read_bytes() == b"precious"
    img2mv3d("run", "photo.png", "-o", "car.glb")
    assert not (workshop.folder / "car.previous-2.glb").exists()  # the same bytes


def test_a_file_that_names_its_neighbours_names_the_new_ones(workshop: Workshop) -> None:
    out = workshop.folder / "out"
    out.mkdir()
    (out / "mesh.obj").write_bytes(b"mtllib mesh.mtl\nv 0 0 0\n")
    (out / "mesh.mtl").write_bytes(b"newmtl surface\nmap_Kd mesh_color.png\n")
    (out / "mesh_color.png").write_bytes(b"picture")
    (out / "mesh.json").write_text(json.dumps({"files": ["mesh.mtl", "mesh.obj", "mesh_color.png"]}))
    put(out / "mesh.obj", workshop.folder / "car.obj", lambda line: None)
    assert (workshop.folder / "car.obj").read_bytes().startswith(b"mtllib car.mtl\n")
    assert b"map_Kd car_color.png\n" in (workshop.folder / "car.mtl").read_bytes()
    assert (workshop.folder / "car_color.png").read_bytes() == b"picture"


def test_impossible_files_are_refused(img2mv3d: Run, workshop: Workshop) -> None:
    with pytest.raises(UsageError, match="no mesh is made here"):
        target_of({"out": "car.obj"}, "decode")
    with pytest.raises(UsageError, match="different things"):
        target_of({"out": "car.obj", "format": "stl"}, "export")
    (workshop.folder / "b.png").write_bytes(b"b")
    result = img2mv3d("run", "photo.png", "b.png", "-o", "car.obj")
    assert result.exit_code == 2 and "several photos need a folder" in result.stderr


def test_an_export_remembers_nothing_of_an_earlier_one(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png", "--seed", "3")
    img2mv3d("export", "--format", "3mf", "--size", "80mm")
    assert (workshop.out / "mesh.3mf").is_file()
    result = img2mv3d("export", "--elevation", "20", "--up", "z")
    assert result.stdout.strip().endswith("mesh.glb")
    export = json.loads((workshop.out / "run.json").read_text())["settings"]["export"]
    assert export["size_mm"] is None and export["elevation_deg"] == 20.0


def test_what_a_run_s_record_stands_in_for_is_said(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png", "--seed", "3", "--device", "cpu")
    assert "made: --seed 3\n" in img2mv3d("run", "--from", "out").stderr
    assert "made:" not in img2mv3d("run", "--from", "out", "--seed", "3").stderr

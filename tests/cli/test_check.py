"""`img2mv3d check`: table, JSON, exit status, and a copy that is never the original."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from img2mv3d.cli.app import app
from img2mv3d.cli.check import default_unit
from img2mv3d.mesh.files import read_mesh, write_mesh
from tests.balls import ball


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, words)], prog_name="img2mv3d")


def holed(path: Path, **size: float) -> Path:
    write_mesh(replace(ball(), faces=ball().faces[3:]), path, **size)
    return path


def test_a_sound_file_is_status_0_and_a_table(tmp_path: Path) -> None:
    write_mesh(ball(True), tmp_path / "ball.glb", size_mm=80.0)
    result = run(tmp_path / "ball.glb", "--printable")
    assert result.exit_code == 0 and "80 x 57.143 x 68.571" in result.stdout and "watertight" in result.stdout
    assert result.stdout.isascii()  # no boxes where it is piped
    told = json.loads(run(tmp_path / "ball.glb", "--json").stdout)
    assert told["sound"] and told["repaired"] is None and told["box_mm"] == [80, 57.143, 68.571]


def test_a_hole_is_status_6_and_says_what_to_do(tmp_path: Path) -> None:
    result = run(holed(tmp_path / "ball.stl"))
    assert (
        result.exit_code == 6
        and "--repair writes a repaired copy" in result.stderr
        and "boundary edges" in result.stdout
    )
    assert len(result.stderr.splitlines()) == 1 and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("format", ["stl", "3mf", "glb", "ply"])
@pytest.mark.parametrize("switch", ["--repair", "--printable"])
def test_the_mended_copy_stands_beside_the_original_at_its_place(format: str, switch: str, tmp_path: Path) -> None:
    path = holed(tmp_path / f"ball.{format}")
    before = path.read_bytes()
    result = run(path, switch)
    copy = tmp_path / f"ball_repaired.{format}"
    assert result.exit_code == 0 and result.stdout.splitlines()[-1] == str(copy) and path.read_bytes() == before
    assert run(copy).exit_code == 0
    old, new = read_mesh(path), read_mesh(copy)
    assert abs(old.vertices.min(0) - new.vertices.min(0)).max() < 1e-4
    run(path, switch)
    assert (tmp_path / f"ball_repaired2.{format}").exists()


def test_what_cannot_be_printed_is_told_why(tmp_path: Path) -> None:
    write_mesh(ball(), tmp_path / "tiny.stl", size_mm=1.0)
    assert run(tmp_path / "tiny.stl").exit_code == 0
    result = run(tmp_path / "tiny.stl", "--printable")
    assert result.exit_code == 6 and "0.8 mm are needed: make it larger" in result.stderr
    assert run(tmp_path / "tiny.stl", "--printable", "--unit", "cm").exit_code == 0
    assert run(tmp_path / "tiny.stl", "--unit", "yd").exit_code == 2
    assert run(tmp_path / "none.stl").exit_code == 3


def test_the_verdict_is_for_the_size_that_is_told(tmp_path: Path) -> None:
    write_mesh(ball(), tmp_path / "ball.glb")  # 1.4 m wide, 1 m high
    words = {
        (): "prints: closed, one shell, thinnest wall 980 mm at the middle",
        ("--size", "14mm"): "thinnest wall 9.9 mm at the middle",
        ("--height", "20mm"): "thinnest wall 20 mm at the middle",
    }
    for told, said in words.items():
        result = run(tmp_path / "ball.glb", "--printable", *told)
        assert result.exit_code == 0 and said in result.stdout, result.output
    small = run(tmp_path / "ball.glb", "--printable", "--size", "1mm", "--json")
    told = json.loads(small.stdout)
    assert (
        small.exit_code == 6 and not told["prints"] and told["verdict"].startswith("does not print: its thinnest wall")
    )
    both = run(tmp_path / "ball.glb", "--size", "14mm", "--unit", "cm")
    assert both.exit_code == 2 and "exclude each other" in both.stderr


def test_printers_formats_are_millimetres() -> None:
    assert [default_unit(Path(f"a.{end}")) for end in ("stl", "3MF", "glb", "ply")] == ["mm", "mm", "m", "m"]

"""Two meshes' files against each other: equal, moved along and across the line of sight, and wrong input."""

import json
from pathlib import Path

import pytest
import trimesh
from typer.testing import CliRunner

from img2mv3d.cli.app import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An egg, and the same moved by a tenth of its height to the side or towards the viewer."""
    place = tmp_path_factory.mktemp("meshes")
    egg = trimesh.creation.icosphere(subdivisions=3)
    egg.vertices = egg.vertices * [0.5, 0.7, 0.4]
    egg.export(place / "egg.glb")
    for name, move in (("aside", [0.14, 0, 0]), ("nearer", [0, 0, 0.14])):
        other = egg.copy()
        other.vertices = other.vertices + move
        other.export(place / f"{name}.ply")
    return place


def measured(*arguments: str) -> dict[str, float]:
    found = CliRunner().invoke(app, ["eval", "mesh", *arguments])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout.splitlines()[-1])


def test_a_mesh_is_itself(folder: Path) -> None:
    found = measured(str(folder / "egg.glb"), str(folder / "egg.glb"))
    assert found["f_02"] == 1 and found["volume_iou"] == 1 and found["outline_iou"] == 1 and found["chamfer"] < 0.005


def test_a_shift_counts_unless_it_is_along_the_line_of_sight_and_forgiven(folder: Path) -> None:
    truth = str(folder / "egg.glb")
    aside, nearer = (measured(str(folder / f"{name}.ply"), truth) for name in ("aside", "nearer"))
    assert aside["volume_iou"] < 0.75 and nearer["volume_iou"] < 0.75
    assert measured(str(folder / "nearer.ply"), truth, "--shift")["volume_iou"] > 0.97
    assert measured(str(folder / "aside.ply"), truth, "--shift")["volume_iou"] < 0.75


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["egg.glb"], "PREDICTED TRUTH"), (["egg.glb", "none.glb"], "none.glb"), ([".", "--shift"], "two files")],
)
def test_what_is_missing_is_said(
    arguments: list[str], says: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    found = CliRunner().invoke(app, ["eval", "mesh", *arguments])
    assert found.exit_code != 0 and says in found.output

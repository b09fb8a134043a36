"""`run --dry-run` says what a run would take, and takes nothing."""

import pytest
from typer.testing import CliRunner

from img2mv3d.bundles.forecast import Need
from img2mv3d.cli.app import app
from img2mv3d.cli.dry import remembered
from img2mv3d.flow.graph import STAGES
from tests.toys import toy_bundle


def test_every_stage_is_foretold_and_nothing_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy_bundle(tmp_path / "toy")
    words = ["run", "photo.png", "--dry-run", "--bundle", "toy", "--steps", "7", "--vram", "8G"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [*STAGES, "all"] and "7 steps" in lines[2]
    assert all(" s " in line and " GB " in line for line in lines[1:])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["toy"]


def test_a_card_that_is_too_small_is_one_line(tmp_path):
    toy_bundle(tmp_path / "toy")
    words = ["run", "photo.png", "--dry-run", "--bundle", str(tmp_path / "toy"), "--vram", "1k"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 4 and result.stderr.startswith("error: generate needs")


def test_what_was_counted_once_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("IMG2MV3D_CACHE", str(tmp_path / "cache"))
    need = Need("generate", 1, 2, 3.0, "2 steps")
    found = remembered(("a",), lambda: ([need], 7))
    assert remembered(("a",), lambda: pytest.fail("counted again")) == found == ([need], 7)
    assert remembered(("b",), lambda: ([], 8)) == ([], 8)
    for path in (tmp_path / "cache" / "forecast").iterdir():
        path.write_text("broken")
    assert remembered(("a",), lambda: ([], 9)) == ([], 9)

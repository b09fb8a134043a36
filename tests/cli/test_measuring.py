"""What the measuring commands are told is checked before anything is read; old words still mean the same."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from img2mv3d.cli import measuring
from img2mv3d.cli.app import app


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["eval", *(str(w) for w in words)], prog_name="img2mv3d")


def refused(*words: object) -> str:
    result = call(*words)
    assert result.exit_code != 0, result.output
    return result.stderr


def test_what_cannot_be_meant_is_refused(tmp_path: Path):
    assert "half" in refused("consistency", tmp_path, "--condition", "half")
    assert "--rerender" in refused("consistency", tmp_path, "--condition", "clean", "--rerender")
    assert "--meshes" in refused("consistency", tmp_path, "--condition", "generated", "--meshes", tmp_path)
    assert "no renders" in refused("consistency", tmp_path)
    assert "dtu" in refused("protocol", "dtu", tmp_path)
    for words in (("protocol", "val"), ("views",), ("mesh",)):
        assert "no corpus" in refused(*words, tmp_path)


def test_old_words_still_mean_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "index.tsv").touch()
    asked = []
    monkeypatch.setattr(measuring, "consistency", lambda *told: asked.append((told[3], told[5])))
    monkeypatch.setattr(measuring, "protocol", lambda *told: asked.append((told[0], told[4])))
    call("consistency", tmp_path, "--arm", "a=b", "--method", "c", "--setting", "spoilt")
    call("consistency", tmp_path)
    call("protocol", "gso30", tmp_path, "--arm", "x")
    assert asked == [(["c", "a=b"], ["perturbed"]), ([], ["clean", "perturbed"]), ("gso30", ["x"])]
    assert "--arm" not in call("consistency", "--help").output and "spoilt" not in call("consistency", "--help").output

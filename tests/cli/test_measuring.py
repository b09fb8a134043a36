"""What the measuring commands are told is checked before anything is read."""

from pathlib import Path

import pytest

from img2mv3d.cli.measuring import Settings, eval_consistency, eval_protocol
from img2mv3d.errors import InputError, UsageError


def test_settings_and_options_that_cannot_be_meant_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="--rerender"):
        eval_consistency(tmp_path, setting=list(map(Settings, ["exact"])), rerender=True)
    with pytest.raises(UsageError, match="--meshes"):
        eval_consistency(tmp_path, setting=list(map(Settings, ["generated"])), meshes=tmp_path)
    with pytest.raises(UsageError, match="--zooms"):
        eval_consistency(tmp_path, setting=list(map(Settings, ["generated"])), zooms=1)
    with pytest.raises(UsageError, match="--soften"):
        eval_consistency(tmp_path, setting=list(map(Settings, ["generated"])), soften="plain")
    with pytest.raises(InputError, match="no renders"):
        eval_consistency(tmp_path, setting=list(map(Settings, ["generated"])))


def test_only_what_is_asked_for_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    from img2mv3d.eval import consistency as by_truth
    from img2mv3d.eval import ownfit
    from img2mv3d.eval import zooms as pictures

    (tmp_path / "index.tsv").touch()
    asked = []
    monkeypatch.setattr(by_truth, "compare", lambda *told, **more: asked.append(("truth", told[-1])) or "A")
    monkeypatch.setattr(ownfit, "compare", lambda *told, **more: asked.append(("own", told[-1])) or "B")
    monkeypatch.setattr(pictures, "compare", lambda *told: asked.append(("zooms", told[4], told[5])))
    eval_consistency(tmp_path, setting=list(map(Settings, ["exact", "spoilt"])))
    eval_consistency(tmp_path, setting=list(map(Settings, ["generated"])))
    eval_consistency(tmp_path, setting=list(map(Settings, ["spoilt", "generated"])), rerender=True)
    eval_consistency(tmp_path, setting=list(map(Settings, ["spoilt"])), zooms=3)
    assert asked == [
        ("truth", ["exact", "spoilt"]),
        ("own", ["generated"]),
        ("truth", ["spoilt"]),
        ("own", ["spoilt", "generated"]),
        ("zooms", 3, ["spoilt"]),
        ("truth", ["spoilt"]),
    ]
    assert capsys.readouterr().out.split() == ["A", "B", "A", "B", "A"]


def test_a_protocol_wants_its_meshes(tmp_path: Path):
    with pytest.raises(InputError, match="no corpus"):
        eval_protocol("val", tmp_path)

"""What the measuring commands are told is checked before anything is read."""

from pathlib import Path

import pytest

from img2mv3d.cli import tables
from img2mv3d.errors import InputError, UsageError


def consistency(
    data: Path, settings: list[str], rerender: bool = False, meshes: Path | None = None, zooms: int = 0
) -> None:
    tables.consistency(data, data / "out", "mini", [], 1, settings, rerender, meshes, zooms)


def test_settings_and_options_that_cannot_be_meant_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="--setting half"):
        consistency(tmp_path, ["half"])
    with pytest.raises(UsageError, match="--rerender"):
        consistency(tmp_path, ["exact"], rerender=True)
    with pytest.raises(UsageError, match="--meshes"):
        consistency(tmp_path, ["generated"], meshes=tmp_path)
    with pytest.raises(UsageError, match="--zooms"):
        consistency(tmp_path, ["generated"], zooms=1)
    with pytest.raises(UsageError, match="--soften"):
        tables.consistency(tmp_path, tmp_path, "mini", [], 1, ["generated"], False, None, soften="plain")
    with pytest.raises(InputError, match="no renders"):
        consistency(tmp_path, ["generated"])


def test_only_what_is_asked_for_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    from img2mv3d.eval import consistency as by_truth
    from img2mv3d.eval import ownfit
    from img2mv3d.eval import zooms as pictures

    (tmp_path / "index.tsv").touch()
    asked = []
    monkeypatch.setattr(by_truth, "compare", lambda *told, **more: asked.append(("truth", told[-1])) or "A")
    monkeypatch.setattr(ownfit, "compare", lambda *told, **more: asked.append(("own", told[-1])) or "B")
    monkeypatch.setattr(pictures, "compare", lambda *told: asked.append(("zooms", told[4], told[5])))
    consistency(tmp_path, ["exact", "spoilt"])
    consistency(tmp_path, ["generated"])
    consistency(tmp_path, ["spoilt", "generated"], rerender=True)
    consistency(tmp_path, ["spoilt"], zooms=3)
    assert asked == [
        ("truth", ["exact", "spoilt"]),
        ("own", ["generated"]),
        ("truth", ["spoilt"]),
        ("own", ["spoilt", "generated"]),
        ("zooms", 3, ["spoilt"]),
        ("truth", ["spoilt"]),
    ]
    assert capsys.readouterr().out.split() == ["A", "B", "A", "B", "A"]


def test_a_protocol_wants_its_name_and_its_meshes(tmp_path: Path):
    with pytest.raises(UsageError, match="protocol dtu: expected one of gso30, val"):
        tables.protocol("dtu", tmp_path, tmp_path / "out", "mini", [], None, False)
    with pytest.raises(InputError, match="no corpus"):
        tables.protocol("val", tmp_path, tmp_path / "out", "mini", [], None, False)

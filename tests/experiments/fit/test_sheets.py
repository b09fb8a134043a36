"""Sheets of the benchmark: a body from four sides, the worst first."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import trimesh

from experiments.fit.records import Record
from experiments.fit.sheets import body_from_four_sides, main, many_sheet, worst_sheet


def body(size: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    box = trimesh.creation.box(size)
    return np.array(box.vertices), np.array(box.faces)


def width_px(picture: np.ndarray) -> int:
    return int((picture < 250).any(-1).any(0).sum())


def test_a_body_is_shown_from_front_right_back_and_left() -> None:
    pictures = body_from_four_sides(*body((1.2, 0.6, 0.4)), 64)
    assert [width_px(p) for p in pictures] == pytest.approx([48, 16, 48, 16], abs=2)


def test_winding_does_not_change_the_picture() -> None:
    vertices, faces = body((1.2, 0.6, 0.4))
    mixed = faces.copy()
    mixed[::2] = mixed[::2, ::-1]
    for one, other in zip(
        body_from_four_sides(vertices, faces, 32), body_from_four_sides(vertices, mixed, 32), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    """Three objects; the fit of "bad" is half as wide as the truth."""
    numbers = {f: 0.5 for f in Record.__dataclass_fields__ if f not in ("id", "method", "source", "closed", "f_01")}
    (tmp_path / "fields").mkdir()
    records = []
    for name, f_01, width in (("good", 0.9, 1.2), ("bad", 0.2, 0.6), ("fair", 0.6, 1.2)):
        vertices, faces = body((width, 0.6, 0.4))
        truth, true_faces = body((1.2, 0.6, 0.4))
        arrays = {"vertices": vertices, "faces": faces, "true_vertices": truth, "true_faces": true_faces}
        np.savez(tmp_path / "fields" / f"{name}.final.npz", **arrays)
        same = {"f_01": f_01, "source": "neus", "closed": True, **numbers}
        records += [Record(id=name, method=m, **same) for m in ("hull", "final")]
    (tmp_path / "reconstruction.json").write_text(json.dumps([asdict(r) for r in records]))
    return tmp_path


def test_the_worst_stand_first_with_the_truth_beside_them(measured: Path) -> None:
    picture = worst_sheet(measured, count=2, tile=40)
    assert picture.size == (8 * 40, 2 * 54)
    row = np.asarray(picture)[14:54]
    truth, found = row[:, :40], row[:, 160:200]
    assert width_px(truth) == pytest.approx(30, abs=2) and width_px(found) == pytest.approx(15, abs=2)
    fair = np.asarray(picture)[68:108]
    assert width_px(fair[:, 160:200]) == width_px(fair[:, :40])


def test_many_meshes_stand_three_to_a_row_in_their_order(measured: Path) -> None:
    picture = many_sheet(measured, tile=32)
    assert picture.size == (12 * 32, 46)
    row = np.asarray(picture)[14:]
    widths = [width_px(row[:, i * 128 : i * 128 + 32]) for i in range(3)]
    assert widths[0] == widths[2] > 1.7 * widths[1]


def test_one_command_writes_both_sheets(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    main([str(measured), "-o", str(tmp_path / "pictures")])
    assert len(capsys.readouterr().out.split()) == 2
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == [
        "reconstruction_thirty.jpg",
        "reconstruction_worst.jpg",
    ]

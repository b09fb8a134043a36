"""Which objects may be judged on, and that a photographed one knows its truth."""

from pathlib import Path

import numpy as np
import pytest

from img2mv3d.data.corpus import Solid
from img2mv3d.data.held_out import HELD_OUT, TUNED
from img2mv3d.eval.objects import held_out, photographed, untouched
from img2mv3d.eval.scores import shape_figures

HEADER = "id\tpackage\tpath\tlicence\tcategory\tfaces\tvertices\ttextured\tcolour\tcutout\tsplit\tauthor"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight held-out objects: three everyday ones, one of them tuned on, five others; and some forbidden ones."""
    monkeypatch.setattr("img2mv3d.data.corpus.HELD_OUT", frozenset())  # the list below decides
    tuned = min(t for t in TUNED if t.startswith("sh3d"))
    ids = [tuned, "sh3d-a", "sh3d-b", *(f"0ad-{i}" for i in range(5))]
    rows = [(name, 100 + i, "0", "val") for i, name in enumerate(ids)]
    rows += [("sh3d-hole", 300, "1", "val"), ("sh3d-learnt", 301, "0", "train"), ("sh3d-twin", 301, "0", "val")]
    lines = [f"{n}\tp\tx\tCC0-1.0\tc\t{f}\t{f}\tyes\ttexture\t{cut}\t{split}\tme" for n, f, cut, split in rows]
    (tmp_path / "manifest.tsv").write_text("\n".join([HEADER, *lines]) + "\n")
    (tmp_path / "objects").mkdir()
    for name, *_ in rows:
        (tmp_path / "objects" / f"{name}.npz").touch()
    return tmp_path


def test_held_out_things_have_no_holes_and_no_twins_in_training(corpus: Path) -> None:
    found = {e.id for e in held_out(corpus)}
    assert not found & {"sh3d-hole", "sh3d-learnt", "sh3d-twin"}
    assert len(found) == 8


def test_nothing_that_settings_were_chosen_on_is_untouched_and_everyday_things_come_first(corpus: Path) -> None:
    found = [e.id for e in untouched(corpus, 99)]
    assert set(found[:2]) == {"sh3d-a", "sh3d-b"} and len(found) == 7 and not TUNED & set(found)
    assert [e.id for e in untouched(corpus, 3)] == found[:3]


def test_the_set_that_settings_were_chosen_on_is_the_one_that_is_told() -> None:
    assert len(TUNED) == 24 and TUNED < HELD_OUT


def test_a_photographed_object_knows_its_truth() -> None:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * np.float32(0.28)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    case = photographed("cube", Solid(corners, faces, face_rgb=np.full((12, 3), 128, np.uint8)), 144)
    assert case.mesh is not None and case.photo.shape == (256, 256, 4)
    surface = shape_figures(case, case.mesh, shift=False)
    assert surface["f_02"] > 0.99 and surface["volume_iou"] == 1 and surface["outline_iou"] > 0.98
    moved = case.mesh[0] + np.float32([0, 0, 0.2]), case.mesh[1]
    assert shape_figures(case, moved, shift=False)["f_02"] < 0.5 < 0.97 < shape_figures(case, moved, shift=True)["f_02"]

"""What weights may learn from is decided by the list, and broken meshes are said to be broken."""

from pathlib import Path

import numpy as np
import pytest

from img2mv3d.data.corpus import load_solid, read_manifest, without_twins
from img2mv3d.data.held_out import HELD_OUT
from img2mv3d.errors import InputError

HEADER = "id\tpackage\tpath\tlicence\tcategory\tfaces\tvertices\ttextured\tcolour\tcutout\tsplit\tauthor\n"


def _row(name: str, licence: str = "CC0-1.0", cutout: int = 0, split: str = "train", **more: str) -> str:
    values = {"category": "kitchen", "faces": "100", "vertices": "60", "colour": "texture", **more}
    return (
        f"{name}\tp\tq\t{licence}\t{values['category']}\t{values['faces']}\t{values['vertices']}\tyes\t"
        f"{values['colour']}\t{cutout}\t{split}\tsomebody\n"
    )


def _manifest(folder: Path, *rows: str) -> Path:
    path = folder / "manifest.tsv"
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return path


def test_weights_follow_licence_cutout_source_and_category(tmp_path):
    entries = read_manifest(
        _manifest(
            tmp_path,
            _row("sh3d-cup"),
            _row("sh3d-grey", colour="single"),
            _row("stk-kart", licence="GPL-3+"),
            _row("homedecor-fern", licence="CC-BY-SA-4.0", cutout=1),
            _row("0ad-soldier", licence="CC-BY-SA-3.0", category="character"),
            _row("0ad-jar", licence="CC-BY-SA-3.0", category="prop"),
        )
    )
    cup, grey, kart, fern, soldier, jar = (e.weight for e in entries)
    assert cup == 2 * grey > jar > soldier > 0
    assert kart == 0 and fern == 0
    assert [e.everyday for e in entries] == [True, True, False, True, False, False]


def test_a_twin_of_a_training_object_is_no_test(tmp_path):
    entries = read_manifest(
        _manifest(
            tmp_path,
            _row("sh3d-a"),
            _row("sh3d-b", split="val"),
            _row("sh3d-c", split="val", faces="101"),
        )
    )
    assert [e.id for e in without_twins(entries)] == ["sh3d-c"]


def test_of_our_corpus_the_same_objects_are_held_out_whatever_part_of_it_was_built(tmp_path):
    held = sorted(HELD_OUT)[0]
    entries = read_manifest(_manifest(tmp_path, _row(held), _row("sh3d-other", split="val"), _row("sh3d-cup")))
    assert [e.split for e in entries] == ["val", "train", "train"]


def test_of_another_corpus_the_list_decides(tmp_path):
    entries = read_manifest(_manifest(tmp_path, _row("own-1"), _row("own-2", split="val")))
    assert [e.split for e in entries] == ["train", "val"]


def test_a_list_with_a_foreign_split_or_a_path_as_id_is_refused(tmp_path):
    for row in (_row("sh3d-a", split="test"), _row("../a"), "sh3d-a\tonly\n"):
        with pytest.raises(InputError):
            read_manifest(_manifest(tmp_path, row))
    with pytest.raises(InputError):
        read_manifest(tmp_path / "none.tsv")


@pytest.mark.parametrize(
    "change",
    [
        {"faces": np.array([[0, 1, 7]], np.int32)},
        {"vertices": np.full((3, 3), np.nan, np.float32)},
        {"faces": np.zeros((0, 3), np.int32)},
        {"face_rgb": np.zeros((5, 3), np.uint8)},
        {"texture": np.zeros((4, 4, 2), np.uint8), "uv": np.zeros((1, 3, 2), np.float16)},
    ],
)
def test_broken_meshes_are_refused(tmp_path, change):
    good = {
        "vertices": np.eye(3, dtype=np.float32),
        "faces": np.array([[0, 1, 2]], np.int32),
        "face_rgb": np.full((1, 3), 9, np.uint8),
    }
    np.savez(tmp_path / "good.npz", **good)
    assert load_solid(tmp_path / "good.npz").face_rgb.tolist() == [[9, 9, 9]]
    np.savez(tmp_path / "bad.npz", **{**good, **change})
    with pytest.raises(InputError):
        load_solid(tmp_path / "bad.npz")


def test_what_is_no_mesh_file_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(InputError):
            load_solid(tmp_path / name)

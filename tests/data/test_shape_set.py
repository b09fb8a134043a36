"""Sets of pictures: resumable, equal for equal seeds, held-out objects apart."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from img2mv3d.data import shape_set
from img2mv3d.data.shape_set import Objects, ShapeSet, make_set
from img2mv3d.errors import InputError

COLUMNS = ("id", "licence", "category", "faces", "vertices", "colour", "cutout", "split", "author")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three objects, one of them held out; shards of two pictures."""
    monkeypatch.setattr(shape_set, "SHARD", 2)
    folder = tmp_path / "corpus"
    (folder / "objects").mkdir(parents=True)
    rows = ["\t".join(COLUMNS)]
    meshes = (
        trimesh.creation.icosphere(2, 0.5),
        trimesh.creation.box((0.4, 0.5, 0.3)),
        trimesh.creation.cone(0.3, 0.5),
    )
    for number, mesh in enumerate(meshes):
        name = f"own-{number}"
        vertices, faces = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
        np.savez(folder / "objects" / f"{name}.npz", vertices=vertices, faces=faces)
        split = "val" if number == 2 else "train"
        rows.append("\t".join([name, "CC0-1.0", "own", "9", "9", "single", "0", split, "me"]))
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_set_is_resumed_and_repeats_itself(corpus: Path, tmp_path: Path) -> None:
    make_set([corpus], tmp_path / "a", 6, report=lambda line: None)
    (tmp_path / "a" / "train" / "00001.npy").unlink()
    make_set([corpus], tmp_path / "a", 6, report=lambda line: None)
    make_set([corpus], tmp_path / "b", 6, report=lambda line: None)
    for name in ("00000", "00001", "00002"):
        one, two = (np.load(tmp_path / side / "train" / f"{name}.npy") for side in "ab")
        assert one.tobytes() == two.tobytes() and set(one["id"]) <= {"own-0", "own-1", "turned"}
    assert set(np.load(tmp_path / "a" / "dev" / "00000.npy")["id"]) == {"own-2"}


def test_new_shards_are_seen_while_they_come(corpus: Path, tmp_path: Path) -> None:
    pool = ShapeSet(tmp_path / "a" / "train")
    assert pool.refresh() == 0
    make_set([corpus], tmp_path / "a", 4, report=lambda line: None)
    assert pool.refresh() == 2
    assert len(list(pool.draw(np.random.default_rng(0), 5))) == 5


def test_a_solid_is_carved_once(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Objects([corpus], tmp_path / "solids").part("own-0")
    monkeypatch.setattr(shape_set, "carve", None)
    again = Objects([corpus], tmp_path / "solids").part("own-0")
    assert np.array_equal(first.solid, again.solid) and first.solid.any()


def test_a_corpus_of_held_out_objects_is_refused(corpus: Path, tmp_path: Path) -> None:
    path = corpus / "manifest.tsv"
    path.write_text(path.read_text().replace("\ttrain\t", "\tval\t"))
    with pytest.raises(InputError, match="may be learnt from"):
        make_set([corpus], tmp_path / "a", 2)


def test_pictures_know_the_mirror_planes_also_of_solids_that_an_older_version_carved(
    corpus: Path, tmp_path: Path
) -> None:
    objects = Objects([corpus], tmp_path / "solids")
    known = objects.part("own-1").mirror
    assert known is not None and known[[0, 15]].min() > 0.9  # a box: across and along
    path = tmp_path / "solids" / "own-1.npz"
    with np.load(path) as file:
        older = {name: file[name] for name in file.files if name != "mirror"}
    np.savez(path, **older)
    again = Objects([corpus], tmp_path / "solids").part("own-1").mirror
    assert again is not None and np.array_equal(again, known)


def test_a_shard_of_another_version_is_refused_in_one_line(corpus: Path, tmp_path: Path) -> None:
    make_set([corpus], tmp_path / "set", 2, report=lambda line: None)
    path = tmp_path / "set" / "train" / "00000.npy"
    shard = np.load(path)
    np.save(path, shard[[name for name in shard.dtype.names or () if name != "mirror"]])
    pool = ShapeSet(path.parent)
    pool.refresh()
    with pytest.raises(InputError, match="another version"):
        list(pool.draw(np.random.default_rng(0), 1))

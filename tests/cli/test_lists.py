"""Lists of photos: a row each, with flags of its own, checked before anything is done."""

from pathlib import Path

import pytest

from img2mv3d.cli.lists import Wanted, is_list, read_list, wanted_of
from img2mv3d.errors import InputError, UsageError


def written(folder: Path, text: str, name: str = "photos.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_is_a_photo_with_flags_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, "photo,seed,quality,size,normal-map,mask\na.png,3,draft,8cm,yes,m.png\n/b.png,,,,no,\n")
    assert read_list(path) == [
        Wanted(
            tmp_path / "a.png",
            {"seed": 3, "quality": "draft", "size": 80.0, "normal_map": True, "mask": tmp_path / "m.png"},
        ),
        Wanted(Path("/b.png"), {"normal_map": False}),
    ]


def test_the_file_of_a_stage_is_carried_on(tmp_path: Path) -> None:
    assert read_list(written(tmp_path, "from,grid\nviews/1,64\n")) == [Wanted(tmp_path / "views/1", {"grid": 64}, True)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("photo\n", "is empty"),
        ("photo,seed\n,1\n", "row 2: expected a value in one of the columns photo and from"),
        ("photo,from\na,b\n", "row 2: expected a value in one of"),
        ("photo,colour\na,red\n", "row 2: there is no column 'colour'"),
        ("photo,out\na,elsewhere\n", "there is no column 'out'"),
        ("photo,seed\na,1\nb,-1\n", "row 3, column seed: -1: expected int from 0"),
        ("photo,quality\na,best\n", "column quality: best: expected one of draft"),
        ("photo,seed\na,many\n", "column seed"),
        ("photo,normal-map\na,perhaps\n", "expected true or false"),
    ],
)
def test_a_row_that_makes_no_sense_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        read_list(written(tmp_path, text))


def test_lists_and_photos_keep_the_order_of_the_words(tmp_path: Path) -> None:
    path = written(tmp_path, "photo\nb.png\n")
    found = wanted_of(["c.png", str(path), "a.png"])
    assert [w.path.name for w in found] == ["c.png", "b.png", "a.png"]
    assert is_list("x.CSV") and is_list("x.parquet") and not is_list("x.png")


def test_a_list_that_is_missing_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.csv: No such file"):
        wanted_of([str(tmp_path / "gone.csv")])
    (tmp_path / "x.csv").write_bytes(b"photo\n\xff\xfe\n")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        wanted_of([str(tmp_path / "x.csv")])


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match="Parquet needs pyarrow, which is not installed; give a CSV file"):
        wanted_of([str(tmp_path / "x.parquet")])


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "photo": ["a.png", "b.png", "c.png"],
        "seed": [3, None, 0],
        "grid": [64.0, float("nan"), 96.0],
        "depth-ratio": [None, 0.5, 2.0],
        "size": ["9cm", None, None],
        "normal-map": [True, None, False],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet")
    text = "photo,seed,grid,depth-ratio,size,normal-map\na.png,3,64,,9cm,true\nb.png,,,0.5,,\nc.png,0,96,2,,no\n"
    assert read_list(tmp_path / "x.parquet") == read_list(written(tmp_path, text))


def test_a_hundred_thousand_photos_of_one_name_are_named_in_a_moment() -> None:
    from img2mv3d.cli.wanted import names_for

    names = names_for([Path(f"{n}/0.png") for n in range(100_000)])
    assert len(set(names)) == 100_000 and names[1] == "0.png-2"

"""Words -> photos and names: once each, in a sensible order, never one over another."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2mv3d.cli.wanted import is_one, left_out, names_for, photos_of
from img2mv3d.errors import InputError, UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("shoes/2.jpg", "shoes/10.JPG", "shoes/notes.txt", "shoes/.hidden.png", "toys/bear.png", "cup.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def names(words: list[str]) -> list[str]:
    return [str(p) for p in photos_of(words)]


def test_a_folder_gives_its_photos_by_number_and_nothing_else(here: Path) -> None:
    assert names(["shoes"]) == ["shoes/2.jpg", "shoes/10.JPG"]


@pytest.mark.parametrize(
    "inside, hint", [("a/rgb_000_front.png", "a inside of it looks like one"), ("a/b/cup.JPG", "a/b: name that one")]
)
def test_a_folder_of_a_folder_is_told_what_may_have_been_meant(tmp_path: Path, inside: str, hint: str) -> None:
    (tmp_path / inside).parent.mkdir(parents=True)
    (tmp_path / inside).write_bytes(b"x")
    with pytest.raises(InputError, match=f"no photo in there .*{hint}"):
        photos_of([str(tmp_path)])


def test_the_order_is_that_of_the_words_and_nothing_comes_twice(here: Path) -> None:
    assert names(["toys/*.png", "cup.png", "toys", "./cup.png"]) == ["toys/bear.png", "cup.png"]
    assert names(["**/*.png"]) == ["cup.png", "toys/bear.png"]


def test_a_missing_file_stays_for_its_run_to_say_so(here: Path) -> None:
    assert names(["gone.png", "cup.png"]) == ["gone.png", "cup.png"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(here: Path) -> None:
    (here / "cup [old].png").write_bytes(b"x")
    assert is_one(["cup [old].png"]) and names(["cup [old].png", "cup.png"]) == ["cup [old].png", "cup.png"]


def test_one_photo_is_one_and_a_folder_or_a_pattern_is_not(here: Path) -> None:
    assert is_one(["cup.png"]) and is_one(["gone.png"])
    assert not is_one(["shoes"]) and not is_one(["*.png"]) and not is_one(["cup.png", "cup.png"])


def test_empty_folders_patterns_and_runs_are_told(here: Path) -> None:
    (here / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no photo in there"):
        photos_of(["empty"])
    with pytest.raises(InputError, match=r"\*.tiff: no such file"):
        photos_of(["*.tiff"])
    (here / "shoes" / "run.json").write_text("{}")
    with pytest.raises(UsageError, match=r"run --from shoes"):
        photos_of(["cup.png", "shoes"])


@given(
    st.lists(
        st.sampled_from(["a.png", "A.PNG", "x/a.png", "a.jpg", "a.png-2", "...png", " .png", "seeds.png", "é.png"])
    )
)
def test_names_are_different_whatever_the_case_and_stay_in_their_folder(files: list[str]) -> None:
    found = names_for([Path(f) for f in files])
    assert len({n.casefold() for n in found}) == len(files)
    for name in found:
        assert name.strip(". ") and Path(name).name == name and name != "seeds"


def test_a_folder_leaves_no_photo_out_without_a_word(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.jfif", "c.jpe", "d.HEIC", "e.nef", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in photos_of([str(tmp_path)])] == ["a.JPG", "b.jfif", "c.jpe", "d.HEIC", "e.nef"]
    assert [p.name for p in left_out([str(tmp_path)])] == ["notes.txt"]


@pytest.mark.parametrize("name", ["views.json", "color_front.png", "rgb_000_front.png"])
def test_a_folder_of_views_is_no_folder_of_photos(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=r"is a folder of views; `reconstruct .*` or `run --from"):
        photos_of([str(tmp_path)])

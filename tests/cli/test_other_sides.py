"""Photos of other sides as typed, and through a run of toy networks."""

from pathlib import Path

import pytest

from img2mv3d.cli.other_sides import sides_of
from img2mv3d.errors import InputError, UsageError
from tests.cli.conftest import Run
from tests.conftest import Workshop


def _folder(place: Path, *names: str) -> dict[str, Path]:
    place.mkdir()
    for name in names:
        (place / name).write_bytes(b"")
    return {"views": place}


def test_flags_and_names_say_the_azimuth(tmp_path: Path) -> None:
    typed = _folder(tmp_path / "sides", "45.jpg", "-135.PNG", "back.webp", "270.jpeg", "notes.txt") | {
        "right": Path("r.png")
    }
    assert [(a, p.name) for a, p in sides_of(typed)] == [
        (-135.0, "-135.PNG"),
        (-90.0, "270.jpeg"),
        (45.0, "45.jpg"),
        (90.0, "r.png"),
        (180.0, "back.webp"),
    ]
    assert sides_of({}) == ()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["IMG_1.jpg"], "name it by its azimuth"),
        (["0.jpg"], "is the photo itself"),
        (["90.jpg", "right.png"], "both at"),
    ],
)
def test_a_name_that_says_none_or_one_twice_is_told(tmp_path: Path, names: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        sides_of(_folder(tmp_path / "sides", *names))


def test_a_folder_must_be_there_and_hold_photos(tmp_path: Path) -> None:
    for typed in ({"views": tmp_path / "none"}, _folder(tmp_path / "sides", "a.txt")):
        with pytest.raises(InputError):
            sides_of(typed)


def test_a_side_goes_with_one_photo_is_kept_and_forgotten(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png", "--right", "photo.png")
    assert Path("out/sides/90/subject.png").exists()
    img2mv3d("export", "out", "--faces", "500")
    assert Path("out/sides/90/subject.png").exists()
    img2mv3d("run", "photo.png")
    assert not Path("out/sides/90/subject.png").exists()
    result = img2mv3d("run", "photo.png", "photo.png", "--left", "photo.png")
    assert result.exit_code == 2 and "--left is for one photo" in result.stderr

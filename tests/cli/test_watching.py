"""A watched folder: whole photos only, each once, again when it changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from img2mv3d.cli import watching
from img2mv3d.cli.watching import STALLED, arrivals, is_whole, name_for
from tests.cli.conftest import Run
from tests.conftest import Workshop


class Enough(Exception):
    """Ends a watch."""


def seen(folder: Path, *steps: Callable[[], object], whole: Callable[[Path], bool] = lambda path: True) -> list[str]:
    """Names of what comes, while each pause does the next step."""
    left = list(steps)

    def pause() -> None:
        if not left:
            raise Enough
        left.pop(0)()

    found = []
    try:
        for path in arrivals(folder, pause, whole):
            found.append(path.name)
    except Enough:
        return found
    raise AssertionError


def nothing() -> None:
    """A pause in which nothing happens."""


def test_a_photo_that_is_still_copied_waits_until_it_is_whole(tmp_path: Path) -> None:
    photo = tmp_path / "slow.png"
    photo.write_bytes(b"half")

    def more() -> None:
        photo.write_bytes(photo.read_bytes() + b"more")

    assert seen(tmp_path, more, more, more) == []
    assert seen(tmp_path, more, more, nothing, nothing, nothing) == ["slow.png"]


def test_a_copy_that_stands_still_for_a_while_waits_too_but_not_for_ever(tmp_path: Path) -> None:
    whole = tmp_path / "whole.png"
    Image.effect_noise((64, 64), 50).save(whole)
    half, data = tmp_path / "in" / "slow.png", whole.read_bytes()
    half.parent.mkdir()
    half.write_bytes(data[: len(data) // 2])
    long = [nothing] * (STALLED - 1)
    assert seen(half.parent, *long, lambda: half.write_bytes(data), nothing, whole=is_whole) == ["slow.png"]
    half.write_bytes(data[: len(data) // 2])
    assert seen(half.parent, *long, whole=is_whole) == []
    assert seen(half.parent, *long, nothing, whole=is_whole) == ["slow.png"]


def test_every_photo_comes_once_and_again_when_it_changed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "notes.txt").write_bytes(b"no photo")
    (tmp_path / ".hidden.png").write_bytes(b"not for us")
    (tmp_path / "empty.png").write_bytes(b"")
    come = [nothing, lambda: (tmp_path / "b.jpg").write_bytes(b"b"), nothing, nothing]
    changed = [lambda: (tmp_path / "a.png").write_bytes(b"another"), nothing, nothing]
    assert seen(tmp_path, *come, *changed) == ["a.png", "b.jpg", "a.png"]


def test_a_drive_that_goes_away_and_comes_back_makes_nothing_anew(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    away = [lambda: folder.rename(tmp_path / "away"), nothing, lambda: (tmp_path / "away").rename(folder)]
    assert seen(folder, nothing, nothing, *away, nothing, nothing) == ["a.png"]


def test_names_are_stems_until_two_would_be_one() -> None:
    names: dict[str, str] = {}
    photos = [Path("Cup.png"), Path("cup.jpg"), Path("Cup.png"), Path("hat.png")]
    assert [name_for(photo, names) for photo in photos] == ["Cup", "cup.jpg", "Cup", "hat"]


def test_the_command_makes_a_run_of_each_and_says_so(
    img2mv3d: Run, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = workshop.folder / "inbox"
    inbox.mkdir()
    (inbox / "cup.png").write_bytes(b"cup")
    (inbox / "bad.png").write_bytes(b"bad")
    looks = iter(range(4))

    def sleep(seconds: float) -> None:
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", sleep)
    monkeypatch.setattr(watching, "is_whole", lambda path: True)  # the workshop's photos are words
    result = img2mv3d("run", "--watch", "inbox", "-o", "out")
    assert result.exit_code == 130 and "watching inbox" in result.stderr
    assert set(result.stdout.splitlines()) == {str(workshop.out / n / "mesh.glb") for n in ("cup", "bad")}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("gone",), "no such folder"),
        (("inbox", "-o", "inbox"), "another folder"),
        (("inbox", "--mask", "m.png"), "one photo"),
    ],
)
def test_what_makes_no_sense_is_refused(img2mv3d: Run, workshop: Workshop, words: tuple[str, ...], told: str) -> None:
    (workshop.folder / "inbox").mkdir()
    result = img2mv3d("run", "--watch", *words)
    assert result.exit_code == 2 and told in result.stderr

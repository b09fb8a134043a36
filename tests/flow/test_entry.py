"""What a path means."""

from pathlib import Path

import numpy as np
import pytest

from img2mv3d.errors import DepthError, InputError, PhotoError
from img2mv3d.flow.entry import Source, digest_input, source_of, stage_files
from tests.conftest import Workshop


@pytest.mark.parametrize(
    ("name", "kind", "stage"),
    [
        ("subject.png", "subject", "prepare"),
        ("prepare.json", "subject", "prepare"),
        ("latents.pt", "latents", "generate"),
        ("depth.npz", "depth", "depth"),
        ("views", "views", "decode"),
        ("views/color_left.png", "views", "decode"),
        ("views/views.json", "views", "decode"),
        ("surface.npz", "surface", "reconstruct"),
        ("run.json", "run", None),
        ("", "run", None),
        ("../photo.png", "photo", None),
    ],
)
def test_every_file_of_a_run_is_known(workshop: Workshop, name: str, kind: str, stage: str | None) -> None:
    workshop.run()
    source = source_of(workshop.out / name)
    assert (source.kind, source.stage) == (kind, stage)
    if kind != "photo":
        assert source.root == workshop.out
        for each in ("prepare", "generate", "depth", "decode", "reconstruct"):
            assert source.files(each) == stage_files(workshop.out, each) != {}


def test_views_of_any_name_stand_for_themselves(workshop: Workshop) -> None:
    workshop.run()
    (workshop.out / "views").rename(workshop.folder / "six")
    source = source_of(workshop.folder / "six")
    assert source.kind == "views" and source.root == workshop.folder / "six"
    assert set(source.files("decode")) == {
        "views/views.json",
        *(f"views/{p.name}" for p in (workshop.folder / "six").glob("*.png")),
    }


def test_what_is_nothing_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        source_of(tmp_path / "none")
    with pytest.raises(InputError, match="neither a run's folder"):
        source_of(tmp_path)
    (tmp_path / "a.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read as npz"):
        source_of(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", colours=np.ones(3))
    with pytest.raises(DepthError, match="neither a surface"):
        source_of(tmp_path / "b.npz")
    with pytest.raises(PhotoError, match="no such file"):
        digest_input(tmp_path / "none.png")
    with pytest.raises(PhotoError, match="cannot be read"):
        digest_input(tmp_path)


def test_a_photo_gives_no_stage() -> None:
    assert Source("photo", Path("a.png")).stage is None


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("color_front.jpg", "its views are .jpg files: save them as PNG"),
        ("cropsize-192/toy/rgb_000_front.png", "cropsize-192/toy inside of it looks like one"),
        ("out/run.json", "out inside of it looks like one"),
    ],
)
def test_a_folder_that_is_nothing_by_itself_says_what_was_perhaps_meant(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=says):
        source_of(tmp_path)

"""Pipes: a photo from stdin, one file and nothing else to stdout."""

import pytest
from typer.testing import CliRunner

from img2mv3d.cli.app import app
from tests.cli.conftest import Run
from tests.conftest import Workshop


def piped(*words: str, data: bytes = b"a photo") -> tuple[int, bytes, str]:
    result = CliRunner().invoke(app, list(words), prog_name="img2mv3d", input=data)
    return result.exit_code, result.stdout_bytes, result.stderr


def test_a_photo_comes_from_stdin_and_the_mesh_goes_to_stdout(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png", "-o", "alone", "--no-report")
    alone = (workshop.folder / "alone" / "mesh.glb").read_bytes()
    status, out, err = piped("run", "-", "-o", "-")
    assert (status, len(out)) == (0, len(alone)) and "cut" in err
    before = sorted(p.name for p in workshop.folder.iterdir())
    assert piped("run", "photo.png", "-o", "-")[1] == alone
    assert sorted(p.name for p in workshop.folder.iterdir()) == before  # nothing is left


def test_stdin_alone_goes_to_a_folder_as_ever(img2mv3d: Run, workshop: Workshop) -> None:
    status, out, _ = piped("run", "-", "-o", "made")
    assert status == 0 and out.decode().strip() == str(workshop.folder / "made" / "mesh.glb")


def test_stdin_can_become_a_mesh_file_of_any_name(img2mv3d: Run, workshop: Workshop) -> None:
    status, out, err = piped("run", "-", "-o", "cup.glb")
    assert status == 0 and out.decode().strip() == str(workshop.folder / "cup.glb"), err


def test_other_formats_and_stages_of_one_file_go_there_too(img2mv3d: Run, workshop: Workshop) -> None:
    assert piped("run", "-", "-o", "-", "--format", "stl")[0] == 0
    assert piped("run", "-", "-o", "-", "--until", "prepare")[1].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("-o", "-", "--format", "obj"), 2, "one file"),
        (("-o", "-", "--until", "decode"), 2, "one file"),
        (("-o", "-", "--json"), 2, "--json"),
    ],
)
def test_what_is_more_than_one_file_is_refused(img2mv3d: Run, words: tuple[str, ...], status: int, told: str) -> None:
    found = piped("run", "-", *words)
    assert found[0] == status and told in found[2] and found[1] == b""


def test_an_empty_stdin_is_said(img2mv3d: Run) -> None:
    status, out, err = piped("run", "-", "-o", "-", data=b"")
    assert (status, out) == (3, b"") and "stdin: is empty" in err

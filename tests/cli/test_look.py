"""report, view and turntable on the command line; the report that a run writes."""

import http.client
import os
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from img2mv3d.cli import look
from img2mv3d.cli.app import app
from img2mv3d.report import serve
from tests.finished import finished_run

Run = Callable[..., Result]


@pytest.fixture
def img2mv3d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, standing where a finished run lies in out/."""
    finished_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [str(w) for w in words], prog_name="img2mv3d")


def test_a_report_is_written_into_the_run_and_again_over_itself(img2mv3d: Run, tmp_path: Path) -> None:
    for words in (["report"], ["report", "out"]):
        result = img2mv3d(*words)
        assert result.exit_code == 0 and result.stdout == f"{tmp_path / 'out' / 'report.html'}\n", result.output
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.count("the photo</figcaption>") == 1  # found beside out/
    assert img2mv3d("report", "-o", "elsewhere.html").stdout == f"{tmp_path / 'elsewhere.html'}\n"


def test_somebody_s_own_report_is_left_alone(img2mv3d: Run, tmp_path: Path) -> None:
    own = tmp_path / "out" / "report.html"
    own.write_text("<h1>my own words</h1>")
    result = img2mv3d("report")
    assert result.exit_code == 2 and "name another file with -o" in result.stderr
    assert own.read_text() == "<h1>my own words</h1>"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["report", "nowhere"], 3, "no such folder"),
        (["report", "empty"], 3, "no run in there"),
        (["report", "--photo", "gone.jpg"], 3, "gone.jpg: no such photo"),
        (["turntable", "empty"], 3, "no mesh in there"),
        (["turntable", "--format", "avi"], 2, "'avi' is not one of 'gif', 'webp', 'mp4'"),
        (["turntable", "--frames", "1"], 2, "invalid value for '--frames'"),
        (["turntable", "--format", "mp4", "--side", "65"], 2, "an mp4 needs an even number"),
    ],
)
def test_wrong_words_are_one_line(img2mv3d: Run, tmp_path: Path, words: list[str], status: int, says: str) -> None:
    (tmp_path / "empty").mkdir()
    result = img2mv3d(*words)
    assert result.exit_code == status and says in result.stderr, result.output
    assert len(result.stderr.splitlines()) == 1 and result.stdout == ""


def test_without_a_run_here_the_folder_must_be_named(img2mv3d: Run, tmp_path: Path) -> None:
    (tmp_path / "out").rename(tmp_path / "other")
    result = img2mv3d("report")
    assert result.exit_code == 3 and "no run in out/ or here" in result.stderr
    assert img2mv3d("report", "other").exit_code == 0


def test_a_turntable_of_a_run_and_of_a_file(img2mv3d: Run, tmp_path: Path) -> None:
    small = ("--frames", 3, "--side", 48)
    assert img2mv3d("turntable", *small).stdout == f"{tmp_path / 'out' / 'turntable.gif'}\n"
    result = img2mv3d("turntable", "out/mesh.glb", "--format", "webp", *small)
    assert result.stdout == f"{tmp_path / 'out' / 'mesh_turntable.webp'}\n" and (tmp_path / "out").exists()
    assert (tmp_path / "out" / "mesh_turntable.webp").stat().st_size > 500


def test_side_by_side_takes_the_cut_out_of_the_run_that_the_mesh_lies_in(img2mv3d: Run, tmp_path: Path) -> None:
    small = ("--frames", 3, "--side", 48, "--side-by-side")
    for shown in ("out", "out/mesh.glb"):
        assert img2mv3d("turntable", shown, *small, "-o", "film.gif").exit_code == 0
        with Image.open(tmp_path / "film.gif") as film:
            assert film.size == (96, 48)
    (tmp_path / "out" / "mesh.glb").rename(tmp_path / "lone.glb")
    result = img2mv3d("turntable", "lone.glb", *small)
    assert result.exit_code == 3 and "name the folder of a run that began with a photo" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_view_makes_a_missing_report_shows_it_and_ends_well(
    img2mv3d: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def browse(address: str) -> bool:
        """A browser asks from another thread, as it does; then Ctrl-C."""

        def ask() -> None:
            connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=10)
            connection.request("GET", "/")
            seen.append(connection.getresponse().read().decode())

        threading.Thread(target=ask, daemon=True).start()
        return True

    made = serve.server_for

    def until_asked(folder: Path, port: int) -> object:
        server = made(folder, port)

        def actions() -> None:
            if seen:
                raise KeyboardInterrupt

        server.service_actions = actions
        return server

    monkeypatch.setattr(serve, "server_for", until_asked)
    monkeypatch.setattr(webbrowser, "open", browse)
    result = img2mv3d("view")
    assert result.exit_code == 0 and result.stdout.startswith("http://127.0.0.1:"), result.output
    assert seen == [(tmp_path / "out" / "report.html").read_text()]


def test_view_makes_a_report_anew_that_is_older_than_the_run(
    img2mv3d: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, record = tmp_path / "out" / "report.html", tmp_path / "out" / "run.json"
    made: list[Path] = []
    monkeypatch.setattr(look, "save_report", lambda folder, photo, target: made.append(target))

    def taken(folder: Path, port: int) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(serve, "server_for", taken)
    report.write_text("older")
    os.utime(report, (1, 1))
    result = img2mv3d("view", "--port", 80)
    assert made == [Path("out/report.html")]
    assert result.exit_code == 2 and "--port 80: Address already in use; take another one" in result.stderr
    os.utime(record, (0, 0))
    img2mv3d("view", "--port", 80)
    assert len(made) == 1

"""Commands in this process: what each does, and the exit status and one line of every kind of failure."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from img2mv3d import errors
from img2mv3d.cli.app import app
from img2mv3d.cli.guard import as_known
from img2mv3d.flow import runners
from tests.conftest import Workshop
from tests.folders import flip

Run = Callable[..., Result]


def last_line(result: Result) -> str:
    return result.stdout.splitlines()[-1]


def test_the_three_lines_of_the_design(img2mv3d: Run, workshop: Workshop) -> None:
    result = img2mv3d("run", "photo.png", "-o", "out/")
    assert result.exit_code == 0, result.output
    assert last_line(result) == str(workshop.out / "mesh.glb") and workshop.runners.calls["export"] == 1
    result = img2mv3d("export", "--format", "glb")
    assert result.exit_code == 0 and last_line(result) == str(workshop.out / "mesh.glb")
    assert workshop.runners.calls["export"] == 1
    (workshop.folder / "latents.pt").write_bytes((workshop.out / "latents.pt").read_bytes())
    result = img2mv3d("decode", "latents.pt", "--depth", "neus")
    assert result.exit_code == 0 and last_line(result) == str(workshop.folder / "views")
    assert (workshop.folder / "views" / "color_front.png").exists()


def test_export_finds_the_run_here(img2mv3d: Run, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    img2mv3d("run", "photo.png")
    monkeypatch.chdir(workshop.out)
    result = img2mv3d("export", "--format", "ply", "--faces", 700)
    assert result.exit_code == 0 and last_line(result) == str(workshop.out / "mesh.ply")


def test_every_verb_goes_on_from_the_runs_folder(img2mv3d: Run, workshop: Workshop) -> None:
    assert img2mv3d("prepare", "photo.png").exit_code == 0
    for verb in ("generate", "depth", "decode", "reconstruct", "export"):
        result = img2mv3d(verb, "out")
        assert result.exit_code == 0, result.output
        assert workshop.runners.calls[verb] == 1
    assert set(workshop.runners.calls.values()) == {1}


def test_flags_reach_the_stages_and_stay_with_the_run(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png", "--seed", 4, "--steps", 3, "--quality", "draft", "--faces", 900, "--until", "decode")
    settings = json.loads((workshop.out / "run.json").read_text())["settings"]
    assert (settings["seed"], settings["generate"]["steps"], settings["export"]["faces"]) == (4, 3, 900)
    assert settings["depth"]["grid"] == 64
    img2mv3d("export", "out")
    later = json.loads((workshop.out / "run.json").read_text())["settings"]
    assert later == settings | {"export": later["export"]} and later["export"]["faces"] == 20_000


def test_pictures_are_encoded_and_decoded(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png")
    (workshop.out / "views").rename(workshop.folder / "six")
    result = img2mv3d("decode", "six", "--depth", "none")
    assert result.exit_code == 0 and last_line(result) == str(workshop.folder / "six" / "views")
    result = img2mv3d("reconstruct", "six")
    assert result.exit_code == 0 and last_line(result) == str(workshop.folder / "six" / "surface.npz")


def test_run_begins_with_any_stage(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png")
    result = img2mv3d("run", "--from", "out/views", "-o", "other")
    assert result.exit_code == 0 and last_line(result) == str(workshop.folder / "other" / "mesh.glb")
    result = img2mv3d("run", "--from", "out/latents.pt", "--until", "depth")
    assert last_line(result) == str(workshop.out / "depth.npz")


def test_json_is_one_line_with_everything(img2mv3d: Run, workshop: Workshop) -> None:
    told = json.loads(img2mv3d("run", "photo.png", "--json").stdout)
    assert told["result"] == str(workshop.out / "mesh.glb") and told["warnings"] == ["cut", "hull"]
    assert told["stages"]["generate"]["how"] == "computed"


def test_a_run_leaves_a_report_unless_told_not_to(img2mv3d: Run, workshop: Workshop) -> None:
    report = workshop.out / "report.html"
    assert json.loads(img2mv3d("run", "photo.png", "--json").stdout)["report"] == str(report)
    assert "photo.png" in report.read_text()
    before = report.stat()
    assert json.loads(img2mv3d("run", "photo.png", "--json").stdout)["report"] == str(report)
    assert report.stat().st_mtime_ns == before.st_mtime_ns  # nothing new, nothing written
    img2mv3d("run", "photo.png", "--seed", 5)
    assert report.stat().st_mtime_ns > before.st_mtime_ns
    report.unlink()
    assert json.loads(img2mv3d("run", "photo.png", "--no-report", "--json").stdout)["report"] is None
    assert img2mv3d("run", "photo.png", "--until", "decode", "-o", "half").exit_code == 0
    assert not report.exists() and not (workshop.folder / "half" / "report.html").exists()


def test_somebody_s_own_report_is_no_failure_of_the_run(img2mv3d: Run, workshop: Workshop) -> None:
    workshop.out.mkdir()
    (workshop.out / "report.html").write_text("mine")
    result = img2mv3d("run", "photo.png")
    assert result.exit_code == 0 and "note: no report: " in result.stderr
    assert (workshop.out / "report.html").read_text() == "mine"


def test_warnings_come_in_words_at_the_end(img2mv3d: Run) -> None:
    lines = img2mv3d("run", "photo.png").stderr.splitlines()
    assert lines[-4:-2] == ["warning: cut", "warning: hull"] and lines[-2].startswith("done in")
    assert lines[-1] == "look at it: img2mv3d view out/"
    assert img2mv3d("run", "photo.png", "-q").stderr.splitlines() == ["warning: cut", "warning: hull"]


def test_no_cache_leaves_none(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png", "--no-cache")
    assert not (workshop.folder / "cache").exists()
    img2mv3d("run", "photo.png", "--cache", "mine", "-o", "second")
    assert (workshop.folder / "mine" / "entries").is_dir()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run"], "give a photo"),
        (["run", "photo.png", "--from", "out"], "give a photo"),
        (["run", "photo.png", "--until", "dream"], "'dream' is not one of 'prepare'"),
        (["run", "photo.png", "--steps", "0"], "invalid value for '--steps'"),
        (["run", "photo.png", "--speed", "9"], "no such option: --speed"),
        (["dream"], "no such command 'dream'"),
        (["run", "photo.png", "--jobs", "2"], "--jobs needs several photos"),
        (["decode", "photo.png"], "run photo.png --until decode"),
        (["reconstruct", "photo.png"], "reconstruct takes a folder of views or a run's folder"),
        (["run", "photo.png", "-o", "photo.png"], "is a file, expected a folder"),
        (["cache", "prune", "--max-size", "much"], "expected a size such as 500M"),
        (["train", "all"], "or --toy"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line(img2mv3d: Run, words: list[str], says: str) -> None:
    result = img2mv3d(*words)
    assert result.exit_code == 2 and says in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("error: ") and result.stdout == ""


def test_a_wrong_depth_is_named(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png")
    result = img2mv3d("decode", "out/latents.pt", "--depth", "lidar")
    assert result.exit_code == 2 and "--depth lidar: expected neus, none" in result.stderr
    result = img2mv3d("decode", "out/views", "-o", "out")
    assert result.exit_code == 2 and "overwritten by its own result" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["run", "none.png"],
        ["run", "--from", "none.pt"],
        ["decode", "none.pt"],
        ["export"],
        ["export", "empty"],
        ["run", "photo.png", "--mask", "none.png"],
        ["data", "render", "empty"],
        ["train", "encoder", "empty"],
    ],
)
def test_input_that_is_not_there_is_status_3(img2mv3d: Run, workshop: Workshop, words: list[str]) -> None:
    (workshop.folder / "empty").mkdir()
    result = img2mv3d(*words)
    assert result.exit_code == 3 and len(result.stderr.splitlines()) == 1, result.output


FAILURES = [
    (errors.LatentsError("broken"), 3, "broken"),
    (errors.WeightsError("missing"), 4, "missing"),
    (errors.NothingFoundError("no object"), 6, "no object"),
    (MemoryError(), 5, "not enough memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 5, "not enough memory"),
    (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 5, "not enough memory"),
    (OSError(errno.ENOSPC, "No space left on device", "out/x"), 5, "no space left on the disk (out/x)"),
    (PermissionError(errno.EACCES, "Permission denied", "out/x"), 2, "not allowed to read or write (out/x)"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (KeyError("colour"), 1, "a defect of img2mv3d (KeyError: 'colour')"),
]


@pytest.mark.parametrize(("failure", "status", "says"), FAILURES, ids=lambda f: type(f).__name__)
def test_every_kind_of_failure_has_its_status_and_one_line(
    img2mv3d: Run, workshop: Workshop, monkeypatch: pytest.MonkeyPatch, failure: BaseException, status: int, says: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(runners, "decode", fail)
    result = img2mv3d("run", "photo.png", "-q")
    assert result.exit_code == status and says in result.stderr
    assert len(result.stderr.splitlines()) == 1 and result.stdout == ""
    assert (workshop.out / "depth.npz").exists()  # what was finished is kept
    assert not [p for p in workshop.out.iterdir() if p.name.startswith(".")]
    assert "Traceback" in img2mv3d("run", "photo.png", "--debug").stderr


def test_a_reader_that_has_enough_is_no_failure(
    img2mv3d: Run, monkeypatch: pytest.MonkeyPatch, workshop: Workshop
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(runners, "decode", fail)
    assert img2mv3d("run", "photo.png", "-q").exit_code == 0


def test_errors_that_are_nobodys_are_unknown() -> None:
    assert as_known(ValueError("x")) is None
    assert "broken disk" in str(as_known(OSError(errno.EIO, "broken disk")))


def test_the_cache_can_be_listed_measured_pruned_and_verified(img2mv3d: Run, workshop: Workshop) -> None:
    img2mv3d("run", "photo.png")
    assert len(img2mv3d("cache", "list").stdout.splitlines()) == 6
    assert "in 6 entries" in img2mv3d("cache", "size").stdout
    assert img2mv3d("cache", "verify").stdout == "6 entries are good, 0 damaged and set aside\n"
    views = next((workshop.folder / "cache" / "entries").rglob("color_left.png"))
    flip(views)
    assert img2mv3d("cache", "verify").stdout == "5 entries are good, 1 damaged and set aside\n"
    flip(next((workshop.folder / "cache" / "entries").rglob("latents.pt")))
    shutil.rmtree(workshop.folder / "cache" / "bad")
    (workshop.folder / "cache" / "bad").write_bytes(b"in the way")
    result = img2mv3d("cache", "verify")
    assert result.exit_code == 5 and result.stdout == "4 entries are good, 0 damaged and set aside\n"
    assert "cannot be read or moved: 1;" in result.stderr
    (workshop.folder / "cache" / "bad").unlink()
    assert img2mv3d("cache", "prune", "--max-size", "0").stdout.startswith("5 entries removed")
    assert img2mv3d("cache", "list").stdout == ""


def test_version_and_help_end_well(img2mv3d: Run) -> None:
    assert img2mv3d("--version").stdout == "img2mv3d 0.1.0\n"
    for words in ([], ["run"], ["decode"], ["cache"], ["train", "all"], ["weights", "verify"]):
        result = img2mv3d(*words, "--help")
        assert result.exit_code == 0 and "Usage" in result.stdout


def test_every_command_has_help_with_an_example_or_a_sentence(img2mv3d: Run) -> None:
    for command in (c for group in app.registered_groups if group.name is None for c in topic(group)):
        name = command.name or command.callback.__name__  # type: ignore[union-attr]
        assert command.help and (f"img2mv3d {name}" in command.help or name == "doctor"), name


def topic(group: Any) -> list[Any]:
    return group.typer_instance.registered_commands


def test_training_without_data_or_with_files_in_the_way_is_said(img2mv3d: Run, workshop: Workshop) -> None:
    result = img2mv3d("train", "multiview", "photo.png")
    assert result.exit_code == 3 and "index.tsv" in result.stderr


def test_the_exit_status_reaches_the_shell(workshop: Workshop) -> None:
    import subprocess
    import sys

    words = [sys.executable, "-m", "img2mv3d", "run", str(workshop.folder / "none.png"), "-o", str(workshop.out)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ}, cwd=Path(__file__).parents[2])
    assert done.returncode == 3 and done.stderr == f"error: {workshop.folder / 'none.png'}: no such file\n"


PAGES = sorted((Path(__file__).parents[2] / "docs" / "commands").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[p.stem for p in PAGES])
def test_the_page_of_a_command_shows_the_help_of_today(img2mv3d: Run, page: Path) -> None:
    """`python docs/make_pages.py` makes them again."""
    result = img2mv3d(page.stem, "--help")
    assert result.exit_code == 0
    assert lines_of(result.stdout) == lines_of(page.read_text(encoding="utf-8"))[1 : 1 + len(lines_of(result.stdout))]


def lines_of(text: str) -> list[str]:
    """What is printed, whatever stands round it."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_every_command_has_a_page(img2mv3d: Run) -> None:
    lines = img2mv3d("--help").stdout.split("Photo to mesh:")[1].splitlines()
    rows = [line for line in lines if line.startswith("  ") and line[2:3].isalpha()]
    assert {row.split()[0] for row in rows} == {p.stem for p in PAGES}


def test_shells_can_complete_commands_and_flags() -> None:
    code = "from img2mv3d.cli.app import main; main()"
    for words, wanted in (("img2mv3d re", {"reconstruct", "report"}), ("img2mv3d export --el", {"--elevation"})):
        asked = {"_IMG2MV3D_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        line = [sys.executable, "-c", code]
        told = subprocess.run(line, env={**os.environ, **asked}, capture_output=True, text=True)
        assert set(told.stdout.split()) == wanted, told.stderr

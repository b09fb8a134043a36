"""Many photos in one run: a folder and a line for each, faults that stop nothing else, one status at the end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from img2mv3d.cli.many import Outcome
from img2mv3d.flow import runners
from tests.cli.conftest import Run
from tests.conftest import Workshop

WARNED = ("cut", "hull")  # what the stand-ins warn of


@pytest.fixture
def photos(workshop: Workshop) -> list[str]:
    """Three photos that are different to the stand-ins."""
    for name in ("cup.png", "hat.png", "toy.png"):
        (workshop.folder / name).write_bytes(name.encode())
    return ["cup.png", "hat.png", "toy.png"]


def test_each_photo_has_its_folder_its_line_and_its_path(img2mv3d: Run, workshop: Workshop, photos: list[str]) -> None:
    result = img2mv3d("run", *photos)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(workshop.out / n / "mesh.glb") for n in ("cup", "hat", "toy")]
    lines = result.stderr.splitlines()
    assert [line.split(" (")[0] for line in lines[:3]] == [
        f"[{i}/3] {n}.png: out/{n}/mesh.glb" for i, n in enumerate(("cup", "hat", "toy"), 1)
    ]
    assert all(line.endswith("2 warnings)") for line in lines[:3])
    assert lines[3:5] == [f"warning: cup.png, hat.png, toy.png: {said}" for said in WARNED]  # each once
    assert lines[5] == "all results on one page: out/index.html" and lines[6].startswith("3 of 3 done in ")
    assert len(lines) == 7
    page = (workshop.out / "index.html").read_text(encoding="utf-8")
    assert page.index("cup/report.html") < page.index("hat/report.html") < page.index("toy/report.html")
    assert all((workshop.out / n / "report.html").exists() for n in ("cup", "hat", "toy"))


def test_a_batch_is_what_single_runs_would_be(img2mv3d: Run, workshop: Workshop, photos: list[str]) -> None:
    img2mv3d("run", *photos, "--seed", 3)
    img2mv3d("run", "hat.png", "--seed", 3, "-o", "alone", "--no-cache")
    same = [(workshop.folder / f / "mesh.glb").read_bytes() for f in ("out/hat", "alone")]
    assert same[0] == same[1] != (workshop.out / "cup" / "mesh.glb").read_bytes()


def test_a_fault_is_told_and_the_rest_goes_on(img2mv3d: Run, workshop: Workshop, photos: list[str]) -> None:
    result = img2mv3d("run", "cup.png", "gone.png", "toy.png")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [str(workshop.out / n / "mesh.glb") for n in ("cup", "toy")]
    assert result.stderr.startswith("[1/3] gone.png: failed: gone.png: no such file")  # not in the morning
    assert result.stderr.splitlines()[-1].startswith("2 of 3 done in ")
    assert result.stderr.splitlines()[-1].endswith("; failed: gone.png")
    assert not (workshop.out / "gone").exists()
    assert "<b>gone.png</b>: no such file" in (workshop.out / "index.html").read_text(encoding="utf-8")


def test_faults_of_two_kinds_are_status_1_and_a_defect_of_ours_stops_nothing(
    img2mv3d: Run, workshop: Workshop, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = workshop.runners.prepare

    def broken(context: object, photo: Path, mask: object, matting: object) -> object:
        if photo.name == "cup.png":
            raise ZeroDivisionError("oh")
        return prepare(context, photo, mask, matting)

    monkeypatch.setattr(runners, "prepare", broken)
    result = img2mv3d("run", *photos, "gone.png")
    assert result.exit_code == 1 and len(result.stdout.splitlines()) == 2
    assert "cup.png: failed: a defect of img2mv3d (ZeroDivisionError: oh)" in result.stderr
    assert "Traceback" not in result.stderr
    assert "ZeroDivisionError" in img2mv3d("run", *photos, "--debug").stderr.split("Traceback", 1)[1]


def test_json_is_one_line_for_each(img2mv3d: Run, workshop: Workshop, photos: list[str]) -> None:
    result = img2mv3d("run", *photos, "gone.png", "--json")
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(t["photo"], t["ok"], t["status"]) for t in told] == [
        ("gone.png", False, 3),
        *((p, True, 0) for p in photos),
    ]
    assert (
        told[1]["result"] == str(workshop.out / "cup" / "mesh.glb") and told[1]["stages"]["export"]["how"] == "computed"
    )
    assert told[0]["error"] == "gone.png: no such file"


def test_without_a_report_there_is_no_page_of_all_either(img2mv3d: Run, workshop: Workshop, photos: list[str]) -> None:
    assert "on one page" not in img2mv3d("run", *photos, "--no-report").stderr
    assert not (workshop.out / "index.html").exists()


def test_a_page_of_somebody_else_stays_and_fails_nothing(img2mv3d: Run, workshop: Workshop, photos: list[str]) -> None:
    workshop.out.mkdir()
    (workshop.out / "index.html").write_text("mine")
    result = img2mv3d("run", *photos)
    assert result.exit_code == 0 and "is not one of ours and was not overwritten" in result.stderr
    assert (workshop.out / "index.html").read_text() == "mine"


def test_quiet_tells_failures_and_the_sum_alone(img2mv3d: Run, photos: list[str]) -> None:
    lines = img2mv3d("run", *photos, "gone.png", "-q").stderr.splitlines()
    assert len(lines) == 2 and "gone.png" in lines[0] and "3 of 4 done" in lines[1]


def test_an_interrupt_ends_the_batch_with_its_sum(
    img2mv3d: Run, workshop: Workshop, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = workshop.runners.prepare

    def until_second(context: object, photo: Path, mask: object, matting: object) -> object:
        if photo.name == "hat.png":
            raise KeyboardInterrupt
        return prepare(context, photo, mask, matting)

    monkeypatch.setattr(runners, "prepare", until_second)
    result = img2mv3d("run", *photos)
    assert result.exit_code == 130 and "1 of 3 done" in result.stderr and ", 2 not begun" in result.stderr
    assert result.stdout.splitlines() == [str(workshop.out / "cup" / "mesh.glb")]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mask", "mask.png"], "--mask takes one photo"),
        (["--until", "dream"], "'dream' is not one of"),
        (["--steps", "0"], "invalid value for '--steps'"),
        (["--size", "3mm", "--height", "3mm"], "give one of them"),
    ],
)
def test_flags_without_sense_stop_it_before_anything_is_done(
    img2mv3d: Run, workshop: Workshop, photos: list[str], words: list[str], says: str
) -> None:
    result = img2mv3d("run", *photos, *words)
    assert result.exit_code == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1
    assert not workshop.out.exists()


def test_from_takes_no_photos_words(img2mv3d: Run, photos: list[str]) -> None:
    assert img2mv3d("run", "--from", "out", "--seeds", 2).exit_code == 2
    assert img2mv3d("run", "--from", "out", "cup.png").exit_code == 2


def test_jobs_run_in_processes_of_their_own_with_the_same_words(workshop: Workshop) -> None:
    for name in ("a.png", "b.png", "c.png"):
        (workshop.folder / name).write_bytes(b"no picture at all")
    line = [sys.executable, "-m", "img2mv3d", "run", "a.png", "b.png", "c.png", "--jobs", "2", "--json", "--no-cache"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(line, cwd=workshop.folder, env=env, capture_output=True, text=True)
    told = [json.loads(text) for text in done.stdout.splitlines()]
    ended = [t["photo"] for t in told]
    assert done.returncode == 3 and sorted(ended) == ["a.png", "b.png", "c.png"], done.stderr
    assert all("cannot be read as an image" in t["error"] for t in told), told
    assert done.stderr.splitlines()[-1].endswith("failed: a.png, b.png, c.png")  # in the order of the list


def test_an_outcome_is_one_line_whatever_the_error_says() -> None:
    told = json.dumps(Outcome(Path("a.png"), 5, "no\nroom").plain())
    assert "\n" not in told and json.loads(told)["error"] == "no\nroom"

"""What a worker does: stages told as events, files that appear whole, reasons without paths of this machine."""

import errno
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from img2mv3d.errors import PhotoError
from img2mv3d.flow import runners
from img2mv3d.serve.run_options import RunOptions
from img2mv3d.serve.work import PICTURES, PhotoRuns, RunTask, mesh_name, pack_obj, reason_of
from tests.conftest import Workshop
from tests.fakes import FakeBundle


@pytest.fixture
def work(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> PhotoRuns:
    for name, stage in workshop.runners.table().items():
        monkeypatch.setattr(runners, name, stage)
    work = PhotoRuns()
    work._bundle = FakeBundle()
    return work


def task(folder: Path, parent: Path | None = None, **options: Any) -> RunTask:
    folder.mkdir()
    Image.new("RGB", (40, 30), "teal").save(folder / "photo", format="PNG")
    return RunTask(folder, RunOptions(**options).model_dump(), parent)


def test_stages_are_told_and_files_are_there(work: PhotoRuns, workshop: Workshop) -> None:
    told: list[tuple[str, dict]] = []
    outcome = work.do(task(workshop.folder / "run"), lambda *event: told.append(event))
    assert outcome.ok and outcome.facts["file"] == "mesh.glb" and "cut" in outcome.facts["warnings"]
    assert [d["stage"] for k, d in told if k == "stood"] == [
        "prepare",
        "generate",
        "depth",
        "decode",
        "reconstruct",
        "export",
    ]
    begun = [d for k, d in told if k == "stage"]
    assert begun[0] == {"stage": "prepare", "number": 1, "total": 6, "doing": "cutting the object out"}
    for name in ("photo.jpg", "out/subject.png", "out/views/color_back.png", "out/mesh.glb"):
        assert (workshop.folder / "run" / name).is_file()


def test_a_variant_computes_only_what_it_changes(work: PhotoRuns, workshop: Workshop) -> None:
    first = workshop.folder / "first"
    work.do(task(first), lambda *event: None)
    workshop.runners.calls.clear()
    outcome = work.do(task(workshop.folder / "second", first, format="stl"), lambda *event: None)
    assert outcome.facts["file"] == "mesh.stl" and dict(workshop.runners.calls) == {"export": 1}
    assert (first / "out" / "mesh.glb").exists()


def test_photos_of_other_sides_go_with_a_run(work: PhotoRuns, workshop: Workshop) -> None:
    first = task(workshop.folder / "first")
    Image.new("RGB", (30, 30), "red").save(first.folder / "right", format="PNG")
    assert work.do(first, lambda *event: None).ok and (first.folder / "out" / "sides" / "90" / "subject.png").exists()
    assert set(PICTURES) == {"photo", "mask", "back", "left", "right"}


def test_options_become_the_plan_of_the_command_line() -> None:
    options = RunOptions(
        quality="draft", seed=4, depth_ratio=0.4, facing_deg=-30, size_mm=80, faces=900, remover="grabcut"
    )
    plan = options.plan()
    assert (plan.seed, plan.shape.depth_ratio, plan.shape.facing_deg) == (4, 0.4, -30.0)
    assert plan.prepare.remover == "grabcut"
    assert (plan.export.size_mm, plan.export.faces, plan.export.texture_size) == (80.0, 900, 512)


def test_ranges_are_those_of_the_command_line() -> None:
    from img2mv3d.cli.flags import FLAGS, SIZE_MM
    from img2mv3d.plans import REMOVERS

    told = RunOptions.model_json_schema()["properties"]
    for option, flag in {
        "depth_ratio": "depth_ratio",
        "facing_deg": "facing",
        "faces": "faces",
        "texture_size": "texture_size",
        "elevation_deg": "elevation",
    }.items():
        number = told[option]["anyOf"][0]
        assert (number["minimum"], number["maximum"]) == (FLAGS[flag].low, FLAGS[flag].high), option
    assert (told["size_mm"]["anyOf"][0]["minimum"], told["size_mm"]["anyOf"][0]["maximum"]) == SIZE_MM
    assert tuple(told["format"]["enum"]) == FLAGS["format"].choices
    assert tuple(told["remover"]["enum"]) == REMOVERS


def test_a_reason_is_one_line_without_our_folders(tmp_path: Path) -> None:
    assert reason_of(PhotoError(f"{tmp_path}/photo: cannot\nbe read"), tmp_path) == "photo: cannot be read"
    assert reason_of(MemoryError(), tmp_path).startswith("not enough memory")
    assert reason_of(OSError(errno.ENOSPC, "no space"), tmp_path) == "no room left on the server's disk"
    assert reason_of(KeyError("x"), tmp_path) == "a defect of img2mv3d (KeyError: 'x')"


def test_a_photo_that_cannot_be_read_is_an_outcome(work: PhotoRuns, workshop: Workshop) -> None:
    broken = task(workshop.folder / "run")
    (broken.folder / "photo").write_bytes((broken.folder / "photo").read_bytes()[:60])
    outcome = work.do(broken, lambda *event: None)
    assert not outcome.ok and outcome.reason.startswith("photo: ") and str(workshop.folder) not in outcome.reason


def test_an_obj_comes_with_its_material_and_picture(tmp_path: Path) -> None:
    for name in ("mesh.obj", "mesh.mtl", "mesh_color.png", "mesh.glb"):
        (tmp_path / name).write_text(name)
    pack_obj(tmp_path)
    with zipfile.ZipFile(tmp_path / mesh_name("obj")) as archive:
        assert sorted(archive.namelist()) == ["mesh.mtl", "mesh.obj", "mesh_color.png"]

"""`run --cluster` on stand-ins for engine and stages: what is told, what is tried again, what stands at the end."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from img2mv3d import errors
from img2mv3d.bundles import weights
from img2mv3d.cli import dry
from img2mv3d.cli.nodes import PhotoWork
from img2mv3d.cli.tasks import Task
from img2mv3d.cluster import start
from img2mv3d.flow import runners
from img2mv3d.flow.graph import STAGES
from tests.cli.conftest import Run
from tests.cluster.desk import Here
from tests.conftest import Workshop


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine was asked for; "lost" says what it loses."""
    asked: dict[str, Any] = {"lost": {}}

    def made(where: str, work: Any, need: Any, seats: int | None, place: Path) -> Here:
        here = Here(work)
        here.lost = asked["lost"]
        asked.update(where=where, need=need, seats=seats, place=place, engine=here)
        return here

    monkeypatch.setattr(start, "open_engine", made)
    monkeypatch.setattr(dry, "needed", lambda plan: (123, "cpu"))
    monkeypatch.setattr(weights, "kept_loaded", lambda bundle: bundle)
    return asked


@pytest.fixture
def photos(workshop: Workshop) -> list[str]:
    for name in ("cup.png", "hat.png", "toy.png"):
        (workshop.folder / name).write_bytes(name.encode())
    return ["toy.png", "cup.png", "hat.png"]


def events(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]  # every line is one


def test_a_cluster_makes_what_one_machine_makes(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]
) -> None:
    assert img2mv3d("run", *photos, "-o", "one", "--no-cache").exit_code == 0
    assert img2mv3d("run", *photos, "-o", "many", "--no-cache", "--cluster", "local", "--jobs", 7).exit_code == 0
    meshes = [[(workshop.folder / o / n / "mesh.glb").read_bytes() for n in ("toy", "cup")] for o in ("one", "many")]
    assert meshes[0] == meshes[1]
    assert engine["where"] == "local" and engine["seats"] == 7 and engine["place"] == workshop.folder / "many"
    assert engine["need"].memory == 123 and engine["need"].gpus == 0


def test_events_have_one_run_and_the_summary_the_order_of_the_list(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]
) -> None:
    engine["lost"] = {0: ["node"], 1: ["killed"] * 9}
    result = img2mv3d("run", "gone.png", *photos, "--cluster", "local", "--json")
    told = events(result)
    assert len({e["run"] for e in told}) == 1 and result.exit_code == 1
    kinds = ("begin", "begun", "stage", "again", "photo", "end")
    by_kind = {kind: [e for e in told if e["event"] == kind] for kind in kinds}
    assert sum(map(len, by_kind.values())) == len(told)
    assert [e["stage"] for e in by_kind["stage"] if e["photo"] == "hat.png"] == list(STAGES)
    assert [(e["photo"], e["lost"]) for e in by_kind["again"]] == [
        ("toy.png", "node"),
        ("cup.png", "killed"),
        ("cup.png", "killed"),
    ]
    assert [e["photo"] for e in by_kind["photo"]] == ["gone.png", "toy.png", "hat.png", "cup.png"]
    assert by_kind["photo"][-1]["error"] == "set aside: its process died 3 times (killed went)"
    counted = by_kind["end"][0]
    assert counted["done"] == 2 and counted["failed"] == {"PhotoError": 1, "SetAside": 1}
    assert counted["lost"] == {"node": 1, "killed": 2}
    summary = json.loads((workshop.out / "summary.json").read_text())
    assert [p["photo"] for p in summary["photos"]] == ["gone.png", *photos] and summary["run"] == told[0]["run"]


def test_bad_input_is_not_tried_again_and_its_words_name_it_as_typed(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(context: Any, photo: Path, mask: Any, matting: Any) -> Any:
        raise errors.PhotoError(f"{photo}: cannot be read as an image")

    monkeypatch.setattr(runners, "prepare", bad)
    result = img2mv3d("run", *photos, "--cluster", "local")
    assert result.exit_code == 3 and "failed: cup.png: cannot be read as an image" in result.stderr
    assert [task.photo.name for task in engine["engine"].tasks] == photos


def test_the_same_command_goes_on(img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]) -> None:
    img2mv3d("run", *photos[:2], "--cluster", "local")
    workshop.runners.calls.clear()
    told = events(img2mv3d("run", *photos, "--cluster", "local", "--json"))
    assert workshop.runners.calls["export"] == 1 and told[-1]["cached"] == 2


def test_a_list_gives_each_photo_its_own_flags(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]
) -> None:
    (workshop.folder / "list.csv").write_text("photo,seed,format\ncup.png,3,stl\ncup.png,,\n")
    assert img2mv3d("run", "list.csv", "--seed", 5, "--cluster", "local").exit_code == 0
    assert [task.typed.get("seed") for task in engine["engine"].tasks] == [3, 5]
    assert sorted(p.name for p in workshop.out.glob("*/mesh.*") if p.suffix != ".json") == ["mesh.glb", "mesh.stl"]


def test_other_programs_views_are_fitted_by_a_list(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]
) -> None:
    for name, photo in (("one", "cup.png"), ("two", "hat.png")):
        img2mv3d("run", photo, "-o", name, "--until", "decode")
        (workshop.folder / name / "views").rename(workshop.folder / f"views of {name}")
    (workshop.folder / "list.csv").write_text("from,grid\nviews of one,64\nviews of two,\n")
    for stage, file in (("decode", "views/views.json"), ("reconstruct", "surface.npz")):
        workshop.runners.calls.clear()
        result = img2mv3d("run", "list.csv", "--until", stage, "-o", stage, "--cluster", "local", "--json")
        assert result.exit_code == 0 and events(result)[-1]["done"] == 2, result.output
        assert all((workshop.folder / stage / f"views of {name}" / file).is_file() for name in ("one", "two"))
    assert workshop.runners.calls["reconstruct"] == 2 and not workshop.runners.calls["generate"]


def test_memory_is_forecast_for_the_row_that_needs_most(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(dry, "needed", lambda plan: asked.append(plan) or (plan.reconstruct.grid, "cpu"))
    rows = [f"cup.png,{seed},{grid}" for seed, grid in ((0, 64), (1, 96), (2, ""), (3, 96))]
    (workshop.folder / "list.csv").write_text("\n".join(["photo,seed,grid", *rows]))
    assert img2mv3d("run", "list.csv", "--grid", 80, "--cluster", "local").exit_code == 0
    assert engine["need"].memory == 96 and [plan.reconstruct.grid for plan in asked] == [64, 96, 80]


def test_a_row_whose_flags_exclude_each_other_ends_it_before_anything_begins(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]
) -> None:
    (workshop.folder / "list.csv").write_text("photo,size,height\ncup.png,9cm,\nhat.png,9cm,8cm\n")
    result = img2mv3d("run", "list.csv", "--cluster", "local")
    assert result.exit_code == 2 and "hat.png: --size and --height exclude each other" in result.stderr
    assert not workshop.out.exists() and "engine" not in engine


def test_photos_of_one_name_in_two_folders_are_told_and_kept_apart(
    img2mv3d: Run, workshop: Workshop, engine: dict[str, Any]
) -> None:
    for folder in ("a", "b"):
        (workshop.folder / folder).mkdir()
        (workshop.folder / folder / "1.png").write_bytes(folder.encode())
    result = img2mv3d("run", "a/1.png", "b/1.png", "--cluster", "local")
    assert "note: out/1.png-2: named so since other photos have that name" in result.stderr
    assert sorted(p.parent.name for p in workshop.out.glob("*/mesh.glb")) == ["1.png", "1.png-2"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--cluster", "kubernetes"), "expected local, ray, ray://HOST:PORT or slurm"),
        (("--cluster", "slurm://x"), "expected local"),
        (("--cluster", "local", "--store", "nowhere"), "expected a URL such as"),
        (("--cluster", "local", "--no-cache", "--store", "file:///x"), "--store needs the cache"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    img2mv3d: Run, photos: list[str], engine: dict[str, Any], words: tuple[str, ...], says: str
) -> None:
    result = img2mv3d("run", *photos, *words)
    assert result.exit_code == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1


def test_weights_in_a_folder_are_named_so_that_every_node_finds_them(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]
) -> None:
    (workshop.folder / "mine").mkdir()
    img2mv3d("run", *photos, "--cluster", "local", "--bundle", "mine")
    here = engine["engine"]
    assert {here.work.bundle, *(task.typed["bundle"] for task in here.tasks)} == {str(workshop.folder / "mine")}
    img2mv3d("run", *photos, "--cluster", "local", "--bundle", "mini")
    assert engine["engine"].work.bundle == "mini"


def test_an_engine_that_is_not_installed_says_what_to_type(
    img2mv3d: Run, photos: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "find_spec", lambda name: None)
    assert "needs submitit, which is not installed" in img2mv3d("run", *photos, "--cluster", "slurm").stderr


def test_a_store_that_is_shared_is_filled(
    img2mv3d: Run, workshop: Workshop, photos: list[str], engine: dict[str, Any]
) -> None:
    store = f"file://{workshop.folder}/shared"
    img2mv3d("run", *photos, "--cluster", "local", "--store", store, "--cache", "one", "-o", "a")
    workshop.runners.calls.clear()
    told = events(
        img2mv3d("run", *photos, "--cluster", "local", "--store", store, "--cache", "two", "-o", "b", "--json")
    )
    assert not workshop.runners.calls and told[-1]["cached"] == 3


@pytest.mark.parametrize("kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, Exception)])
def test_every_error_comes_back_as_an_outcome_that_another_process_can_read(
    workshop: Workshop, kind: type[Exception], engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from img2mv3d.cli import tasks
    from img2mv3d.cli.seeds import ONE

    def raises(*words: Any, **more: Any) -> None:
        raise kind("why")

    monkeypatch.setattr(tasks, "carry_one", raises)
    monkeypatch.setattr("img2mv3d.cli.nodes.PATIENCE", 0.0)
    task = Task(workshop.photo, workshop.out, "export", {}, ONE)
    outcome = pickle.loads(pickle.dumps(PhotoWork("fake", "cpu").do(task, lambda kind, data: None)))
    assert outcome.facts["kind"] == kind.__name__ and outcome.reason == "why" and not outcome.lost

"""Rendering and measuring on an engine give what one machine gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from img2mv3d.cli.app import app
from img2mv3d.cli.spread import Measuring
from img2mv3d.cluster import start
from img2mv3d.eval import of_photos
from img2mv3d.eval.comparison import Case, Method, Metric, Planned, Result
from img2mv3d.files.durable import digest_file
from tests.cluster.desk import Here
from tests.data.test_renders import HEADER
from tests.patterned import patterned_ball

BRIGHT = Metric(("bright",), lambda case, result: {"bright": float(result.colors.mean())})


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Here]:
    made: list[Here] = []
    monkeypatch.setattr(start, "open_engine", lambda where, work, *more: made.append(Here(work)) or made[-1])
    return made


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words], prog_name="img2mv3d")
    assert result.exit_code == 0, result.output
    return result.stdout


def corpus(folder: Path) -> Path:
    (folder / "objects").mkdir(parents=True)
    import trimesh

    mesh = trimesh.creation.box((0.6, 0.4, 0.5))
    rows = HEADER
    for name in ("sh3d-one", "sh3d-two", "sh3d-broken"):
        rows += f"{name}\tp\tq\tCC0-1.0\tkitchen\t{len(name)}\t8\tno\tmulti\t0\ttrain\tsomebody\n"
        box = {"vertices": mesh.vertices.astype(np.float32), "faces": mesh.faces.astype(np.int32)}
        np.savez(folder / "objects" / f"{name}.npz", **box, face_rgb=np.full((len(mesh.faces), 3), 99, np.uint8))
    (folder / "objects" / "sh3d-broken.npz").write_bytes(b"no archive")
    (folder / "manifest.tsv").write_text(rows, encoding="utf-8")
    return folder


def test_renders_are_those_of_one_machine(tmp_path: Path, engines: list[Here]) -> None:
    meshes = corpus(tmp_path / "meshes")
    call("data", "render", meshes, "-o", tmp_path / "alone", "--poses", 1)
    call("data", "render", meshes, "-o", tmp_path / "spread", "--poses", 1, "--cluster", "local")
    assert sorted(engines[0].tasks[0]) == ["sh3d-broken.0", "sh3d-one.0", "sh3d-two.0"]
    files = [
        {p.relative_to(out): digest_file(p) for p in sorted(out.rglob("*")) if p.is_file()}
        for out in (tmp_path / "alone", tmp_path / "spread")
    ]
    assert files[0] == files[1] and len(files[0]) == 3


def test_folders_of_weights_and_results_are_named_so_that_every_node_finds_them(
    tmp_path: Path, engines: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_photos, "planned", lambda *told: ({}, iter(()), [BRIGHT], "truth"))
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path / "meshes")
    (tmp_path / "mine").mkdir()
    line = ("eval", "views", "meshes", "--cluster", "local", "--bundle", "mine")
    CliRunner().invoke(app, [*line, "--method", "theirs=mine", "--method", "mini"])
    CliRunner().invoke(app, [*line])
    works = [(here.work.bundle, here.work.given) for here in engines]
    mine = str(tmp_path / "mine")
    assert works == [(mine, (f"theirs={mine}", "mini=mini")), (mine, (f"mine={mine}",))]


def test_rows_and_table_are_those_of_one_machine(
    tmp_path: Path, engines: list[Here], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def planned(*told: Any) -> tuple[dict, Any, list, str]:
        def ball(name: str) -> Case:
            made.append(name)
            return patterned_ball()

        cases = (Planned(name, "photo", "x", lambda name=name: ball(name)) for name in ("a", "b", "c"))
        return {"truth": Method(lambda case: Result(case.truth), "1")}, cases, [BRIGHT], "truth"

    monkeypatch.setattr(of_photos, "planned", planned)
    meshes = corpus(tmp_path / "meshes")
    alone = call("eval", "views", meshes, "-o", tmp_path / "alone")
    assert made == ["a", "b", "c"]
    spread = call("eval", "views", meshes, "-o", tmp_path / "spread", "--cluster", "local")
    assert made == ["a", "b", "c"] * 2 and engines[0].tasks == [0, 1, 2]
    assert isinstance(engines[0].work, Measuring) and alone == spread
    assert (tmp_path / "alone" / "views.tsv").read_bytes() == (tmp_path / "spread" / "views.tsv").read_bytes()

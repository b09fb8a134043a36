"""Rendering and measuring on three nodes of Ray: the files of one machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh

pytest.importorskip("ray")

from img2mv3d.files.durable import digest_file
from tests.cluster.nodes import ENVIRONMENT, Nodes
from tests.data.test_renders import HEADER
from tests.toys import toy_bundle

pytestmark = pytest.mark.slow
THREADS = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    for name, value in (ENVIRONMENT | THREADS).items():
        monkeypatch.setenv(name, value)
    made = Nodes(memory=6 << 30)
    yield made
    made.end()


def corpus(folder: Path) -> Path:
    """Boxes: ten to be rendered, two of them held out."""
    (folder / "objects").mkdir(parents=True)
    rows = HEADER
    for n in range(10):
        mesh = trimesh.creation.box((0.6, 0.3 + 0.02 * n, 0.5))
        box = {"vertices": mesh.vertices.astype(np.float32), "faces": mesh.faces.astype(np.int32)}
        np.savez(folder / "objects" / f"sh3d-{n}.npz", **box, face_rgb=np.full((len(mesh.faces), 3), 99, np.uint8))
        rows += f"sh3d-{n}\tp\tq\tCC0-1.0\tkitchen\t{n + 12}\t8\tno\tmulti\t0\t{'val' if n < 2 else 'train'}\tx\n"
    (folder / "manifest.tsv").write_text(rows, encoding="utf-8")
    return folder


def call(place: Path, *words: str) -> str:
    """stdout of a command."""
    line = [sys.executable, "-m", "img2mv3d", *words]
    done = subprocess.run(line, cwd=place, env={**os.environ, **THREADS}, capture_output=True, text=True)
    assert done.returncode == 0 and "failed" not in done.stderr, done.stderr[-2000:]
    return done.stdout


def files(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): digest_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_renders_and_tables_are_those_of_one_machine(tmp_path: Path, nodes: Nodes) -> None:
    corpus(tmp_path / "meshes")
    toy_bundle(tmp_path / "toy")
    where = ("--cluster", f"ray://{nodes.address}")
    for out, more in (("alone", ()), ("spread", where)):
        call(tmp_path, "data", "render", "meshes", "-o", out, "--poses", "1", *more)
    alone, spread = files(tmp_path / "alone"), files(tmp_path / "spread")
    assert alone == spread and len(alone) >= 10
    line = ("eval", "views", "meshes", "--bundle", "toy", "--method", "toy", "--count", "2", "-o")
    tables = [call(tmp_path, *line, out, *more) for out, more in (("table", ()), ("spread table", where))]
    assert tables[0] == tables[1] and "photo copied" in tables[0]
    assert digest_file(tmp_path / "table" / "views.tsv") == digest_file(tmp_path / "spread table" / "views.tsv")

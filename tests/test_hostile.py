"""Hostile files: refused in one line that names the file, or read without the harm; nothing in them runs."""

import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from img2mv3d.mesh.arrays import MeshArrays
from tests.fuzzing import CASES, look
from tests.hostile import RED, Case, every, outcome

QUICKLY = [pytest.param(case, id=f"{kind}: {case.what}"[:60]) for kind, case in every() if not case.large]


@pytest.mark.parametrize("case", QUICKLY)
def test_a_hostile_file_does_no_harm(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    path = case.make(folder)
    if path.suffix == ".usdz" and find_spec("pxr") is None:
        pytest.skip("usd-core is not installed")
    before = {p for p in tmp_path.rglob("*")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, line = outcome(case, path)
    assert found == case.outcome, line
    if found == "refused":
        assert "\n" not in line and str(folder) in line and len(line) < 600
    assert {p for p in tmp_path.rglob("*")} == before  # nothing ran, nothing was unpacked
    if "outside" in str(before) and found == "read":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mesh: MeshArrays = case.reader(path)
        shown = mesh.colors if mesh.texture is None else mesh.texture.reshape(-1, 3)
        assert np.abs(shown.astype(int) - RED).max(axis=-1).min() > 50


@pytest.mark.parametrize("reader", CASES)
def test_damaged_files_are_read_or_refused(reader: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = look(reader, 1.0)
    assert found["crashes"] == {} and set(found["outcomes"]) <= {"read", "refused"}


def test_a_pipe_is_no_latents_file(tmp_path: Path) -> None:
    """Opening one would wait for ever."""
    from img2mv3d.errors import LatentsError
    from img2mv3d.files.contents import read_latents

    os.mkfifo(tmp_path / "latents.pt")
    with pytest.raises(LatentsError, match="not a regular file"):
        read_latents(tmp_path / "latents.pt")

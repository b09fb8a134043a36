"""Hostile files: refused in one line that names the file, or read without the harm; nothing in them runs."""

import json
import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from img2mv3d.bundles.fetch import faults
from img2mv3d.bundles.manifests import read_manifest
from img2mv3d.errors import InputError, WeightsError
from img2mv3d.files.durable import sealed
from img2mv3d.flow.run_folder import RunFolder
from img2mv3d.geometry.framing import Framing
from img2mv3d.matting.model import model_for
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.report.gather import gather
from img2mv3d.values import Body, Depth, Subject, Surface, save_views
from tests.fuzzing import CASES, look, views
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
        found = look(reader, None)  # the same files each time; by chance and for long: python -m tests.fuzzing
    assert found["crashes"] == {} and set(found["outcomes"]) <= {"read", "refused"}


ODD = {  # each of these once ended in a trace
    "depth.npz": [{"warnings": None}, {"warnings": True}],
    "surface.npz": [{"warnings": 1}, {"figures": []}],
    "shape.npz": [[], {"warnings": "x"}],
}


@pytest.mark.parametrize(("name", "notes"), [(n, notes) for n, odd in ODD.items() for notes in odd])
def test_notes_of_another_form_are_refused(name: str, notes: object, tmp_path: Path) -> None:
    value = {"depth.npz": Depth, "surface.npz": Surface, "shape.npz": Body}[name]
    save_views(views(), tmp_path / "plain")
    held = {"sdf": np.ones((8, 8, 8)), "z": np.zeros((6, 16, 16)), "hit": np.zeros((6, 16, 16))}
    held |= {
        "field": held["sdf"],
        "far": np.zeros((4, 4, 3)),
        "normal": np.zeros((4, 4, 3)),
        "ratios": np.zeros((4, 2)),
    }
    np.savez(tmp_path / name, **held, notes=np.frombuffer(json.dumps(notes).encode(), np.uint8))
    with pytest.raises(InputError, match=name):
        value.load(tmp_path)


@pytest.mark.parametrize(
    "framing", [{"framing_px": 1e308}, {"framing_px": 0}, {"scale": [0, 1]}, {"scale": [1e999, 1]}]
)
def test_a_framing_that_frames_nothing_is_refused(framing: dict[str, object], tmp_path: Path) -> None:
    picture = np.zeros((256, 256, 4), np.uint8)
    Subject(picture, picture, Framing((1.0, 1.0), (0.0, 0.0), 144)).save(tmp_path)
    notes = json.loads((tmp_path / "prepare.json").read_text())
    notes["framing"] |= framing
    (tmp_path / "prepare.json").write_text(json.dumps(notes))
    with pytest.raises(InputError, match=r"prepare\.json"):
        Subject.load(tmp_path)


@pytest.mark.parametrize(
    "odd",
    [{"files": 1}, {"files": {"a": []}}, {"files": None}, {"source": "x"}, {"stages": {"depth": 1}}, {"pending": [1]}],
)
def test_a_record_of_another_form_is_unknown(odd: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(sealed({"format": "img2mv3d-run/1", **odd}))
    notes: list[str] = []
    found = RunFolder(tmp_path, notes.append)
    assert found.record["files"] == {} and "taken as unknown" in notes[0]
    assert any("not as a run leaves it" in line for line in gather(tmp_path).missing)


@pytest.mark.parametrize("odd", [{}, {"files": True}, {"files": {"a": {"size": 1}}}])
def test_a_record_of_fetched_weights_of_another_form_is_a_fault(odd: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "fetched.json").write_bytes(sealed(odd))
    assert faults(tmp_path) == ["fetched.json is not as it was written"]


@pytest.mark.parametrize("odd", ["parts = 1", "parts = []", "parts = {unet = 3}", 'framing_px = "x"\nparts = {}'])
def test_a_manifest_of_another_form_is_refused(odd: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_text(f'format = "img2mv3d-bundle/1"\nname = "m"\n{odd}\n')
    with pytest.raises(WeightsError, match=r"manifest\.toml"):
        read_manifest(tmp_path)


def test_numbers_beside_a_network_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    for odd in ("std = [nan, 1, 1]", "mean = [inf, 0, 0]", "std = [0, 1, 1]", "mean = 3", "more = 1"):
        (tmp_path / "net.toml").write_text(f"size = 320\n{odd}\n")
        with pytest.raises(WeightsError, match=r"net\.toml"):
            model_for(str(tmp_path / "net.onnx"))


def test_a_pipe_is_no_latents_file(tmp_path: Path) -> None:
    """Opening one would wait for ever."""
    from img2mv3d.errors import LatentsError
    from img2mv3d.files.contents import read_latents

    os.mkfifo(tmp_path / "latents.pt")
    with pytest.raises(LatentsError, match="not a regular file"):
        read_latents(tmp_path / "latents.pt")

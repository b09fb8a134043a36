"""The benchmark of the fit: its truth is right, and what is wrong with a surface shows in the figure meant for it."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from experiments.fit import exact_views
from experiments.fit.exact_views import Made, main, measure, score
from experiments.fit.records import NOTHING
from experiments.fit.truth import Truth, truth_of
from img2mv3d.data.corpus import Solid
from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.sdf import Box, sample_grid

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * np.float32(0.28)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([f for a, b, c, d in QUADS for f in ((a, b, c), (a, c, d))], np.int32)
CUBE = Solid(CORNERS, FACES, face_rgb=np.full((12, 3), 128, np.uint8))


@pytest.fixture(scope="module")
def truth() -> Truth:
    return truth_of(CUBE)


def box(truth: Truth, lower: float = 0.0) -> np.ndarray:
    """The cube's field, its top `lower` world units too low."""
    half = float(truth.vertices.max())
    return sample_grid(Box((0, -lower / 2, 0), (half, half - lower / 2, half)), 128)


def test_the_truth_scores_itself_perfectly(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(exact_views.METHODS, "truth", lambda views: Made(box(truth), "neus"))
    found = measure("cube", truth, ["truth"])[0]
    assert found.iou > 0.99 and found.z_mean < 0.01 and found.f_01 > 0.93 and found.closed and found.normal_deg < 2
    assert found.exported_iou > 0.98 and min(found.f_02_seen, found.f_02_unseen) > 0.99 and found.f_05 == 1
    assert found.unseen_share == pytest.approx(1 / 3, abs=0.02) and found.thin_share == 0


def test_a_top_that_nobody_sees_costs_the_unseen_part_only(truth: Truth) -> None:
    low = score(box(truth, 0.06), truth.views, truth.z, truth.surface.points, truth.seen)
    right = score(box(truth), truth.views, truth.z, truth.surface.points, truth.seen)
    assert low.f_01_unseen < right.f_01_unseen - 0.3 and low.f_01_seen > right.f_01_seen - 0.06
    assert low.missing_unseen > 2 * low.missing_seen
    whole = score(box(truth), truth.views, truth.z, truth.surface.points)
    assert whole.f_01_seen == whole.f_01 == right.f_01


def test_a_method_that_finds_nothing_scores_nothing(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(views):
        raise NothingFoundError("nothing")

    monkeypatch.setitem(exact_views.METHODS, "nothing", nothing)
    found = measure("cube", truth, ["nothing"])[0]
    assert {name: getattr(found, name) for name in asdict(NOTHING)} == asdict(NOTHING)
    assert found.source == "nothing" and found.iou == 0 and not found.closed


def test_memory_of_a_fit_is_what_it_took_on_top(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    field = box(truth)

    def hungry(views):
        np.ones(100 << 17)  # 100 MiB of float64
        return Made(field, "neus")

    monkeypatch.setitem(exact_views.METHODS, "hungry", hungry)
    assert 90 < measure("cube", truth, ["hungry"])[0].peak_mb < 125


def test_one_command_measures_writes_and_keeps(
    truth: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    meshes = tmp_path / "meshes"
    (meshes / "objects").mkdir(parents=True)
    head = "id\tpackage\tpath\tlicence\tcategory\tfaces\tvertices\ttextured\tcolour\tcutout\tsplit\tauthor"
    (meshes / "manifest.tsv").write_text(f"{head}\nsh3d-cube\tp\tx\tCC0-1.0\tc\t12\t8\tno\tsingle\t0\tval\tme\n")
    np.savez(meshes / "objects" / "sh3d-cube.npz", vertices=CORNERS, faces=FACES)
    monkeypatch.setitem(exact_views.METHODS, "truth", lambda views: Made(box(truth), "neus"))
    main([str(meshes), "--methods", "truth", "--keep", "truth", "-o", str(tmp_path / "out")])
    assert "| truth |" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "reconstruction.json").read_text())[0]["id"] == "sh3d-cube"
    kept = np.load(tmp_path / "out" / "fields" / "sh3d-cube.truth.npz")
    assert np.ptp(kept["vertices"][:, 0]) == pytest.approx(np.ptp(kept["true_vertices"][:, 0]), abs=0.02)

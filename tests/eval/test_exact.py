"""Truth is what stands in the corpus: who may be judged on, what cameras see, what is thin."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from img2mv3d.data.corpus import Solid
from img2mv3d.data.held_out import HELD_OUT
from img2mv3d.eval import exact
from img2mv3d.eval.exact import THIN, TUNED, exact_views, held_out, truth_of, untouched

HEADER = "id\tpackage\tpath\tlicence\tcategory\tfaces\tvertices\ttextured\tcolour\tcutout\tsplit\tauthor"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight held-out objects: three everyday ones, one of them tuned on, five others; and some forbidden ones."""
    monkeypatch.setattr("img2mv3d.data.corpus.HELD_OUT", frozenset())  # the list below decides
    tuned = min(t for t in TUNED if t.startswith("sh3d"))
    ids = [tuned, "sh3d-a", "sh3d-b", *(f"0ad-{i}" for i in range(5))]
    rows = [(name, 100 + i, "0", "val") for i, name in enumerate(ids)]
    rows += [("sh3d-hole", 300, "1", "val"), ("sh3d-learnt", 301, "0", "train"), ("sh3d-twin", 301, "0", "val")]
    lines = [f"{n}\tp\tx\tCC0-1.0\tc\t{f}\t{f}\tyes\ttexture\t{cut}\t{split}\tme" for n, f, cut, split in rows]
    (tmp_path / "manifest.tsv").write_text("\n".join([HEADER, *lines]) + "\n")
    (tmp_path / "objects").mkdir()
    for name, *_ in rows:
        (tmp_path / "objects" / f"{name}.npz").touch()
    return tmp_path


def solid_of(*parts: trimesh.Trimesh) -> Solid:
    mesh = trimesh.util.concatenate(list(parts))
    gray = np.full((len(mesh.faces), 3), 90, np.uint8)
    return Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=gray)


def test_held_out_things_have_no_holes_and_no_twins_in_training(corpus: Path) -> None:
    found = {e.id for e in held_out(corpus, 99)}
    assert not found & {"sh3d-hole", "sh3d-learnt", "sh3d-twin"}
    assert len(found) == 8


def test_nothing_that_settings_were_chosen_on_is_untouched_and_everyday_things_come_first(corpus: Path) -> None:
    found = [e.id for e in untouched(corpus, 99)]
    assert set(found[:2]) == {"sh3d-a", "sh3d-b"} and len(found) == 7 and not TUNED & set(found)
    assert [e.id for e in untouched(corpus, 3)] == found[:3]


def test_the_set_that_settings_were_chosen_on_is_the_one_that_is_told() -> None:
    assert len(TUNED) == 24 and TUNED < HELD_OUT


def test_six_cameras_see_the_sides_of_a_box_and_not_its_top() -> None:
    truth = truth_of(solid_of(trimesh.creation.box((0.6, 0.6, 0.6))))
    upright = np.abs(truth.surface.normals[:, 1]) < 0.5
    assert truth.seen[upright].mean() > 0.999 and not truth.seen[~upright].any()
    assert not truth.thin.any()


def test_a_table_top_is_thin_and_its_legs_are_not() -> None:
    width = 2 * exact.SPHERE * 0.8  # of the world; placed, the table's widest side
    top = trimesh.creation.box((0.8, 0.8 * 0.8 * THIN / width, 0.6))
    leg = trimesh.creation.box((0.1, 0.3, 0.1))
    leg.apply_translation((0, -0.2, 0))
    truth = truth_of(solid_of(top, leg))
    lying = np.abs(truth.surface.normals[:, 1]) > 0.9
    of_top = lying & (truth.surface.points[:, 1] > truth.surface.points[:, 1].max() - 0.1)
    assert truth.thin[of_top].mean() > 0.9 and not truth.thin[~lying].any()
    thick = trimesh.creation.box((0.8, 0.12, 0.6))
    assert not truth_of(solid_of(thick)).thin.any()


def test_a_house_without_a_floor_has_no_thin_roof() -> None:
    box = trimesh.creation.box((0.6, 0.6, 0.6))
    open_below = box.copy()
    open_below.update_faces(box.face_normals[:, 1] > -0.5)
    assert truth_of(solid_of(open_below)).thin.mean() < 0.01


def test_views_are_large_and_inside_of_the_frame() -> None:
    views, z, vertices = exact_views(solid_of(trimesh.creation.box((0.4, 0.6, 0.2))))
    assert np.ptp(vertices[:, 1]) * 128 == pytest.approx((views.mask[0] > 0.5).any(1).sum(), abs=2)
    assert not views.mask[:, [0, -1]].any() and not views.mask[:, :, [0, -1]].any()
    assert (z[views.mask < 0.01] == 0).all()

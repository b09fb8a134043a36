"""Methods: one name, one way to a result; they look at latents or at the photo, never at the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from img2mv3d.errors import UsageError
from img2mv3d.eval import methods
from img2mv3d.eval.comparison import Case
from img2mv3d.eval.methods import (
    BACK,
    copied,
    decoders,
    folder_method,
    is_folder_of_results,
    named,
    photo_methods,
    sized,
)
from img2mv3d.readers.third_party_views import shrunk
from img2mv3d.values import save_views
from tests.patterned import patterned_ball
from tests.toys import toy_bundle


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def test_decoders_stand_beside_the_truth_plain_decoding_and_its_blend(ball: Case, tmp_path: Path):
    bundle = toy_bundle(tmp_path)
    found = decoders(bundle, str(tmp_path), [f"a={tmp_path}"])
    assert list(found) == ["true views", "plain", "multi-view blending", "a"]
    assert named(["a=mini", "x"]) == {"a": "mini", "x": "x"}
    made = found["a"].make(ball)
    assert made.colors.shape == (6, 128, 128, 3) and made.views.mask.shape == (6, 128, 128)
    assert found["true views"].make(ball).views is ball.truth


def test_the_photo_copied_has_the_true_outline_behind_and_no_normals(ball: Case):
    views = copied(ball.photo)
    assert views.normal is None
    assert (views.mask[BACK] == views.mask[0][:, ::-1]).all() and (views.mask[1] == views.mask[0]).all()


def test_views_framed_in_another_size_are_brought_back(ball: Case):
    views = ball.truth
    larger = shrunk(views, 0.8)
    assert larger.mask.sum() > 1.3 * views.mask.sum()
    back = sized(larger, ball).views
    assert back.mask.sum() == pytest.approx(views.mask.sum(), rel=0.02)
    assert sized(views, ball).views is views


def test_a_folder_of_results_is_a_method_and_a_bundle_is_none(ball: Case, tmp_path: Path):
    save_views(ball.truth, tmp_path / "ball")
    assert is_folder_of_results(tmp_path)
    method = folder_method(tmp_path)
    there, missing = method.make(ball), method.make(replace(ball, id="cube"))
    assert missing is None and np.abs(there.colors[0].shape[0]) == ball.truth.mask.shape[1]
    assert folder_method(tmp_path).digest == method.digest
    trimesh.creation.icosphere(radius=0.5).export(tmp_path / "cube.ply")
    mesh = folder_method(tmp_path).make(replace(ball, id="cube")).mesh
    assert np.linalg.norm(mesh[0], axis=1) == pytest.approx(0.5, rel=1e-3)
    (tmp_path / "manifest.toml").write_text("")
    assert not is_folder_of_results(tmp_path)


def test_before_a_bundle_come_its_plain_views_and_their_blend(ball: Case, tmp_path: Path, monkeypatch):
    bundle = toy_bundle(tmp_path / "toy")
    named = (str(tmp_path / "toy"), [f"mine={tmp_path / 'toy'}"])
    found = photo_methods(*named)
    assert list(found) == ["plain", "multi-view blending", "mine"] and found["plain"].digest == bundle.digest
    monkeypatch.setattr(methods.Generation, "__call__", lambda self, case: ball)
    shown = found["multi-view blending"].make(ball).views
    inside = ball.truth.mask >= 0.999
    assert np.abs(shown.color - ball.truth.color)[inside].mean() < 0.02  # what agrees already stays
    assert found["plain"].make(ball).views is ball.truth


def test_two_methods_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="already"):
        photo_methods("mini", [f"a={tmp_path}", f"a={tmp_path}"])

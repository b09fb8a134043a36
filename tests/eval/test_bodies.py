"""Methods that give a body: revolution is exact on what is round, a bundle without a shape network has none."""

import numpy as np
import pytest
import torch
import trimesh

from img2mv3d.bundles.weights import Bundle, write_bundle
from img2mv3d.data.corpus import Solid
from img2mv3d.eval import protocol
from img2mv3d.eval.methods import body_methods
from img2mv3d.eval.protocol import Subject, case_of, listed
from img2mv3d.eval.scores import VIEWS, shape_figures
from img2mv3d.nets.shape import ShapeConfig, ShapeNet


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    torch.manual_seed(0)
    net = ShapeNet(ShapeConfig(widths=(32, 32, 16, 16), layers=1, fills=8, ratios=16)).eval()
    notes = {"name": "toy", "framing_px": 144}
    return write_bundle(tmp_path_factory.mktemp("bundle"), {"shape": (net, net.config.to_dict())}, notes)


@pytest.fixture(scope="module")
def ball():
    mesh = trimesh.creation.icosphere(3, 0.5)
    rgb = np.full((len(mesh.faces), 3), 150, np.uint8)
    solid = Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=rgb)
    return case_of(Subject("ball", solid, np.eye(3), "", {}), "dev")[0]


def test_a_ball_is_revolved_exactly_and_copied_in_colour(bundle: Bundle, ball) -> None:
    methods = body_methods(bundle)
    revolved = methods["revolution"].make(ball)
    assert VIEWS.measure(ball, revolved) == {}  # it has no views
    figures = shape_figures(ball, revolved.mesh, shift=True)
    assert figures["f_02"] > 0.97 and figures["volume_iou"] > 0.9
    copied = methods["photo copied"].make(ball)
    assert copied.mesh is None and VIEWS.measure(ball, copied)["iou"] > 0.98


def test_a_body_has_views_and_a_mesh_and_may_be_told_the_depth(bundle: Bundle, ball) -> None:
    methods = body_methods(bundle)
    predicted, deep = methods["body"].make(ball), methods["body, true depth"].make(ball)
    assert predicted.views is not None and VIEWS.measure(ball, predicted)["iou"] > 0
    assert np.isfinite(shape_figures(ball, deep.mesh, shift=True)["chamfer"])


def test_listed_objects_are_shown_level_and_from_above(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "ids", lambda split: frozenset({"own-1", "gone"}))
    (tmp_path / "objects").mkdir()
    mesh = trimesh.creation.box((0.3, 0.4, 0.5))
    arrays = {"vertices": mesh.vertices.astype(np.float32), "faces": mesh.faces.astype(np.int32)}
    np.savez(tmp_path / "objects" / "own-1.npz", **arrays)
    found = list(listed("dev")(tmp_path))
    assert [s.id for s in found] == ["own-1@0", "own-1@20"] and found[1].condition == "dev, 20 degrees"
    assert np.allclose(found[0].rotation[1], [0, 1, 0])  # level: up stays up

"""Training of shape: the truth costs least, outlines are cast where geometry says, a short training learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from img2mv3d.data.corpus import Solid
from img2mv3d.data.scene import Light
from img2mv3d.data.shape_pictures import PICTURE, picture
from img2mv3d.data.shape_samples import clean_sample
from img2mv3d.data.solids import carve
from img2mv3d.data.variation import Deformation, Part
from img2mv3d.geometry.columns import BIN, BINS
from img2mv3d.nets.shape import Layers, ShapeConfig, ShapeNet, columns, ratio_bins
from img2mv3d.train.loop import LoopOptions, train_average
from img2mv3d.train.shape_network import (
    ShapeBatch,
    ShapeLosses,
    ShapeTask,
    layer_targets,
    layers_loss,
    likely_ratio,
    mirrors_right,
    outlines,
    pooled,
    roundness,
    stacked,
    with_planes,
)

LIGHT = Light(occlusion=0.0)
SMALL = ShapeConfig(widths=(32, 32, 16, 16), layers=1, fills=8, ratios=16)


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    """A ball and a leaning box."""
    found = []
    for mesh, yaw in ((trimesh.creation.icosphere(3, 0.5), 0.0), (trimesh.creation.box((0.5, 0.5, 0.3)), 40.0)):
        solid = Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=None)
        solid = Solid(solid.vertices, solid.faces, face_rgb=np.full((len(solid.faces), 3), 170, np.uint8))
        part = Part(solid, carve(solid.vertices, solid.faces), Deformation())
        found.append(picture("x", [part], (yaw, 10.0, 0.0), 1.1, np.inf, LIGHT, None))
    return np.array(found, PICTURE)


def _true_layers(batch, factor: int) -> Layers:
    weight, front, back = layer_targets(batch, factor)
    scale = batch.depth[:, None, None]
    half = ((back - front) / 2).clamp(min=0.01) / scale
    fill = torch.full((len(weight), 16, *weight.shape[1:]), 9.0)
    return Layers((front + back) / 2 / scale, half.log(), torch.zeros(len(weight), 2, *weight.shape[1:]), fill)


def test_true_layers_cost_less_than_wrong_ones(records):
    batch = stacked([clean_sample(r) for r in records])
    true = _true_layers(batch, 4)
    solid = pooled(batch.solid, 2)
    best = layers_loss(true, batch, 4, solid, ShapeLosses())
    for wrong in (
        true._replace(middle=true.middle + 0.1),
        true._replace(log_half=true.log_half - 0.3),
        true._replace(fill=-true.fill),
    ):
        assert layers_loss(wrong, batch, 4, solid, ShapeLosses()) > best + 0.05


def test_a_ball_is_its_revolution_and_a_leaning_box_is_not(records):
    ball, box = roundness(stacked([clean_sample(r) for r in records]), 4)
    assert ball == 1 and box == 0


def test_gates_that_follow_a_round_body_cost_less(records):
    batch = stacked([clean_sample(records[0])])
    open_ = torch.full((1, 2, 32, 32), 3.0)
    costs = [
        layers_loss(_true_layers(batch, 4)._replace(follows=gate), batch, 4, pooled(batch.solid, 2), ShapeLosses())
        for gate in (open_, -open_)
    ]
    assert costs[0] < costs[1]


def test_the_body_of_true_layers_is_the_true_solid(records):
    batch = stacked([clean_sample(r) for r in records])
    weight = layer_targets(batch, 4)[0]
    body = columns(_true_layers(batch, 4), batch.depth, BINS, BIN) * (weight > 0.5)[..., None] > 0.5
    truth = pooled(batch.solid, 2) > 0.5
    assert ((body & truth).sum((1, 2, 3)) / (body | truth).sum((1, 2, 3))).min() > 0.9


def test_outlines_are_cast_along_their_ways():
    solid = torch.zeros(1, 5, 7, 4)
    solid[0, 1, 2, 3] = 0.7  # row 1, column 2, cell 3
    right, side, left = outlines(solid)
    assert right.shape == left.shape == (1, 5, 10) and side.shape == (1, 5, 4)
    assert side[0, 1, 3] == pytest.approx(0.7) and side.sum() == pytest.approx(0.7)
    assert right[0, 1, 2 + 3] == pytest.approx(0.7) and right.sum() == pytest.approx(0.7)
    assert left[0, 1, 2 + 4 - 1 - 3] == pytest.approx(0.7) and left.sum() == pytest.approx(0.7)


def test_a_leaning_body_casts_a_narrow_outline_from_one_side_and_a_wide_one_from_the_other():
    solid = torch.zeros(1, 1, 32, 32)
    solid[0, 0, range(32), range(32)] = 1  # column x is solid at cell x: it runs away to the right
    right, _, left = outlines(solid)
    assert (right > 0).sum() == 32 and (left > 0).sum() == 1


def test_the_likely_ratio_is_the_median():
    bins = ratio_bins(32)
    for ratio in (0.3, 0.8, 1.1):
        logits = -((bins - np.log(ratio)) / 0.2).square()[None]
        assert float(likely_ratio(logits)) == pytest.approx(ratio, rel=0.02)


def test_a_short_training_learns_two_bodies_and_can_be_continued(records, tmp_path: Path):
    for split in ("train", "dev"):
        (tmp_path / split).mkdir()
        np.save(tmp_path / split / "00000.npy", records)
    torch.manual_seed(0)
    net = ShapeNet(SMALL)
    task = ShapeTask(tmp_path, net, ShapeBatch(pictures=2, fine_every=4), ShapeLosses())
    before = task.held_out(net)
    options = LoopOptions(steps=24, lr=1e-3, lr_end=1e-3, warmup=1, new_lr_factor=3.0, ema=0.8)
    train_average(task, tmp_path / "run", options, lambda line: None)
    average = train_average(task, tmp_path / "run", LoopOptions(steps=25, lr=1e-3, ema=0.8), lambda line: None)
    after = task.held_out(average)
    assert after["told_depth"] < 0.8 * before["told_depth"] and after["told_iou"] > before["told_iou"]
    assert (tmp_path / "run" / "sheet.png").exists()


def test_a_plane_is_right_where_it_is_nearly_the_best_and_good() -> None:
    mirror = torch.tensor([[0.95, 0.93, 0.6], [0.5, 0.4, 0.5], [0.0, 0.0, 0.0]])
    right = mirrors_right(mirror)
    assert right[0].tolist() == pytest.approx([1.0, 0.833, 0.0], abs=0.01)
    assert not right[1:].any()  # a spiral; not known


def test_a_network_begins_to_learn_planes_with_the_bodies_that_it_made(records) -> None:
    torch.manual_seed(0)
    net = ShapeNet(SMALL).eval()
    grown = with_planes(net).eval()
    batch = stacked([clean_sample(r) for r in records])
    given = batch.picture, batch.outline, batch.ratio, torch.ones(2, dtype=torch.bool)
    assert net(*given).plane_logits is None
    maps = grown(*given)
    assert torch.equal(maps.coarse.middle, net(*given).coarse.middle)
    assert maps.plane_logits is not None and maps.plane_logits.shape == (2, 30)

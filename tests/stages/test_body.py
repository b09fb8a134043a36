"""From photo to body: the outline is the photo's, a told depth is used, mirrored photos give mirrored bodies."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from img2mv3d.errors import NothingFoundError, SurfaceError
from img2mv3d.geometry.columns import cropped
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.proportions import smallest_box
from img2mv3d.nets.shape import ShapeConfig, ShapeNet
from img2mv3d.stages.body import predict_body
from img2mv3d.values import BODY_CUT, Body, Subject

SMALL = ShapeConfig(widths=(32, 32, 16, 16), layers=1, fills=8, ratios=16)


@pytest.fixture(scope="module")
def net() -> ShapeNet:
    torch.manual_seed(0)
    return ShapeNet(SMALL).eval()


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A red disc, 144 px across."""
    y, x = np.mgrid[:256, :256] - 127.5
    image = np.zeros((256, 256, 4), np.uint8)
    image[np.hypot(x, y) < 72] = (200, 40, 30, 255)
    return Subject(image, image, Framing((1.0, 1.0), (0.0, 0.0), 144), "alpha", ())


@pytest.fixture(scope="module")
def body(net, subject) -> Body:
    return predict_body(subject.image, net=net)


def test_the_crop_keeps_place_and_size(subject):
    color, alpha = cropped(subject.image)
    rows, columns = np.nonzero(alpha > 0.5)
    assert np.ptp(rows) + 1 == pytest.approx(144 / 256 * 2 / 1.28 * 128, abs=1.5)
    assert rows.mean() == pytest.approx(63.5, abs=0.3) and columns.mean() == pytest.approx(63.5, abs=0.3)
    assert np.allclose(color[alpha > 0.9] * 255, (200, 40, 30), atol=1)


def test_a_body_has_the_photos_outline(body, subject):
    inside = (body.field < 0).any(2)  # [x, y]
    nodes = np.linspace(-1, 1, body.field.shape[0])
    radius = np.hypot(*np.meshgrid(nodes, nodes, indexing="ij"))
    assert not inside[radius > 72 / 128 + 0.03].any()
    assert inside[radius < 72 / 128 - 0.05].mean() > 0.95


def test_the_back_of_a_front_has_the_colours_of_its_rim(net, subject, body):
    assert body.frontal and np.abs(body.far - np.array([200, 40, 30]) / 255).max() < 0.02
    side = subject.image.copy()
    side[:, 150:, 3] = 0
    side[100:110, 150:240] = (10, 10, 200, 255)
    assert not predict_body(side, net=net).frontal


def test_a_told_depth_is_used_and_remembered(net, subject):
    flat, deep = (predict_body(subject.image, net=net, depth_ratio=r) for r in (0.2, 1.0))
    assert flat.told and flat.depth_ratio == 0.2
    assert (deep.field < 0).sum() > 2 * (flat.field < 0).sum()


def test_seeds_spread_over_the_likely_depths_and_the_first_is_their_median(net, subject, body):
    ratios = [predict_body(subject.image, net=net, seed=seed).depth_ratio for seed in range(4)]
    assert ratios[0] == body.depth_ratio and ratios[3] < ratios[1] < ratios[0] < ratios[2]
    assert 0 < body.likelihood <= 1


def test_proportions_choose_the_depth(net, subject):
    deep = predict_body(subject.image, net=net, depth_ratio=0.8)
    from_box = predict_body(subject.image, net=net, box_mm=tuple(1000 * side for side in _sides(deep)))
    assert from_box.told and from_box.box_misfit < 0.06
    assert from_box.depth_ratio == pytest.approx(0.8, rel=0.08)


def test_a_photo_from_the_side_tells_the_depth_and_carves(net, subject):
    deep = predict_body(subject.image, net=net, depth_ratio=0.8)
    side = np.zeros((256, 256, 4), np.uint8)
    half = round(72 * float(np.ptp(_nodes(deep)[:, 2]) / np.ptp(_nodes(deep)[:, 1])))
    side[128 - 72 : 128 + 72, 128 - half : 128 + half] = 255
    found = predict_body(subject.image, net=net, sides={90.0: side})
    assert found.told and found.depth_ratio == pytest.approx(0.8, rel=0.12)
    side[128 - 72 : 128, 128:] = (
        0  # nothing above the middle, to the right of it: that is farther from the first camera
    )
    cut = _nodes(predict_body(subject.image, net=net, depth_ratio=0.8, sides={90.0: side}))
    assert (cut[cut[:, 1] > 0.1][:, 2] > -0.1).all()


def test_proportions_that_no_depth_gives_are_told(net, subject):
    assert predict_body(subject.image, net=net, box_mm=(10.0, 100.0, 10.0)).box_misfit > 0.5


def _sides(body: Body) -> tuple[float, float, float]:
    nodes = np.linspace(-1, 1, body.field.shape[0])
    inside = np.stack(np.nonzero(body.field < 0), axis=1)
    return smallest_box(nodes[inside])


def test_the_mirror_image_gives_the_mirrored_body(net, subject):
    image = subject.image.copy()
    image[:, :110, 3] = 0
    one, two = predict_body(image, net=net), predict_body(np.ascontiguousarray(image[:, ::-1]), net=net)
    near = [body.field.clip(-BODY_CUT, BODY_CUT) for body in (one, two)]
    assert np.abs(near[0] - near[1][::-1]).max() < 0.02
    assert one.depth_ratio == pytest.approx(two.depth_ratio, rel=1e-4)


def test_an_empty_cut_out_is_told(net):
    with pytest.raises(NothingFoundError, match="empty"):
        predict_body(np.zeros((256, 256, 4), np.uint8), net=net)


def test_a_body_survives_its_file_and_damage_is_told(body, tmp_path):
    body.save(tmp_path)
    again = Body.load(tmp_path)
    assert np.abs(again.field - body.field.clip(-0.15, 0.15)).max() < 2e-4
    assert (again.depth_ratio, again.pitch_deg, again.told) == (body.depth_ratio, body.pitch_deg, False)
    (tmp_path / "shape.npz").write_bytes(b"no zip")
    with pytest.raises(SurfaceError, match=r"shape\.npz"):
        Body.load(tmp_path)


def _nodes(body: Body) -> np.ndarray:
    """Places of the nodes inside of it."""
    return np.argwhere(body.field < 0) * (2 / (body.field.shape[0] - 1)) - 1


@pytest.mark.parametrize("planes", [0, 30])
@pytest.mark.parametrize("facing", [-50.0, 20.0])
def test_a_told_front_is_the_mirror_plane(subject, facing, planes):
    torch.manual_seed(0)
    net = ShapeNet(replace(SMALL, planes=planes)).eval()
    body = predict_body(subject.image, net=net, facing_deg=facing)
    assert body.facing_deg == pytest.approx(facing, abs=8.1)
    x, _, z, _ = body.mirror
    front = np.array([np.sin(np.radians(facing)), np.cos(np.radians(facing))])  # to the right, towards the camera
    assert abs(np.array([x, z]) @ front) < np.sin(np.radians(9)) * np.hypot(x, z) + 1e-6


def test_facing_left_in_a_photo_is_facing_right_in_its_mirror_image(net, subject):
    image = subject.image.copy()
    image[60:100, 90:120] = (20, 20, 200, 255)
    left = predict_body(image, net=net, facing_deg=-30.0)
    right = predict_body(image[:, ::-1], net=net, facing_deg=30.0)
    one, two = left.field < 0, right.field[::-1] < 0
    assert (one & two).sum() > 0.95 * (one | two).sum()

"""How far from above a photo was taken: mini's network on bodies that it never saw, beside 'always 0'."""

import numpy as np
import pytest

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.data.scene import random_light
from img2mv3d.data.shape_pictures import picture
from img2mv3d.data.turned import turned_part
from img2mv3d.geometry.columns import CROP
from img2mv3d.nets.shape import ShapeNet
from img2mv3d.stages.body import predict_body

COUNT = 8
FIRST_SEED = 5000  # none that a training draws


@pytest.fixture(scope="module")
def net() -> ShapeNet:
    return load_bundle("mini").shape()


def _photo(seed: int, pitch_deg: float) -> np.ndarray:
    """A turned body over nothing, uint8 [256, 256, 4]."""
    rng = np.random.default_rng(seed)
    record = picture("turned", [turned_part(rng)], (0.0, pitch_deg, 0.0), 1.1, np.inf, random_light(rng), None)
    small = np.concatenate([record["color"], record["mask"][..., None]], axis=-1)
    side = round(128 * CROP)
    place = (np.arange(2 * side) + 0.5) * 128 / (2 * side)
    photo = np.zeros((256, 256, 4), np.uint8)
    inside = slice(128 - side, 128 + side)
    photo[inside, inside] = small[place.astype(int)][:, place.astype(int)]
    return photo


@pytest.mark.parametrize("pitch_deg", [0.0, 20.0])
def test_the_predicted_elevation_is_near_the_true_one(net: ShapeNet, pitch_deg: float) -> None:
    errors = []
    for seed in range(FIRST_SEED, FIRST_SEED + COUNT):
        body = predict_body(_photo(seed, pitch_deg), net=net)
        errors.append(abs(body.pitch_deg - pitch_deg))
    assert np.median(errors) < 6.0  # 'always 0' errs by 20 degrees from above


def test_a_round_body_is_as_deep_as_it_is_wide(net: ShapeNet) -> None:
    ratios = []
    for seed in range(FIRST_SEED, FIRST_SEED + COUNT):
        photo = _photo(seed, 0.0)
        rows, columns = np.nonzero(photo[..., 3] > 127)
        body = predict_body(photo, net=net)
        ratios.append(body.depth_ratio * max(np.ptp(rows), np.ptp(columns)) / np.ptp(columns))
    assert np.median(np.abs(np.log(ratios))) < 0.15

"""Distance of features: none of a picture to itself, more the worse the picture, with a way down."""

import contextlib
import io

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from img2mv3d.nets.features import feature_distance, features

pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `train` is not installed")


def pattern() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_a_picture_is_at_no_distance_from_itself_and_further_the_more_it_is_blurred():
    sharp = pattern()
    blurred = [interpolate(avg_pool2d(sharp, k), scale_factor=k, mode="bilinear") for k in (2, 4)]
    found = [float(feature_distance(b, sharp, features())) for b in (sharp, *blurred)]
    assert found[0] == 0 < found[1] < found[2]


def test_the_loss_leads_to_the_picture_and_moves_no_feature():
    found, wanted = pattern().mul(0.5).requires_grad_(), pattern()
    loss = feature_distance(found, wanted, features())
    loss.backward()
    assert found.grad is not None and torch.isfinite(found.grad).all()
    nearer = (found - 10 * found.grad).detach()
    assert feature_distance(nearer, wanted, features()) < loss
    assert not any(p.requires_grad for p in features().parameters())


def test_it_says_nothing_on_stdout():
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        features.cache_clear()
        maps = features()(pattern())
    assert said.getvalue() == "" and [m.shape[1:] for m in maps] == [(16, 32, 48), (24, 16, 24), (40, 8, 12)]

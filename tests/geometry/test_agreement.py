"""How far views agree: the numbers of the twin in torch, and an order that makes sense."""

import numpy as np
import pytest
import torch

from img2mv3d.geometry import agreement as ours
from img2mv3d.geometry import warp
from img2mv3d.geometry.agreement import agreement
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.sdf import Torus, render_world

RIGS = {
    "six": SIX_VIEWS,
    "perspective": Rig(("a", "b", "c"), (10.0, 70.0, 190.0), (5.0, 20.0, -10.0), "perspective", 2.4, 4.0),
    "two": Rig(("a", "b"), (0.0, 45.0), (0.0, 0.0)),
}


def world(rig: Rig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    color, _, mask, z = render_world(Torus(ring=0.5, tube=0.2, axis=2), rig, 64)
    return color.astype(np.float32), mask.astype(np.float32), z.astype(np.float32)


@pytest.mark.parametrize("rig", RIGS.values(), ids=RIGS)
def test_the_warp_error_is_that_of_the_twin_in_torch(rig: Rig) -> None:
    color, mask, z = world(rig)
    color = (color + np.random.default_rng(1).normal(0, 0.2, color.shape)).clip(0, 1).astype(np.float32)
    found = agreement(color, mask, z, mask, rig)
    twin = warp.warp_error(*(torch.from_numpy(a) for a in (color, z, mask)), rig)
    assert found.warp_error == pytest.approx(twin, rel=1e-3) and found.warp_error > 0.05
    assert 0.1 < found.shared < 1 and found.iou == 1


def test_the_limits_are_those_of_the_twin() -> None:
    for name in ("SAME_SURFACE", "HIT", "GRAZING"):
        assert getattr(ours, name) == getattr(warp, name)


def test_noise_and_a_wrong_outline_lower_the_score() -> None:
    color, mask, z = world(SIX_VIEWS)
    noisy = (color + np.random.default_rng(0).normal(0, 0.2, color.shape)).clip(0, 1).astype(np.float32)
    moved = np.roll(mask, 6, axis=2)
    exact, spoilt, shifted = (
        agreement(*case, z, mask, SIX_VIEWS).score for case in ((color, mask), (noisy, mask), (color, moved))
    )
    assert exact > spoilt and exact > shifted


def test_one_view_and_no_surface_are_no_division_by_zero() -> None:
    one = Rig(("only",), (0.0,), (0.0,))
    color, mask, z = world(one)
    assert agreement(color, mask, z, mask, one)[:2] == (0, 0)
    assert agreement(color, 0 * mask, 0 * z, 0 * mask, one) == (0, 0, 0)

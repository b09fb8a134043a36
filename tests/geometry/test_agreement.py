"""How far views agree: what the warp in torch says, and an order that makes sense."""

import numpy as np
import pytest
import torch

from img2mv3d.geometry import agreement as ours
from img2mv3d.geometry import warp
from img2mv3d.geometry.agreement import agreement, reprojection_error
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig, pixel_centres, unproject
from img2mv3d.geometry.rings import next_views
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
def test_the_reprojection_error_compares_what_the_torch_warp_sees(rig: Rig) -> None:
    color, mask, z = world(rig)
    color = (color + np.random.default_rng(1).normal(0, 0.2, color.shape)).clip(0, 1).astype(np.float32)
    tensors = [torch.from_numpy(a) for a in (color, z, mask)]
    total, count = 0.0, 0
    for view, other in next_views(rig):
        picked, both = warp.seen_by_both(tensors[0][other].movedim(-1, 0), *tensors[1:], rig, view, other)
        total += float((picked.movedim(0, -1) - tensors[0][view]).abs().mean(-1)[both].sum())
        count += int(both.sum())
    found = agreement(color, mask, z, mask, rig)
    assert found.reprojection_error == pytest.approx(total / count, rel=1e-3) and found.reprojection_error > 0.05
    assert found.reprojection_error == reprojection_error(color, z, mask, rig)
    assert 0.1 < found.shared < 1 and found.iou == 1


def test_true_views_agree_and_mirrored_ones_do_not() -> None:
    _, mask, z = world(SIX_VIEWS)
    size = z.shape[-1]
    points = [unproject(c, pixel_centres(size), z[i]) for i, c in enumerate(SIX_VIEWS.cameras(size))]
    color = np.stack([0.5 + 0.5 * np.sin(3 * p) for p in points]).astype(np.float32)
    assert reprojection_error(color, z, mask, SIX_VIEWS) < 0.03
    assert reprojection_error(color[:, :, ::-1], z, mask, SIX_VIEWS) > 0.1
    assert reprojection_error(color, z, 0 * mask, SIX_VIEWS) == 0.0


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

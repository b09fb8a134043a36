"""Over white and back."""

import numpy as np
import pytest
import torch

from img2mv3d.geometry.compositing import from_white, over_white


@pytest.mark.parametrize("like", [np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def test_from_white_undoes_over_white_where_enough_is_covered(like) -> None:
    rng = np.random.default_rng(0)
    color, alpha = like(rng.random((4, 5, 3))), like(rng.uniform(0.125, 1, (4, 5, 1)))
    assert np.asarray(from_white(over_white(color, alpha), alpha)) == pytest.approx(np.asarray(color))


def test_nothing_is_white_and_a_faint_pixel_is_not_amplified() -> None:
    assert (over_white(np.zeros((2, 3)), np.zeros((2, 1))) == 1).all()
    assert from_white(np.float32(0.99), np.float32(0.001)).max() <= 1

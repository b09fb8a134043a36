"""Views blended on a surface: what differs from view to view goes, the photo stays."""

import numpy as np
import torch

from img2mv3d.eval.methods import surface_of
from img2mv3d.geometry.agreement import reprojection_error
from img2mv3d.geometry.blending import multi_view_blending
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.similarity import psnr
from tests.patterned import patterned_ball


def test_noise_that_differs_from_view_to_view_is_blended_away():
    case = patterned_ball()
    rng = np.random.default_rng(0)
    noisy = (case.truth.color + 0.2 * rng.standard_normal(case.truth.color.shape, np.float32)).clip(0, 1)
    blended = multi_view_blending(torch.from_numpy(noisy).movedim(-1, 1), *surface_of(case), SIX_VIEWS)
    shown = blended.movedim(1, -1).numpy()
    bad, good = (reprojection_error(c, case.z, case.truth.mask, SIX_VIEWS) for c in (noisy, shown))
    assert bad > 0.05 and good < 0.6 * bad
    assert psnr(shown[0], case.truth.color[0], case.truth.mask[0]) > 45  # the photo itself

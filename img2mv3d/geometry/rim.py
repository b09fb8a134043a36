"""What a photo shows along the outline, carried on inside of it: a guess at the colours of a back that nobody saw.

In: the photo's colours and alpha. Out: colours everywhere.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

BAND = (0.02, 0.1)  # distance to the outline over its long side; nearer pixels are dark or mixed with what is behind
REACH = (0.2, 0.08)  # of the width of the picture, across and up: labels and clothes go round an object in rows
ELSEWHERE = 1e-3  # weight of the whole band's mean, which counts where no part of the band is near


def rim_colours(
    color: Float32[np.ndarray, "S S 3"], alpha: Float32[np.ndarray, "S S"], size: int
) -> Float32[np.ndarray, "T T 3"]:
    """Weighted means of the colours in a band along the outline, in a picture of `size` px a side.

    On 54 photos of scans from the front they are nearer to the true back (17.9 dB inside the outline) than what the
    shape network predicts (16.6 dB; blurred 17.5 dB), and hold nothing of the front's middle.
    """
    inside = alpha >= 0.5
    rows, columns = np.nonzero(inside.any(1))[0], np.nonzero(inside.any(0))[0]
    long_side = max(np.ptp(rows), np.ptp(columns)) + 1 if len(rows) else 1
    distance = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5) / long_side
    band = ((distance >= BAND[0]) & (distance <= BAND[1])).astype(np.float32)
    if not band.any():
        band = np.maximum(inside.astype(np.float32), 1e-6)
    width = float(alpha.shape[1])
    near = _spread(color, band, REACH[0] * width, REACH[1] * width)
    far = _spread(color, band, width, width)
    total = near + ELSEWHERE * far
    mean = total[..., :3] / np.maximum(total[..., 3:], 1e-12)
    return cv2.resize(mean, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)


def _spread(color: np.ndarray, weight: np.ndarray, across: float, up: float) -> np.ndarray:
    """Weighted colours and weights, blurred, [S, S, 4]."""
    parts = np.concatenate([color * weight[..., None], weight[..., None]], axis=-1)
    return cv2.GaussianBlur(parts, (0, 0), sigmaX=across, sigmaY=up, borderType=cv2.BORDER_CONSTANT)

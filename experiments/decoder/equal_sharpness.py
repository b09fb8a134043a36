"""Views blurred until they are as soft as others: any views agree better once they are blurred."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from img2mv3d.eval.metrics import edge_sharpness

WIDEST_PX = 32.0  # a blur wider than that leaves one colour
HALVINGS = 12  # of the range of widths: to a hundredth of a pixel


def sharpness(views: Float[np.ndarray, "V H W 3"], hit: Float[np.ndarray, "V H W"]) -> float:
    """`edge_sharpness`, summed over the views that show anything."""
    return float(sharpness_by_view(views, hit).sum())


def sharpness_by_view(views: Float[np.ndarray, "V H W 3"], hit: Float[np.ndarray, "V H W"]) -> Float[np.ndarray, " V"]:
    """`edge_sharpness` of each."""
    return np.array([edge_sharpness(v, h) for v, h in zip(views, hit, strict=True)])


def softened(
    views: Float[np.ndarray, "V H W 3"], hit: Float[np.ndarray, "V H W"], sigma: float
) -> Float[np.ndarray, "V H W 3"]:
    """Gaussian blur of `sigma` px inside the masks (hit: 0 or 1), from the colours inside alone; outside as it was."""
    if sigma <= 0:
        return views
    result = views.copy()
    for view, h, into in zip(views, hit, result, strict=True):
        share = _blurred(h, sigma)[..., None]
        into[h > 0] = (_blurred(view * h[..., None], sigma) / np.maximum(share, 1e-6))[h > 0]
    return result


def as_soft_as(
    views: Float[np.ndarray, "V H W 3"], hit: Float[np.ndarray, "V H W"], targets: Float[np.ndarray, " V"]
) -> Float[np.ndarray, "V H W 3"]:
    """Each view blurred as little as brings its sharpness down to its target; as it is when that is no higher. View by
    view, since the photo's own is sharp in most methods and would hide how soft the others are."""
    return np.concatenate(
        [_view_as_soft_as(views[i : i + 1], hit[i : i + 1], float(target)) for i, target in enumerate(targets)]
    )


def _view_as_soft_as(
    views: Float[np.ndarray, "1 H W 3"], hit: Float[np.ndarray, "1 H W"], target: float
) -> Float[np.ndarray, "1 H W 3"]:
    if sharpness(views, hit) <= target:
        return views
    low, high = 0.0, WIDEST_PX
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if sharpness(softened(views, hit, middle), hit) > target:
            low = middle
        else:
            high = middle
    return softened(views, hit, high)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)

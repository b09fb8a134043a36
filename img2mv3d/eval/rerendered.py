"""Views that agree can be put on one surface and taken off again: the final fit to an arm's views, seen by its cameras.

In: `Views`. Out: the fitted field, pictures of it, how far they are from the views. Why here: the paper's 4.2 judges a
decoder by it, and neither a table of decoders nor a protocol should do it in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from img2mv3d.errors import NothingFoundError
from img2mv3d.eval.blended import consensus
from img2mv3d.eval.metrics import mask_iou, psnr, ssim
from img2mv3d.neus.fit import FitOptions, fit
from img2mv3d.neus.render import render_views
from img2mv3d.values import Views


class Rerendered(NamedTuple):
    """Means over the views. psnr: dB inside the view's own mask, over white (what the surface misses is white there).
    ssim: of whole pictures. iou: of the masks. A surface that cannot be fitted has 0 in all."""

    psnr: float
    ssim: float
    iou: float


class Fits:
    """Fields fitted to views, each once: arms that differ in colours alone share theirs, for a fit looks at normals and
    masks."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, FitOptions], np.ndarray | None] = {}

    def __call__(self, views: Views, options: FitOptions) -> Float[np.ndarray, "N N N"] | None:
        """The field, or None where no surface can be fitted."""
        normal = np.zeros((*views.mask.shape, 3), np.float32) if views.normal is None else views.normal
        key = (normal.tobytes(), views.mask.tobytes(), options)
        if key not in self._known:
            try:
                self._known[key] = fit(normal, views.mask, views.rig, options).sdf
            except NothingFoundError:
                self._known[key] = None
        return self._known[key]


def rerendered(
    views: Views, sdf: Float[np.ndarray, "N N N"]
) -> tuple[Float[np.ndarray, "V H W 3"], Float[np.ndarray, "V H W"]]:
    """Colours over white, [0, 1], and opacity of the surface as the views' own cameras see it. Its colour at a point is
    the mean of what all views that see the point show there, each counted by its rays on the surface: where a squared
    loss on a colour field without view dependence ends. A view that is alone with what it shows gets that back."""
    seen = render_views(sdf, views.rig, views.mask.shape[1])
    tensors = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (seen.z, seen.opacity))
    shown = torch.from_numpy(np.ascontiguousarray(views.color, np.float32)).movedim(-1, 1)
    color = consensus(shown, *tensors, views.rig, power=1).movedim(1, -1).numpy()
    cover = seen.opacity[..., None]
    return (color * cover + 1 - cover).astype(np.float32), seen.opacity


def rerender_score(views: Views, sdf: Float[np.ndarray, "N N N"] | None) -> Rerendered:
    """The field's pictures against the views that it was fitted to."""
    if sdf is None:
        return Rerendered(0.0, 0.0, 0.0)
    color, opacity = rerendered(views, sdf)
    shown = [i for i in range(len(views.rig)) if (views.mask[i] >= 0.5).any()]
    return Rerendered(
        _mean(lambda i: min(psnr(color[i], views.color[i], (views.mask[i] >= 0.5).astype(np.float32)), 100.0), shown),
        _mean(lambda i: ssim(color[i], views.color[i]), shown),
        _mean(lambda i: mask_iou(opacity[i], views.mask[i]), shown),
    )


def _mean(figure: Callable[[int], float], views: list[int]) -> float:
    return float(np.mean([figure(i) for i in views]))

"""Views blended on a surface: the multi-view blending baseline, and re-rendering of what was fitted to them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from img2mv3d.conventions import FRONT
from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.warp import HIT, SAME_SURFACE, depth_cosine, seen_from
from img2mv3d.neus.fit import FitOptions, fit
from img2mv3d.neus.render import render_views
from img2mv3d.values import Views


def multi_view_blending(
    color: Float[torch.Tensor, "V 3 H W"],
    z: Float[torch.Tensor, "V H W"],
    hit: Float[torch.Tensor, "V H W"],
    front: Float[torch.Tensor, "4 H W"],
    rig: Rig,
) -> Float[torch.Tensor, "V 3 H W"]:
    """The baseline that needs no training: views laid on the surface, blended by squared cosines, and seen again.

    color: in [0, 1]; the front view becomes the photo.
    z, hit: world units, opacity.
    front: RGBA in [0, 1], straight alpha.
    """
    shown = color.clone()
    shown[FRONT] = over_white(front[:3], front[3:])
    result = consensus(shown, z, hit, rig)
    result[FRONT] = shown[FRONT]
    return result


def consensus(
    shown: Float[torch.Tensor, "V 3 H W"],
    z: Float[torch.Tensor, "V H W"],
    hit: Float[torch.Tensor, "V H W"],
    rig: Rig,
    power: int = 2,
) -> Float[torch.Tensor, "V 3 H W"]:
    """Every pixel with a surface gets the mean of what the views that see its point show there, its own included.

    shown: pictures in [0, 1]; pixels without a surface stay as they are.
    power: of the cosines by which the views are weighted.
    """
    cameras, solid = rig.cameras(z.shape[-1]), hit >= HIT
    facing = torch.stack([depth_cosine(c, z[i], solid[i]) for i, c in enumerate(cameras)])
    result = shown.clone()
    for view, camera in enumerate(cameras):
        weight = facing[view] ** power
        total = shown[view] * weight
        for other in range(len(cameras)):
            if other == view:
                continue
            notes = torch.stack([facing[other], solid[other].float(), z[other] * solid[other]])
            maps = torch.cat([shown[other], notes])
            picked, depth, inside = seen_from(camera, cameras[other], z[view], maps)
            near = (depth - picked[5] / picked[4].clamp(min=1e-6)).abs() < SAME_SURFACE
            share = picked[3] ** power * (inside & near & (picked[4] > 0.99))
            total, weight = total + picked[:3] * share, weight + share
        mixed = total / weight.clamp(min=1e-6)
        result[view] = torch.where(solid[view] & (weight > 1e-6), mixed, shown[view])
    return result


class Fits:
    """Fields fitted to views, each once: methods that differ in colours alone share theirs."""

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
    """Colours over white, [0, 1], and opacity of the surface as the views' own cameras see it.

    A point's colour is the mean of what all views that see it show there, each counted by its rays on the surface:
    where a squared loss on a colour field without view dependence ends.
    """
    seen = render_views(sdf, views.rig, views.mask.shape[1])
    tensors = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (seen.z, seen.opacity))
    shown = torch.from_numpy(np.ascontiguousarray(views.color, np.float32)).movedim(-1, 1)
    color = consensus(shown, *tensors, views.rig, power=1).movedim(1, -1).numpy()
    cover = seen.opacity[..., None]
    return over_white(color, cover).astype(np.float32), seen.opacity

"""Views blended on a surface that they all show: the multi-view blending baseline."""

from __future__ import annotations

import torch
from jaxtyping import Float

from img2mv3d.conventions import FRONT
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.warp import HIT, SAME_SURFACE, depth_cosine, seen_from


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

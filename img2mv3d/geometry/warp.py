"""Backward warping between views by depth: the photo onto every view, and every view onto the others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from img2mv3d.conventions import FRONT
from img2mv3d.geometry.cameras import Camera, Rig, pixel_centres, project, unproject
from img2mv3d.geometry.compositing import over_white

SAME_SURFACE = (
    0.04  # world units: two depths that differ by less are one surface (5 px of 256; the coarse depth errs by 0.013)
)
HIT = 0.5  # opacity from which a pixel has a surface
GRAZING = 0.2  # cosine below which a surface is too slanted to compare colours on it


class Warped(NamedTuple):
    """The front photo, seen from every view. Zero wherever a view has no surface.

    In the front view itself: the photo, visible wherever it is not transparent, gap 0, cosine by the depth.

    color: over white, [0, 1].
    visible: 0..1, whether the front camera sees the point.
    gap: clip((z of the point seen from the front - the front view's own depth there) / SAME_SURFACE, -1, 1).
    cosine: of the angle between the surface and the front camera's axis, 1 when they face.
    """

    color: Float[Tensor, "V 3 H W"]
    visible: Float[Tensor, "V H W"]
    gap: Float[Tensor, "V H W"]
    cosine: Float[Tensor, "V H W"]


def warp_photo(
    front: Float[Tensor, "4 H W"], z: Float[Tensor, "V H W"], hit: Float[Tensor, "V H W"], rig: Rig
) -> Warped:
    """The photo's colour at the surface point behind every pixel of every view.

    z in world units, hit in 0..1 (`conventions`). The sampled alpha lowers `visible`, so that background never lands on
    the object.

    front: RGBA in [0, 1], straight alpha; the rig's first view.
    """
    cameras = rig.cameras(z.shape[-1])
    solid = hit >= HIT
    photo, alpha = over_white(front[:3], front[3:]), front[3]
    facing = depth_cosine(cameras[FRONT], z[FRONT], solid[FRONT])
    source = torch.cat([photo, torch.stack([alpha, facing, solid[FRONT].to(z.dtype), z[FRONT] * solid[FRONT]])])
    color, visible, gap, cosine = [], [], [], []
    for view, camera in enumerate(cameras):
        if view == FRONT:
            there = ((alpha > 0) | solid[FRONT]).to(z.dtype)
            color.append(photo * there)
            visible.append((alpha > 0).to(z.dtype))
            gap.append(torch.zeros_like(alpha))
            cosine.append(facing * there)
            continue
        picked, depth, inside = seen_from(camera, cameras[FRONT], z[view], source)
        seen = inside & solid[view] & (picked[5] > HIT)
        ahead = (depth - picked[6] / picked[5].clamp(min=1e-6)) / SAME_SURFACE
        trust = (2.0 - 2.0 * ahead.abs()).clamp(0.0, 1.0)  # certain up to half of SAME_SURFACE, nothing beyond it
        opaque = ((picked[3] - HIT) / (1.0 - HIT)).clamp(0.0, 1.0)
        color.append(picked[:3] * solid[view])
        visible.append(torch.where(seen, trust * opaque, 0.0))
        gap.append(torch.where(seen, ahead.clamp(-1.0, 1.0), -1.0) * solid[view])
        cosine.append(torch.where(seen, picked[4], 0.0))
    return Warped(torch.stack(color), torch.stack(visible), torch.stack(gap), torch.stack(cosine))


def seen_by_both(
    maps: Float[Tensor, "C H W"],
    z: Float[Tensor, "V H W"],
    hit: Float[Tensor, "V H W"],
    rig: Rig,
    view: int,
    other: int,
    grazing: float = GRAZING,
) -> tuple[Float[Tensor, "C H W"], Bool[Tensor, "H W"]]:
    """The other view's `maps` at this view's points; which points both views see: one surface there (SAME_SURFACE), and
    neither looks along it (cosine above `grazing`)."""
    cameras = rig.cameras(z.shape[-1])
    solid = hit >= HIT
    here, there = (depth_cosine(cameras[i], z[i], solid[i]) for i in (view, other))
    notes = torch.stack([there, solid[other].to(z.dtype), z[other] * solid[other]])
    picked, depth, inside = seen_from(cameras[view], cameras[other], z[view], torch.cat([maps, notes]))
    facing, covered, surface = picked[-3:]
    near = (depth - surface / covered.clamp(min=1e-6)).abs() < SAME_SURFACE
    both = inside & solid[view] & (covered > 0.99) & near & (here > grazing) & (facing > grazing)
    return picked[:-3], both


def depth_cosine(camera: Camera, z: Float[Tensor, "H W"], hit: Tensor) -> Float[Tensor, "H W"]:
    """Cosine between the surface's normal and the viewing direction, from differences of depth between hit
    neighbours; 0 outside of hits.

    Exact for orthographic cameras, up to the tilt of the ray for perspective ones. Where a pixel has neighbours on
    both sides the smaller slope counts, so that the edge in front of a gap in depth is not taken for a slanted
    surface.
    """
    step = 2.0 * camera.half_width / camera.width
    if camera.kind != "orthographic":
        step = (z * step).clamp(min=1e-6)
    steep = torch.full_like(z, torch.inf)
    slopes = []
    for axis in (0, 1):
        ways = []
        for shift in (1, -1):
            near, solid = z.roll(shift, axis), hit.roll(shift, axis) & hit
            edge = 0 if shift == 1 else -1
            solid = solid.clone()
            solid.select(axis, edge).fill_(False)  # roll wraps round
            ways.append(torch.where(solid, ((z - near) / step).abs(), steep))
        least = torch.minimum(*ways)
        slopes.append(torch.where(torch.isinf(least), 0.0, least))
    return hit.to(z.dtype) / torch.sqrt(1.0 + slopes[0] ** 2 + slopes[1] ** 2)


def seen_from(
    camera: Camera, other: Camera, z: Float[Tensor, "H W"], maps: Float[Tensor, "C H W"]
) -> tuple[Float[Tensor, "C H W"], Float[Tensor, "H W"], Tensor]:
    """`maps` of the other view at the surface points behind this view's pixels; their depth there; whether inside of
    its image.
    """
    uv = torch.from_numpy(pixel_centres(*z.shape)).to(z)
    seen, depth = project(other, unproject(camera, uv, z))
    size = torch.tensor([other.width, other.height], dtype=z.dtype, device=z.device)
    place = seen * (2.0 / size) - 1.0
    picked = grid_sample(maps[None], place[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    inside = (place.abs() <= 1.0).all(-1) & ((depth > 0) | (other.kind == "orthographic"))
    return picked, depth, inside

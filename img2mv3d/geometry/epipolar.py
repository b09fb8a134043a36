"""Points along viewing rays, and the feature cells of other views that they meet, with interpolation weights."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Camera, Rig, pixel_centres, project, rays, unproject

NOISE_CELLS = (3, 64, 128)  # grids of the structured depth noise, paper eq. 3
NOISE_SHARE = (1.0, 1 / 3, 1 / 9)  # their amplitudes relative to the first: the printed scale 0.1 = s1 = 3 s2 = 9 s3


class Taps(NamedTuple):
    """Points met by another view: feature value = sum over taps of weight * cell[index].

    index: cells (row * w + column). weight: sum to 1, or all 0 for a point outside of the image. inside: that flag.
    z: the points' depth in the other view, world units.
    """

    index: Int[Tensor, "P S T"]
    weight: Float[Tensor, "P S T"]
    inside: Float[Tensor, "P S"]
    z: Float[Tensor, "P S"]


def rows_are_epipolar(rig: Rig) -> bool:
    """Whether a pixel's ray is seen by every view as that pixel's own row: orthographic, elevation 0, azimuths of any
    value.
    """
    return rig.kind == ORTHOGRAPHIC and not any(rig.elevation_deg)


def pluecker(camera: Camera) -> Float[Tensor, "6 H W"]:
    """Pluecker coordinates of every pixel's ray: unit direction, then origin x direction (world units).

    The origin is the pixel's own: a camera's centre would give one constant for a whole orthographic image.
    """
    uv = torch.from_numpy(pixel_centres(camera.height, camera.width)).double()
    origin, direction = rays(camera, uv)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    return torch.cat([direction, torch.linalg.cross(origin, direction)], dim=-1).permute(2, 0, 1).float()


def ray_depths(
    z: Float[Tensor, "P"], count: int, radius: float, jitter: Float[Tensor, "P S"] | None = None
) -> Float[Tensor, "P S"]:
    """Stratified depths in [z - radius, z + radius], world units: one per equal bin, at `jitter` in [0, 1) of it, or
    at its centre.
    """
    start = torch.arange(count, device=z.device, dtype=z.dtype)
    place = (start + (0.5 if jitter is None else jitter.to(z.dtype))) * (2.0 / count) - 1.0
    return z[:, None] + radius * place


def row_taps(rig: Rig, view: int, other: int, pixels: Int[Tensor, "P"], z: Float[Tensor, "P S"], width: int) -> Taps:
    """Two taps along the pixel's own row; only for rigs with `rows_are_epipolar`.

    pixels: row * width + column, any band of rows.
    """
    turn = math.radians(rig.azimuth_deg[other] - rig.azimuth_deg[view])
    half = rig.width / 2
    column = pixels % width
    x = ((column.to(z.dtype) + 0.5) * (2.0 / width) - 1.0)[:, None] * half
    u = ((math.cos(turn) * x + math.sin(turn) * z) / half + 1.0) * (width / 2)
    inside = ((u >= 0) & (u <= width)).to(z.dtype)
    at = (u - 0.5).clamp(0, width - 1)
    left = at.floor().clamp(max=max(width - 2, 0))
    share = at - left
    index = (pixels - column)[:, None] + left.long()
    right = index + (1 if width > 1 else 0)
    weight = torch.stack([1.0 - share, share], dim=-1) * inside[..., None]
    return Taps(torch.stack([index, right], dim=-1), weight, inside, math.cos(turn) * z - math.sin(turn) * x)


def image_taps(camera: Camera, other: Camera, pixels: Int[Tensor, "P"], z: Float[Tensor, "P S"]) -> Taps:
    """Four taps (bilinear, the image's border repeated) for any two cameras, through `unproject` and `project`."""
    height, width = other.height, other.width
    uv = torch.stack([pixels % camera.width, pixels.div(camera.width, rounding_mode="floor")], dim=-1).to(z.dtype) + 0.5
    points = unproject(camera, uv[:, None].expand(*z.shape, 2), z)
    seen, depth = project(other, points)
    inside = (seen[..., 0] >= 0) & (seen[..., 0] <= width) & (seen[..., 1] >= 0) & (seen[..., 1] <= height)
    if other.kind != ORTHOGRAPHIC:
        inside = inside & (depth > 0)
    x, y = (seen[..., 0] - 0.5).clamp(0, width - 1), (seen[..., 1] - 0.5).clamp(0, height - 1)
    left, top = x.floor().clamp(max=max(width - 2, 0)), y.floor().clamp(max=max(height - 2, 0))
    fx, fy = x - left, y - top
    first = top.long() * width + left.long()
    right, below = (1 if width > 1 else 0), (width if height > 1 else 0)
    index = torch.stack([first, first + right, first + below, first + below + right], dim=-1)
    weight = torch.stack([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy], dim=-1)
    flag = inside.to(z.dtype)
    return Taps(index, weight * flag[..., None], flag, depth)


def depth_gap(taps: Taps, z: Float[Tensor, "Q"], hit: Bool[Tensor, "Q"], radius: float) -> Float[Tensor, "P S"]:
    """clip((z of the point - z of the other view's surface) / radius, -1, 1), tap by tap, then weighted; 0 outside of
    the image.

    +1: hidden behind the other view's surface; 0: on it; -1: in front of it or of the background, which lies at
    infinity. Clipped before it is interpolated, so that the edge of an object makes no depth in between.
    """
    gap = ((taps.z[..., None] - z[taps.index]) / radius).clamp(-1.0, 1.0)
    return (torch.where(hit[taps.index], gap, -1.0) * taps.weight).sum(-1)


def pool_depth(
    z: Float[Tensor, "V H W"], hit: Bool[Tensor, "V H W"], factor: int
) -> tuple[Float[Tensor, "V h w"], Bool[Tensor, "V h w"]]:
    """Depth at a coarser size: the mean over hits of each factor x factor cell; a cell is hit when any of its pixels
    is. 0 elsewhere.
    """
    if factor == 1:
        return z * hit, hit
    weight = torch.nn.functional.avg_pool2d(hit.to(z.dtype)[:, None], factor)[:, 0]
    mean = torch.nn.functional.avg_pool2d((z * hit)[:, None], factor)[:, 0] / weight.clamp(min=1e-6)
    some = weight > 0
    return torch.where(some, mean, 0.0), some


def structured_noise(
    generator: torch.Generator, views: int, size: int, amplitude: float = 0.1
) -> Float[Tensor, "V H W"]:
    """Noise for depth maps that survives pooling, paper eq. 3: uniform on grids of 3, 64 and 128 cells, bilinear to
    size px, added.

    Independent per view.

    amplitude: of the coarsest grid, world units (half the image width is 1); the finer ones get a third and a ninth.
    """
    total = torch.zeros(views, size, size)
    for cells, share in zip(NOISE_CELLS, NOISE_SHARE, strict=True):
        grid = (torch.rand(views, 1, cells, cells, generator=generator) * 2 - 1) * (amplitude * share)
        fine = torch.nn.functional.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)
        total = total + fine[:, 0]
    return total

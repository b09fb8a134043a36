"""The fit along rays, for rigs without rays through the nodes (other angles, perspective): autograd, and slow.

It has its own loss (`_data_loss`, `_field_loss`), with fewer terms than the fit through the nodes. That one stands
readable in `losses` and compiled in `kernels`: who changes a term in one of the three changes it in all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import nerfacc
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from img2mv3d.geometry.cameras import PERSPECTIVE, Rig, pixel_centres, rays
from img2mv3d.neus.narrow_band import FAR
from img2mv3d.neus.optimise import BETAS, EPS
from img2mv3d.neus.options import CHARBONNIER, NEAR, FitOptions, Level
from img2mv3d.neus.render import crossing, sample, section_alpha
from img2mv3d.neus.targets import TRUST, WHOLE

BATCH = 1024  # rays a step
SPACING = 0.75  # cells between samples
EDGE = (0.3, 0.7)  # masks of rays that touch the silhouette
FINEST = 64  # nodes a side: finer levels would take minutes


@dataclass(frozen=True, eq=False)
class RayTargets:
    """All rays of all views.

    origin, direction: direction is unit.
    near, far: where a ray is inside of the cube. mask, normal (mask times unit), trust: as `targets.ViewTargets`.
    """

    origin: Float[Tensor, "R 3"]
    direction: Float[Tensor, "R 3"]
    near: Float[Tensor, " R"]
    far: Float[Tensor, " R"]
    mask: Float[Tensor, " R"]
    normal: Float[Tensor, "R 3"]
    trust: Float[Tensor, " R"]


def ray_targets(
    normal: Float[np.ndarray, "V H W 3"], mask: Float[np.ndarray, "V H W"], rig: Rig, nodes: int
) -> RayTargets:
    """Pictures shrunk to about a pixel a cell, and the rays of their pixels that meet the cube [-1, 1]^3."""
    size = min(mask.shape[2], 2 * nodes)
    parts = []
    for i, camera in enumerate(rig.cameras(mask.shape[2])):
        cover, direction = torch.from_numpy(mask[i]), torch.from_numpy(normal[i])
        cosine = -(direction @ torch.tensor(camera.forward, dtype=torch.float32))
        trust = ((cosine - TRUST[0]) / (TRUST[1] - TRUST[0])).clamp(0, 1) * (cover > WHOLE)
        pictures = torch.cat([cover[..., None], trust[..., None], direction * cover[..., None]], dim=-1)
        small = F.adaptive_avg_pool2d(pictures.movedim(-1, 0)[None], size)[0].movedim(0, -1).reshape(-1, 5)
        origin, along = rays(camera.resized(size), torch.from_numpy(pixel_centres(size).reshape(-1, 2)))
        along = F.normalize(along, dim=-1)
        safe = torch.where(along.abs() < 1e-9, torch.full_like(along, 1e-9), along)
        low, high = ((side - origin) / safe for side in (-1.0, 1.0))
        near, far = torch.minimum(low, high).amax(dim=1), torch.maximum(low, high).amin(dim=1)
        near = near.clamp(min=0) if camera.kind == PERSPECTIVE else near
        meets = far > near
        parts.append([v[meets] for v in (origin, along, near, far, small[:, 0], small[:, 2:], small[:, 1])])
    return RayTargets(*(torch.cat(column) for column in zip(*parts, strict=True)))


def optimise_rays(
    field: Float[Tensor, "N N N"],
    targets: RayTargets,
    level: Level,
    options: FitOptions,
    tick: Callable[[], None] | None = None,
) -> tuple[Float[Tensor, "N N N"], list[float]]:
    """All steps of a level.

    Returns the improved field and the losses of the batches.

    field: cells, axes x, y, z.
    """
    nodes = field.shape[0]
    values = field.clamp(-FAR, FAR).clone().requires_grad_(True)
    adam = torch.optim.Adam([values], lr=options.rate[0], betas=BETAS, eps=EPS)
    order = torch.Generator().manual_seed(nodes)
    # half of a batch from rays that see the object or its edge, half from all
    seen = (targets.mask > 0.01).nonzero()[:, 0]
    scale = max(1.0, len(seen) / BATCH)
    losses = []
    for number in range(level.steps):
        share = number / max(level.steps - 1, 1)
        sharp = level.sharp[0] * (level.sharp[1] / level.sharp[0]) ** share
        for group in adam.param_groups:
            group["lr"] = options.rate[0] * (options.rate[1] / options.rate[0]) ** share
        chosen = torch.cat(
            [
                seen[torch.randint(len(seen), (BATCH * 3 // 4,), generator=order)],
                torch.randint(len(targets.mask), (BATCH // 4,), generator=order),
            ]
        )
        adam.zero_grad()
        loss = scale * _data_loss(values, targets, chosen, sharp, options.outlier_fraction) + _field_loss(
            values, level, options
        )
        loss.backward()
        adam.step()
        with torch.no_grad():
            values.clamp_(-FAR, FAR)
        losses.append(float(loss.detach()))
        if tick is not None:
            tick()
    return values.detach() - _shift(values.detach(), targets), losses


@torch.no_grad()
def _shift(values: Float[Tensor, "N N N"], targets: RayTargets) -> float:
    """How far rays along the silhouettes stay away from the surface, cells (median). Sigmoids have tails, so
    that the mask term alone leaves the surface too small by some 0.4 px."""
    edge = ((targets.mask > EDGE[0]) & (targets.mask < EDGE[1])).nonzero()[:, 0][: 4 * BATCH]
    if len(edge) == 0:
        return 0.0
    step = SPACING / 2 * 2 / (values.shape[0] - 1)
    t = targets.near[edge, None] + torch.arange(int((targets.far - targets.near).max() / step) + 1) * step
    t = torch.minimum(t, targets.far[edge, None])
    points = targets.origin[edge, None] + t[..., None] * targets.direction[edge, None]
    return float(sample(values[None], points)[..., 0].amin(dim=1).median())


def _data_loss(
    values: Float[Tensor, "N N N"],
    targets: RayTargets,
    chosen: Int[Tensor, " R"],
    sharp: float,
    outlier_fraction: float,
) -> Float[Tensor, ""]:
    """The mask and normal terms of `losses.view_loss` on some rays.

    Unlike there: no silhouette term (`_shift` corrects the size at the end), the mask term counts everywhere, and the
    largest errors are left out by batch, not by view.
    """
    cell = 2 / (values.shape[0] - 1)
    near, far = targets.near[chosen], targets.far[chosen]
    count = int((far - near).max() / (SPACING * cell)) + 2
    t = near[:, None] + torch.arange(count) * (SPACING * cell)
    points = targets.origin[chosen, None] + t[..., None] * targets.direction[chosen, None]
    field = torch.cat([values[None], _gradient(values)])
    sampled = sample(field, points)
    # beyond the cube nothing is; a clamp keeps its gradient out
    outside = t > far[:, None]
    height = torch.where(outside, FAR, sampled[..., 0])
    alpha = section_alpha(height[:, :-1], height[:, 1:], sharp)
    weight, _ = nerfacc.render_weight_from_alpha(alpha)
    place = crossing(height[:, :-1], height[:, 1:]).detach()[..., None]
    slope = torch.lerp(sampled[:, :-1, 1:], sampled[:, 1:, 1:], place)
    opacity = nerfacc.accumulate_along_rays(weight, None)[:, 0]
    error = nerfacc.accumulate_along_rays(weight, slope) - targets.normal[chosen]
    length = (error.square().sum(dim=1) + CHARBONNIER**2).sqrt()
    trust = targets.trust[chosen]
    if outlier_fraction > 0 and (trust > 0).any():
        limit = torch.quantile(length[trust > 0].detach(), 1 - outlier_fraction)
        trust = torch.where(length <= limit, trust, 0.0)
    return (opacity - targets.mask[chosen]).square().sum() + (trust * length).sum()


def _field_loss(values: Float[Tensor, "N N N"], level: Level, options: FitOptions) -> Float[Tensor, ""]:
    """The eikonal and curvature terms of `losses.field_loss` over the nodes near the surface; no hull prior."""
    near = values.detach().abs() < NEAR
    slope = _gradient(values)[:, near].square().sum(dim=0).clamp(min=1e-12).sqrt()
    padded = F.pad(values[None, None], (1,) * 6, mode="replicate")[0, 0]
    inner = slice(1, -1)
    total = sum(
        padded[tuple(s if a == axis else inner for a in range(3))]
        for axis in range(3)
        for s in (slice(0, -2), slice(2, None))
    )
    curvature = (total / 6 - values)[near]
    return options.eikonal * (slope - 1).square().sum() + level.curvature_weight * curvature.square().sum()


def _gradient(values: Float[Tensor, "N N N"]) -> Float[Tensor, "3 N N N"]:
    """Central differences per cell along x, y, z; one-sided halves at the border."""
    padded = F.pad(values[None, None], (1,) * 6, mode="replicate")[0, 0]
    inner = slice(1, -1)
    return torch.stack(
        [
            (
                padded[tuple(slice(2, None) if a == axis else inner for a in range(3))]
                - padded[tuple(slice(0, -2) if a == axis else inner for a in range(3))]
            )
            / 2
            for axis in range(3)
        ]
    )

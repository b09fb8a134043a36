"""What the surface fit minimises, readable: the loss of a view's rays and that of the nodes, with gradients by hand.

No fit calls this module. The same losses stand in `kernels` (compiled, for the six views) and in `anyrig` (autograd,
for other rigs, with fewer terms): all three change together. tests/neus/test_kernels.py compares `kernels` with this
module, values and gradients; no test compares `anyrig` with it. Weights and thresholds stand in `options`. Letters: M
nodes of the band, R rays of a view.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from img2mv3d.neus.options import CHARBONNIER, ENOUGH, NEAR, SURE


class ViewLoss(NamedTuple):
    """loss: a sum over rays; its gradients by opacity, raw normal and lowest value of each ray.
    error: how far the normals are off, smoothed by CHARBONNIER.
    """

    loss: float
    d_opacity: Float[Tensor, " R"]
    d_normal: Float[Tensor, "R 3"]
    d_lowest: Float[Tensor, " R"]
    error: Float[Tensor, " R"]


def view_loss(
    opacity: Float[Tensor, " R"],
    normal: Float[Tensor, "R 3"],
    lowest: Float[Tensor, " R"],
    mask: Float[Tensor, " R"],
    target: Float[Tensor, "R 3"],
    trust: Float[Tensor, " R"],
    silhouette_weight: float,
    limit: float = math.inf,
) -> ViewLoss:
    """(opacity - mask)^2 + trust * sqrt(|normal - target|^2 + CHARBONNIER^2) + silhouette_weight * miss^2.

    A ray that the mask covers by m passes the silhouette at 1/2 - m cells, and that is what its lowest value shall be;
    a ray that is covered wholly, or not at all, only has to be on its side. Cut at one cell, so that a lost part does
    not tear at one node. Where the silhouette is right to within ENOUGH, the first term is left out: opacity has tails,
    and alone it shrinks the surface by 0.4 px.

    normal: the raw sum of weights times gradients.
    lowest: the field's least value on the ray, cells.
    target: mask times unit normals.
    trust: 0..1, of the normals; rays whose error exceeds `limit` have none. miss: how far the surface is from the
        silhouette.
    """
    off = opacity - mask
    delta = normal - target
    error = (delta.square().sum(1) + CHARBONNIER**2).sqrt()
    trust = torch.where(error > limit, 0.0, trust)
    miss = lowest - (0.5 - mask)
    right_side = ((mask > 1 - SURE) & (miss < 0)) | ((mask < SURE) & (miss > 0))
    miss = torch.where(right_side, 0.0, miss).clamp(-1, 1)
    off = torch.where(miss.abs() < ENOUGH, 0.0, off)
    loss = off.square().sum() + (trust * error).sum() + silhouette_weight * miss.square().sum()
    return ViewLoss(float(loss), 2 * off, (trust / error)[:, None] * delta, 2 * silhouette_weight * miss, error)


def color_loss(off: Float[Tensor, "R 3"], trust: Float[Tensor, " R"]) -> tuple[float, Float[Tensor, "R 3"]]:
    """(loss, d loss / d off) of trust * (sqrt(|off|^2 + CHARBONNIER^2) - CHARBONNIER): the photometric term.

    off: the sum along a ray of weights times (colour of the node - colour of the ray's pixel): the rendered colour less
        the pixel's, in so far as the ray is opaque.
    """
    length = (off.square().sum(1) + CHARBONNIER**2).sqrt()
    return float((trust * (length - CHARBONNIER)).sum()), (trust / length)[:, None] * off


def field_loss(
    field: Float[Tensor, " M"],
    gradient: Float[Tensor, "M 3"],
    curvature: Float[Tensor, " M"],
    eikonal: float,
    curvature_weight: float,
    hull_weight: Float[Tensor, " M"],
    want: Float[Tensor, " M"],
) -> tuple[float, Float[Tensor, "M 3"], Float[Tensor, " M"], Float[Tensor, " M"]]:
    """(loss, d loss / d gradient, d loss / d curvature, d loss / d field), summed over nodes: eikonal * (|gradient| -
    1)^2 + curvature_weight * curvature^2, of nodes nearer than NEAR cells, + hull_weight * (field - want)^2.
    """
    near = (field.abs() < NEAR).float()
    length = gradient.square().sum(1).sqrt().clamp(min=1e-6)
    stretch = (length - 1) * near
    curvature = curvature * near
    off = field - want
    loss = (
        eikonal * stretch.square().sum()
        + curvature_weight * curvature.square().sum()
        + (hull_weight * off.square()).sum()
    )
    d_gradient = (2 * eikonal * stretch / length)[:, None] * gradient
    return float(loss), d_gradient, 2 * curvature_weight * curvature, 2 * hull_weight * off

"""The terms of the fit and their gradients by hand.

In: what `nodes` rendered and the targets of a view. Out: a loss and its gradient. Why here: the weights and the robust
forms are what the study measured (facts/neus_study.md 3); autograd checks them in the tests.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CHARBONNIER = 0.1  # smooths |N - n| below a tenth; a quadratic would let outliers of generated normals steer
NEAR = 2.5  # cells: beyond this the field is too close to the band's rim to ask for its slope


def view_loss(
    opacity: Float[Tensor, " R"],
    normal: Float[Tensor, "R 3"],
    mask: Float[Tensor, " R"],
    target: Float[Tensor, "R 3"],
    trust: Float[Tensor, " R"],
    drop: float,
) -> tuple[float, Float[Tensor, " R"], Float[Tensor, "R 3"]]:
    """(loss, d loss / d opacity, d loss / d normal), summed over rays.

    (opacity - mask)^2 + trust * sqrt(|normal - target|^2 + CHARBONNIER^2). normal: the raw sum of weights times
    gradients. target: mask times unit normals. trust: 0..1. drop: the share of trusted rays with the largest normal
    errors that count for nothing (dropped by their own error, unlike in the original code, facts/cameras_and_views 7).
    """
    off = opacity - mask
    error = normal - target
    length = (error.square().sum(1) + CHARBONNIER**2).sqrt()
    if drop > 0:
        trusted = trust > 0
        count = int(trusted.sum())
        rank = max(1, round((1 - drop) * count))
        if count > rank:
            limit = length[trusted].kthvalue(rank).values
            trust = torch.where(length <= limit, trust, 0.0)
    loss = off.square().sum() + (trust * length).sum()
    return float(loss), 2 * off, (trust / length)[:, None] * error


def field_loss(
    field: Float[Tensor, " M"],
    gradient: Float[Tensor, "M 3"],
    bend: Float[Tensor, " M"],
    eikonal: float,
    curvature: float,
) -> tuple[float, Float[Tensor, "M 3"], Float[Tensor, " M"]]:
    """(loss, d loss / d gradient, d loss / d bend), summed over nodes nearer than NEAR cells:
    eikonal * (|gradient| - 1)^2 + curvature * bend^2.
    """
    near = (field.abs() < NEAR).float()
    length = gradient.square().sum(1).sqrt().clamp(min=1e-6)
    stretch = (length - 1) * near
    bend = bend * near
    loss = eikonal * stretch.square().sum() + curvature * bend.square().sum()
    return float(loss), (2 * eikonal * stretch / length)[:, None] * gradient, 2 * curvature * bend

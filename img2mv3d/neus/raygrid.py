"""Rays through the nodes of a dense grid, and pictures resampled to them: level orthographic rigs in steps of 45
degrees.

Every node lies on exactly one ray of each view, so the grid is never resampled. Grids are laid out [y, x, z]: a view's
row is a slab of the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Rig

HALF_TURNS = 1e-3  # degrees: rigs from files carry rounding


def serves(rig: Rig) -> bool:
    """Whether rays through the nodes exist in every view of `rig`: orthographic, level, in steps of 45 degrees."""
    level = all(abs(e) < HALF_TURNS for e in rig.elevation_deg)
    steps = all(abs(a / 45 - round(a / 45)) * 45 < HALF_TURNS for a in rig.azimuth_deg)
    return rig.kind == ORTHOGRAPHIC and level and steps


@dataclass(frozen=True)
class NodeRays:
    """The rays of one view through the nodes of an N^3 grid on [-1, 1]^3.

    right, forward: (x, z) steps in {-1, 0, 1} of the image's right and of the viewing direction, per cell.
    nodes: N. A column's number is right . (ix, iz) + offset; along a ray `forward` . (ix, iz) grows.
    """

    right: tuple[int, int]
    forward: tuple[int, int]
    nodes: int

    @classmethod
    def of(cls, azimuth_deg: float, nodes: int) -> NodeRays:
        """azimuth_deg: a multiple of 45 degrees."""
        cos, sin = (_unit(f(math.radians(round(azimuth_deg / 45) * 45))) for f in (math.cos, math.sin))
        return cls((cos, -sin), (-sin, -cos), nodes)

    @property
    def columns(self) -> int:
        """How many columns of rays there are: N, or 2 N - 1 on diagonals."""
        return (self.nodes - 1) * (abs(self.right[0]) + abs(self.right[1])) + 1

    @property
    def pitch(self) -> float:
        """World units between neighbouring columns."""
        return 2 / (self.nodes - 1) / math.hypot(*self.right)

    @property
    def stride(self) -> float:
        """World units between neighbouring nodes of a ray."""
        return 2 / (self.nodes - 1) * math.hypot(*self.forward)

    def column(self, ix: Int[Tensor, "..."], iz: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """The column of nodes, 0 at the image's left; ix and iz broadcast."""
        return self.right[0] * ix + self.right[1] * iz + self.offset

    def order(self, ix: Int[Tensor, "..."], iz: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """A number [...] in 0 .. 2 N - 2 that grows along the ray, by the same step from node to node."""
        return self.forward[0] * ix + self.forward[1] * iz + self._offset(self.forward)

    @property
    def offset(self) -> int:
        """What is added to make columns begin at 0."""
        return self._offset(self.right)

    def u(self) -> Float[Tensor, " C"]:
        """World coordinate of each column along the image's right."""
        return (torch.arange(self.columns, dtype=torch.float64) - (self.columns - 1) / 2) * self.pitch

    def z(self, ix: Int[Tensor, "..."], iz: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Depth z [...] of nodes as `conventions`: 0 at the world's origin, growing away from the camera."""
        middle = (self.nodes - 1) / 2
        steps = self.forward[0] * (ix - middle) + self.forward[1] * (iz - middle)
        return (steps * (2 / (self.nodes - 1) / math.hypot(*self.forward))).float()

    def _offset(self, direction: tuple[int, int]) -> int:
        return (self.nodes - 1) * sum(d < 0 for d in direction)


def box_filters(
    rays: NodeRays, half_width: float, height: int, width: int
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "C W"], Bool[Tensor, "N C"]]:
    """Matrices that resample a picture of a view [H, W] to its rays, `rows @ picture @ columns.T`, and where a target
    is known.

    Every ray gets the mean over a box as large as the rays' spacing (at least a pixel); rows follow y upwards. Rays
    outside of the image are unknown, not empty.
    """
    y = torch.linspace(-1, 1, rays.nodes, dtype=torch.float64)
    cell = 2 / (rays.nodes - 1)
    rows = _boxes(-y, cell, half_width * height / width, height)
    columns = _boxes(rays.u(), rays.pitch, half_width, width)
    known = (rows.sum(1) > 0)[:, None] & (columns.sum(1) > 0)[None, :]
    return rows.float(), columns.float(), known


def point_filters(
    rays: NodeRays, half_width: float, height: int, width: int
) -> tuple[Float[Tensor, "N H"], Float[Tensor, "C W"], Bool[Tensor, "N C"]]:
    """As `box_filters`, but linear interpolation at the rays themselves: for smooth pictures such as distances."""
    y = torch.linspace(-1, 1, rays.nodes, dtype=torch.float64)
    half_height = half_width * height / width
    rows, columns = _hats(-y, half_height, height), _hats(rays.u(), half_width, width)
    known = (y.abs() <= half_height + 1e-9)[:, None] & (rays.u().abs() <= half_width + 1e-9)[None, :]
    return rows.float(), columns.float(), known


def _unit(value: float) -> int:
    return 0 if abs(value) < 0.5 else int(math.copysign(1, value))


def _boxes(centres: Tensor, spacing: float, half: float, pixels: int) -> Tensor:
    """[n, pixels] shares of the pixels in boxes round `centres` (world units); zero rows outside of [-half, half]."""
    px = pixels / (2 * half)
    middle, reach = (centres + half) * px, max(spacing * px, 1.0) / 2
    edges = torch.arange(pixels + 1, dtype=torch.float64)
    left, right = (middle - reach)[:, None], (middle + reach)[:, None]
    share = (torch.minimum(right, edges[None, 1:]) - torch.maximum(left, edges[None, :-1])).clamp(min=0)
    inside = (centres.abs() <= half + 1e-9)[:, None]
    return torch.where(inside, share / share.sum(1, keepdim=True).clamp(min=1e-12), 0.0)


def _hats(centres: Tensor, half: float, pixels: int) -> Tensor:
    """[n, pixels] weights of linear interpolation between pixel centres, held constant beyond the first and last."""
    position = ((centres + half) * (pixels / (2 * half)) - 0.5).clamp(0, pixels - 1)
    distance = (position[:, None] - torch.arange(pixels, dtype=torch.float64)[None, :]).abs()
    return (1 - distance).clamp(min=0)

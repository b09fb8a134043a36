"""The narrow band of a dense grid: the nodes round a field's changes of sign, which alone are optimised.

Letters: M nodes of the band. A field is in cells, negative inside, and has 3 dimensions [y, x, z].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

FAR = 4.0  # cells: the field's size outside of the band; NeuS's sigmoid at S = 1.2 a cell is 0.8 % there
REACH = 3  # nodes within so many steps of a change of sign live
OPAQUE = 2e-3  # a packed ray ends CUT nodes after the transmittance fell below this
CUT = 2


@dataclass(frozen=True)
class Block:
    """A box of nodes of an N^3 grid.

    low: first node (y, x, z).
    shape: nodes along y, x, z.
    nodes: N.
    """

    low: tuple[int, int, int]
    shape: tuple[int, int, int]
    nodes: int

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as slices of the whole grid."""
        y, x, z = (slice(a, a + n) for a, n in zip(self.low, self.shape, strict=True))
        return y, x, z


@dataclass(frozen=True, eq=False)
class Band:
    """The nodes that live.

    index: their number in the block, rising.
    neighbours: [6, M] (y-, y+, x-, x+, z-, z+) numbers in the band; M stands for any node far outside, M + 1 for any
        node deep inside.
    iy, ix, iz: node numbers in the whole grid.
    """

    index: Int[Tensor, " M"]
    neighbours: Int[Tensor, "6 M"]
    iy: Int[Tensor, " M"]
    ix: Int[Tensor, " M"]
    iz: Int[Tensor, " M"]


def find_band(field: Float[Tensor, "Y X Z"], block: Block) -> tuple[Float[Tensor, "Y X Z"], Band]:
    """The band round the field's changes of sign, and the field made to fit it: FAR outside of the band with its sign
    kept, nodes that enter brought down to the distance of their layer. The block's outermost nodes never live, and
    count as outside: so every surface is closed.
    """
    field = field.clone()
    for axis in range(3):
        for end in (0, field.shape[axis] - 1):
            field.select(axis, end).clamp_(min=FAR)
    inside = field < 0
    band = torch.zeros_like(inside)
    for axis in range(3):
        n = field.shape[axis]
        change = inside.narrow(axis, 0, n - 1) ^ inside.narrow(axis, 1, n - 1)
        band.narrow(axis, 0, n - 1).logical_or_(change)
        band.narrow(axis, 1, n - 1).logical_or_(change)
    layers = band.to(torch.uint8)
    for _ in range(REACH):
        band = _dilate(band)
        layers += band
    for axis in range(3):
        for end in (0, field.shape[axis] - 1):
            band.select(axis, end).fill_(False)
    index = band.flatten().nonzero()[:, 0]
    limit = (REACH + 2 - layers.flatten()[index]).float()
    flat = field.flatten()
    values = flat[index]
    entering = values.abs() >= FAR - 1e-3
    values = torch.where(entering, torch.maximum(torch.minimum(values, limit), -limit), values)
    fitted = torch.where(inside, -FAR, FAR).flatten()
    fitted[index] = values
    return fitted.view(field.shape), _band_of(index, inside, block)


def _dilate(mask: Bool[Tensor, "Y X Z"]) -> Bool[Tensor, "Y X Z"]:
    out = mask.clone()
    for axis in range(3):
        n = mask.shape[axis]
        out.narrow(axis, 1, n - 1).logical_or_(mask.narrow(axis, 0, n - 1))
        out.narrow(axis, 0, n - 1).logical_or_(mask.narrow(axis, 1, n - 1))
    return out


def _band_of(index: Int[Tensor, " M"], inside: Bool[Tensor, "Y X Z"], block: Block) -> Band:
    count = len(index)
    _, nx, nz = inside.shape
    position = inside.flatten().long() + count
    position[index] = torch.arange(count)
    steps = torch.tensor([-nx * nz, nx * nz, -nz, nz, -1, 1])
    neighbours = position[index[None, :] + steps[:, None]]
    iy, rest = index // (nx * nz), index % (nx * nz)
    low_y, low_x, low_z = block.low
    return Band(index, neighbours, iy + low_y, rest // nz + low_x, rest % nz + low_z)

"""NeuS rendered through the nodes of a dense grid: a narrow band, sorted lists, sums by segment, gradients by hand.

Every node lies on one ray of each view: nothing is interpolated and no autograd graph is built. Letters: M nodes of the
band, K entries of a view's list, R its rays. A field has 3 dimensions [y, x, z].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from img2mv3d.neus.raygrid import NodeRays

FAR = 4.0  # cells: the field's size outside of the band; NeuS's sigmoid at S = 1.2 a cell is 0.8 % there
REACH = 3  # nodes within so many steps of a change of sign live
OPAQUE = 2e-3  # a list ends CUT nodes after the transmittance fell below this
CUT = 2


@dataclass(frozen=True)
class Block:
    """A box of nodes of an N^3 grid. low: first node (y, x, z). shape: nodes along y, x, z. nodes: N."""

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

    index: their number in the block, rising. neighbours: [6, M] (y-, y+, x-, x+, z-, z+) numbers in the band; M stands
    for any node far outside, M + 1 for any node deep inside. iy, ix, iz: node numbers in the whole grid.
    """

    index: Int[Tensor, " M"]
    neighbours: Int[Tensor, "6 M"]
    iy: Int[Tensor, " M"]
    ix: Int[Tensor, " M"]
    iz: Int[Tensor, " M"]


@dataclass(frozen=True, eq=False)
class RayList:
    """The band's nodes as one view meets them: ray after ray, each front to back.

    node: number in the band. ray: number of the entry's ray. start, last: first and last entry of each ray. target:
    number of each ray in the view's picture of rays, row * columns + column.
    """

    node: Int[Tensor, " K"]
    ray: Int[Tensor, " K"]
    start: Int[Tensor, " R"]
    last: Int[Tensor, " R"]
    target: Int[Tensor, " R"]


@dataclass(frozen=True, eq=False)
class Sections:
    """What `render` computed and `backward` wants again. weight: NeuS weight of the section in front of an entry.
    share: the part of it that belongs to the entry (the rest to the entry before). node_weight: sums by entry. through:
    transmittance behind the entry. falls: where the section is entered (opacity above 0).
    """

    weight: Float[Tensor, " K"]
    share: Float[Tensor, " K"]
    node_weight: Float[Tensor, " K"]
    through: Float[Tensor, " K"]
    falls: Bool[Tensor, " K"]


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


def list_rays(
    field: Float[Tensor, " M"],
    band: Band,
    rays: NodeRays,
    known: Bool[Tensor, "N C"],
    sharpness: float,
) -> RayList:
    """One view's list. Rays without a target are left out, and what lies behind an opaque surface."""
    column, order = rays.column(band.ix, band.iz), rays.order(band.ix, band.iz)
    target = band.iy * rays.columns + column
    key = target * (2 * rays.nodes) + order
    key = torch.where(known.flatten()[target], key, torch.iinfo(key.dtype).max)
    node = torch.argsort(key)[: int(known.flatten()[target].sum())]
    whole = _segments(node, target[node])
    if len(node) == 0:
        return whole
    through = composite(field, whole, sharpness).through
    closed = through < OPAQUE
    behind = torch.zeros_like(closed)
    behind[CUT + 1 :] = closed[: -CUT - 1] & (whole.ray[CUT + 1 :] == whole.ray[: -CUT - 1])
    # transmittance falls along a ray: an entry is behind when the one CUT + 1 before it is closed
    kept = node[~behind]
    return _segments(kept, target[kept])


def composite(field: Float[Tensor, " M"], rays: RayList, sharpness: float) -> Sections:
    """NeuS's discrete opacity along every ray, 1 - Phi(f_i) / Phi(f_{i-1}), in logarithms.

    field: cells. sharpness: S, 1 / cells. The node before a ray's first is far outside. A section's weight goes to its
    two nodes by where the field crosses zero between them, so that normals and depth are right below a cell.
    """
    value = field[rays.node]
    log_phi = F.logsigmoid(sharpness * value)
    before, value_before = torch.empty_like(log_phi), torch.empty_like(value)
    before[1:], value_before[1:] = log_phi[:-1], value[:-1]
    before[rays.start] = float(F.logsigmoid(torch.tensor(sharpness * FAR)))
    value_before[rays.start] = FAR
    step = log_phi - before
    falls = step < 0
    step = torch.where(falls, step, 0.0)
    total = step.double().cumsum(0)
    base = total[rays.start] - step[rays.start]
    through = (total - base[rays.ray]).float().exp()
    entering = torch.empty_like(through)
    entering[1:] = through[:-1]
    entering[rays.start] = 1.0
    weight = entering - through
    share = (value_before / (value_before - value).clamp(min=1e-6)).clamp(0, 1)
    share[rays.start] = 1.0  # there is no node before the first
    node_weight = weight * share
    node_weight[:-1] += (weight - node_weight)[1:]
    return Sections(weight, share, node_weight, through, falls)


def opacity(rays: RayList, sections: Sections) -> Float[Tensor, " R"]:
    """Opacity of every ray in the list."""
    return 1 - sections.through[rays.last]


def accumulate(rays: RayList, weight: Float[Tensor, " K"], table: Float[Tensor, "M D"]) -> Float[Tensor, "R D"]:
    """Sums along every ray of weight times the row of `table` that belongs to the entry's node."""
    return F.embedding_bag(rays.node, table, rays.start, mode="sum", per_sample_weights=weight)


def backward(
    field: Float[Tensor, " M"],
    rays: RayList,
    sections: Sections,
    sharpness: float,
    d_opacity: Float[Tensor, " R"],
    d_node_weight: Float[Tensor, " K"],
) -> Float[Tensor, " M"]:
    """The gradient of a loss into the field: from its gradients by opacity and by node weight. Where a section's
    weight goes (`share`) is held constant.
    """
    d_weight = d_node_weight * sections.share
    d_weight[1:] += d_node_weight[:-1] * (1 - sections.share[1:])
    d_through = -d_weight
    d_through[:-1] += torch.where(rays.ray[1:] == rays.ray[:-1], d_weight[1:], 0.0)
    d_through[rays.last] -= d_opacity
    total = (d_through * sections.through).double().cumsum(0)
    behind = (total[rays.last][rays.ray] - total + (d_through * sections.through)).float()
    d_step = torch.where(sections.falls, behind, 0.0)
    d_log_phi = d_step.clone()
    d_log_phi[:-1] -= torch.where(rays.ray[1:] == rays.ray[:-1], d_step[1:], 0.0)
    value = field[rays.node]
    d_value = d_log_phi * torch.sigmoid(-sharpness * value) * sharpness
    return torch.zeros_like(field).index_add_(0, rays.node, d_value)  # a node meets a view once: no order to depend on


def differences(field: Float[Tensor, " M"], band: Band) -> tuple[Float[Tensor, "M 3"], Float[Tensor, " M"]]:
    """Central-difference gradients (x, y, z; per cell, not normalised) and bends (mean of the six neighbours minus the
    node, cells: a sixth of the Laplacian) at the band's nodes.
    """
    table = torch.cat([field, field.new_tensor([FAR, -FAR])])
    near = table[band.neighbours]
    gradient = torch.stack([near[3] - near[2], near[1] - near[0], near[5] - near[4]], dim=1) / 2
    return gradient, near.mean(0) - field


def differences_backward(
    d_gradient: Float[Tensor, "M 3"], d_bend: Float[Tensor, " M"], band: Band
) -> Float[Tensor, " M"]:
    """The transpose of `differences`."""
    d_field = -d_bend
    sixth = d_bend / 6
    for axis, (low, high) in zip((1, 0, 2), ((0, 1), (2, 3), (4, 5)), strict=True):
        half = d_gradient[:, axis] / 2
        d_field += _pad(sixth + half)[band.neighbours[low]]  # what a node gives to the one above it comes down
        d_field += _pad(sixth - half)[band.neighbours[high]]
    return d_field


def _pad(values: Float[Tensor, " M"]) -> Float[Tensor, " M2"]:
    return F.pad(values, (0, 2))


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


def _segments(node: Int[Tensor, " K"], target: Int[Tensor, " K"]) -> RayList:
    if len(node) == 0:
        empty = node.new_zeros(0)
        return RayList(node, empty, empty, empty, empty)
    first = torch.ones(len(node), dtype=torch.bool)
    first[1:] = target[1:] != target[:-1]
    start = first.nonzero()[:, 0]
    last = torch.cat([start[1:], start.new_tensor([len(node)])]) - 1
    return RayList(node, first.long().cumsum(0) - 1, start, last, target[start])

"""The readable twins of the compiled steps, in plain torch: NeuS along the nodes of a dense grid, gradients by hand.
The losses of the same steps stand in `losses`.

Every node lies on one ray of each view: nothing is interpolated and no autograd graph is built. Letters: M nodes of the
band, K entries of a view's packed rays, R its rays. `kernels` computes the same; tests hold values and gradients
together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from img2mv3d.neus.narrow_band import CUT, FAR, OPAQUE, Band
from img2mv3d.neus.options import DIM
from img2mv3d.neus.raygrid import NodeRays


@dataclass(frozen=True, eq=False)
class RayList:
    """The band's nodes as one view meets them: ray after ray, each front to back.

    node: number in the band.
    ray: number of the entry's ray.
    start, last: first and last entry of each ray.
    target: number of each ray in the view's picture of rays, row * columns + column.
    """

    node: Int[Tensor, " K"]
    ray: Int[Tensor, " K"]
    start: Int[Tensor, " R"]
    last: Int[Tensor, " R"]
    target: Int[Tensor, " R"]


@dataclass(frozen=True, eq=False)
class Sections:
    """What `render` computed and `backward` wants again.

    weight: NeuS weight of the section in front of an entry.
    share: the part of it that belongs to the entry (the rest to the entry before).
    node_weight: sums by entry.
    through: transmittance behind the entry.
    falls: where the section is entered (opacity above 0).
    """

    weight: Float[Tensor, " K"]
    share: Float[Tensor, " K"]
    node_weight: Float[Tensor, " K"]
    through: Float[Tensor, " K"]
    falls: Bool[Tensor, " K"]


def pack_rays(
    field: Float[Tensor, " M"],
    band: Band,
    rays: NodeRays,
    known: Bool[Tensor, "N C"],
    sharpness: float,
) -> RayList:
    """One view's packed rays. Rays without a target are left out, and what lies behind an opaque surface."""
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

    The node before a ray's first is far outside. A section's weight goes to its two nodes by where the field crosses
    zero between them, so that normals and depth are right below a cell.

    field: cells.
    sharpness: S, 1 / cells.
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
    """Opacity of every packed ray."""
    return 1 - sections.through[rays.last]


def accumulate(rays: RayList, weight: Float[Tensor, " K"], table: Float[Tensor, "M D"]) -> Float[Tensor, "R D"]:
    """Sums along every ray of weight times the row of `table` that belongs to the entry's node."""
    return F.embedding_bag(rays.node, table, rays.start, mode="sum", per_sample_weights=weight)


def color_sums(
    rays: RayList,
    sections: Sections,
    color: Float[Tensor, "R 3"],
    trust: Float[Tensor, " R"],
    count: int,
) -> tuple[Float[Tensor, "M 3"], Float[Tensor, " M"]]:
    """(total, weight) of what one view shows of `count` nodes: its pixels' colours by their trust and the light that
    gets to each node, at least DIM; weight is the sum of the latter two."""
    entering = torch.ones_like(sections.through)
    entering[1:] = sections.through[:-1]
    entering[rays.start] = 1.0
    share = trust[rays.ray] * entering.clamp(min=DIM)
    total = torch.zeros(count, 3).index_add_(0, rays.node, share[:, None] * color[rays.ray])
    return total, torch.zeros(count).index_add_(0, rays.node, share)


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
    """Central-difference gradients (x, y, z; per cell, not normalised) and curvatures (mean of the six neighbours minus
    the node, cells: a sixth of the Laplacian) at the band's nodes.
    """
    table = torch.cat([field, field.new_tensor([FAR, -FAR])])
    near = table[band.neighbours]
    gradient = torch.stack([near[3] - near[2], near[1] - near[0], near[5] - near[4]], dim=1) / 2
    return gradient, near.mean(0) - field


def differences_backward(
    d_gradient: Float[Tensor, "M 3"], d_curvature: Float[Tensor, " M"], band: Band
) -> Float[Tensor, " M"]:
    """The transpose of `differences`."""
    d_field = -d_curvature
    sixth = d_curvature / 6
    for axis, (low, high) in zip((1, 0, 2), ((0, 1), (2, 3), (4, 5)), strict=True):
        half = d_gradient[:, axis] / 2
        d_field += _pad(sixth + half)[band.neighbours[low]]  # what a node gives to the one above it comes down
        d_field += _pad(sixth - half)[band.neighbours[high]]
    return d_field


def _pad(values: Float[Tensor, " M"]) -> Float[Tensor, " M2"]:
    return F.pad(values, (0, 2))


def _segments(node: Int[Tensor, " K"], target: Int[Tensor, " K"]) -> RayList:
    if len(node) == 0:
        empty = node.new_zeros(0)
        return RayList(node, empty, empty, empty, empty)
    first = torch.ones(len(node), dtype=torch.bool)
    first[1:] = target[1:] != target[:-1]
    start = first.nonzero()[:, 0]
    last = torch.cat([start[1:], start.new_tensor([len(node)])]) - 1
    return RayList(node, first.long().cumsum(0) - 1, start, last, target[start])

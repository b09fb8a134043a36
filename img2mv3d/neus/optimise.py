"""One level of the fit: Adam on the nodes of a narrow band, with gradients by hand.

In: a field in cells, the views' targets, a `Level`. Out: the improved field. Why here: it owns the state between steps
(band, lists, moments); `nodes` and `losses` hold the mathematics, `fit` the ladder.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from img2mv3d.neus import nodes
from img2mv3d.neus.losses import field_loss, view_loss
from img2mv3d.neus.nodes import FAR, Band, Block, RayList
from img2mv3d.neus.options import FitOptions, Level
from img2mv3d.neus.targets import ViewTargets, rays_to_block

UPKEEP = 15  # steps between rebuilds of band and lists
BETAS = (0.9, 0.99)  # of Adam
EPS = 0.02  # of Adam, about the size of a small gradient: nodes that nobody asks stay where they are
LOST = (0.6, 0.4)  # a ray of the object (mask above) without opacity (below) gets the hull back
SLACK = 0.5  # cells: masks are soft and a bit wrong
EDGE = (0.3, 0.7)  # masks of rays that touch the silhouette


class LevelFit:
    """State of the optimisation on one grid. `run` and `shift` change it, `field` reads it.

    field: [Y, X, Z], cells, on the nodes of `block`. hull: the same, for repairs.
    """

    def __init__(
        self,
        field: Float[Tensor, "Y X Z"],
        hull: Float[Tensor, "Y X Z"],
        views: list[ViewTargets],
        block: Block,
        level: Level,
        options: FitOptions,
    ) -> None:
        self._grid, self._hull, self._views, self._block = field.contiguous(), hull, views, block
        self._level, self._options = level, options
        self._moments = torch.zeros(2, field.numel())
        self._order = torch.Generator().manual_seed(level.nodes)  # of the views; the fit is otherwise without chance
        self._queue: list[int] = []
        self._rebuild()

    def field(self) -> Float[Tensor, "Y X Z"]:
        """The field so far, cells, FAR outside of the band; closed within the block."""
        self._store()
        return nodes.find_band(self._grid, self._block)[0]

    def run(self, tick: Callable[[], None] | None = None) -> list[float]:
        """All steps of the level; `tick` is called after each. Returns the losses (of the views drawn, scaled)."""
        losses = []
        for number in range(self._level.steps):
            losses.append(self._step(number))
            if tick is not None:
                tick()
        return losses

    def repair(self, sharpness: float) -> None:
        """Give the hull back to the nodes of rays that should hit and do not: min(field, hull) there. Elsewhere nothing
        stands outside of the hull by more than SLACK: max(field, hull - SLACK).
        """
        need = torch.zeros(self._grid.shape, dtype=torch.bool)
        for view in self._views:
            rays = self._list(view, sharpness)
            found = torch.zeros(len(view.mask))
            if len(rays.node):
                found[rays.target] = nodes.opacity(rays, nodes.composite(self._values, rays, sharpness))
            lost = ((view.mask > LOST[0]) & (found < LOST[1])).view(view.known.shape) & view.known
            if lost.any():
                need |= rays_to_block(lost, view, self._block)
        self._store()
        self._grid = torch.where(need, torch.minimum(self._grid, self._hull), self._grid)
        self._grid = torch.maximum(self._grid, self._hull - SLACK)
        self._rebuild()

    def shift(self) -> float:
        """Move the whole surface so that rays along the silhouettes just touch it: sigmoids have tails, so the mask
        term alone leaves it too small by some 0.4 px. Returns the shift in cells.
        """
        self._store()
        self._grid = torch.maximum(self._grid, self._hull - SLACK)
        self._rebuild()
        lowest = []
        for view in self._views:
            rays = self._list(view, 1e-3)  # so flat that no list is cut
            low = torch.full((len(rays.start),), FAR).scatter_reduce_(0, rays.ray, self._values[rays.node], "amin")
            mask = view.mask[rays.target]
            lowest.append(low[(mask > EDGE[0]) & (mask < EDGE[1])])
        touching = torch.cat(lowest)
        shift = float(touching.median()) if len(touching) else 0.0
        self._values = self._values - shift
        return shift

    def _step(self, number: int) -> float:
        level, options = self._level, self._options
        share = number / max(level.steps - 1, 1)
        sharp = level.sharp[0] * (level.sharp[1] / level.sharp[0]) ** share
        if number % UPKEEP == 0 and number:
            self._store()
            self._rebuild()
            if level.repair_every and number % level.repair_every == 0:
                self.repair(sharp)
        drawn = self._draw(min(level.views, len(self._views)))
        values, band = self._values, self._band
        gradient, bend = nodes.differences(values, band)
        loss, d_gradient, d_bend = field_loss(values, gradient, bend, options.eikonal, level.bend)
        d_field = torch.zeros_like(values)
        scale = len(self._views) / len(drawn)
        for i in drawn:
            if i not in self._lists:
                self._lists[i] = self._list(self._views[i], sharp)
            if len(self._lists[i].node):
                loss += scale * self._view(self._views[i], self._lists[i], sharp, scale, gradient, d_field, d_gradient)
        d_field += nodes.differences_backward(d_gradient, d_bend, band)
        rate = options.rate[0] * (options.rate[1] / options.rate[0]) ** share
        self._adam(d_field, rate, number + 1)
        return loss

    def _view(
        self,
        view: ViewTargets,
        rays: RayList,
        sharp: float,
        scale: float,
        gradient: Float[Tensor, "M 3"],
        d_field: Float[Tensor, " M"],
        d_gradient: Float[Tensor, "M 3"],
    ) -> float:
        """Loss of one view; adds its gradients, times `scale`, to d_field and d_gradient."""
        sections = nodes.composite(self._values, rays, sharp)
        normal = nodes.accumulate(rays, sections.node_weight, gradient)
        target = rays.target
        loss, d_opacity, d_normal = view_loss(
            nodes.opacity(rays, sections),
            normal,
            view.mask[target],
            view.normal[target],
            view.trust[target],
            self._options.drop,
        )
        d_entry = (scale * d_normal)[rays.ray]
        d_node_weight = (d_entry * gradient[rays.node]).sum(dim=1)
        d_gradient[rays.node] += sections.node_weight[:, None] * d_entry  # a node meets a view once
        d_field += nodes.backward(self._values, rays, sections, sharp, scale * d_opacity, d_node_weight)
        return loss

    def _adam(self, gradient: Float[Tensor, " M"], rate: float, count: int) -> None:
        mean, square = self._band_moments
        mean.mul_(BETAS[0]).add_(gradient, alpha=1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        size = (square / (1 - BETAS[1] ** count)).sqrt_().add_(EPS)
        self._values = (self._values - (rate / (1 - BETAS[0] ** count)) * mean / size).clamp_(-FAR, FAR)

    def _draw(self, count: int) -> list[int]:
        if len(self._queue) < count:
            self._queue += torch.randperm(len(self._views), generator=self._order).tolist()
        drawn, self._queue = self._queue[:count], self._queue[count:]
        return sorted(set(drawn))

    def _list(self, view: ViewTargets, sharpness: float) -> RayList:
        return nodes.list_rays(self._values, self._band, view.rays, view.known, sharpness)

    def _rebuild(self) -> None:
        self._grid, self._band = nodes.find_band(self._grid, self._block)
        self._values: Tensor = self._grid.flatten()[self._band.index]
        self._band_moments = self._moments[:, self._band.index]
        self._lists: dict[int, RayList] = {}

    def _store(self) -> None:
        band: Band = self._band
        self._grid.view(-1)[band.index] = self._values
        self._moments[:, band.index] = self._band_moments

"""One level of the fit: Adam on the nodes of a narrow band, with gradients by hand.

The loss that a step lowers is not here. It stands readable in `losses`, compiled in `kernels` (which the steps call),
and for other rigs in `anyrig`: all three change together. Their weights stand in `options`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from img2mv3d.neus import kernels, narrow_band
from img2mv3d.neus.narrow_band import FAR, Block
from img2mv3d.neus.options import FitOptions, Level
from img2mv3d.neus.prior import Held
from img2mv3d.neus.targets import ViewTargets, rays_to_block

UPKEEP = 15  # steps between rebuilds of band and packed rays
BETAS = (0.9, 0.99)  # of Adam
EPS = 0.02  # of Adam, about the size of a small gradient: nodes that nobody asks stay where they are
LOST = (0.6, 0.4)  # a ray of the object (mask above) without opacity (below) gets the hull back
SLACK = 0.5  # cells: masks are soft and a bit wrong
DEEP = 1.0  # cells
THIN = (1.5, 0.025)  # cells, world units: where the hull is nowhere deeper than the larger, it is held (`FitOptions`)


@dataclass(frozen=True, eq=False)
class _View:
    """A view's packed rays and their targets, as `kernels.view_terms` wants them. error: of the normals, from the last
    time that the view was drawn. color, color_trust: no rows where colours are not looked at."""

    node: np.ndarray
    start: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    normal: np.ndarray
    trust: np.ndarray
    error: np.ndarray
    color: np.ndarray
    color_trust: np.ndarray

    @classmethod
    def of(
        cls, node: np.ndarray, start: np.ndarray, target: np.ndarray, view: ViewTargets, color_weight: float
    ) -> _View:
        mask, normal, trust = (t.numpy()[target] for t in (view.mask, view.normal, view.trust))
        color, color_trust = np.zeros((0, 3), np.float32), np.zeros(0, np.float32)
        if color_weight > 0 and view.color is not None and view.color_trust is not None:
            color = view.color.numpy()[target]
            color_trust = view.color_trust.numpy()[target] * np.float32(color_weight)
        error = np.zeros(len(target), np.float32)
        return cls(node, start, target, mask, normal, trust, error, color, color_trust)

    def limit(self, outlier_fraction: float) -> float:
        """The error beyond which a ray's normal counts for nothing: that of the worst `outlier_fraction` of the trusted
        rays."""
        trusted = self.error[self.error > 0] if outlier_fraction > 0 else self.error[:0]
        return float(np.quantile(trusted, 1 - outlier_fraction)) if len(trusted) else np.inf


class _Look(NamedTuple):
    """What a view's rays see: number of the ray in its picture, opacity, least value on the way."""

    target: Int[Tensor, " R"]
    opacity: Float[Tensor, " R"]
    lowest: Float[Tensor, " R"]


def _thin(hull: Float[Tensor, "Y X Z"], cell: float) -> Bool[Tensor, "Y X Z"]:
    """Nodes at thin parts of the hull (or of a body). Plates and rods of some cells are seen at their rims only;
    inside, where nobody looks, the curvature term would eat them. What the hull shows there is nearly always right."""
    limit = max(THIN[0], THIN[1] / cell)
    reach = math.ceil(limit)
    depth = (-hull).clamp(min=0)[None, None]
    for axis in range(3):  # the largest in a cube, one axis after the other
        side, room = (
            [value if k == axis else rest for k in range(3)] for value, rest in ((2 * reach + 1, 1), (reach, 0))
        )
        depth = F.max_pool3d(depth, side, 1, room)
    depth = depth[0, 0]
    return (depth > 0) & (depth < limit) & (hull < 1)


class LevelFit:
    """State of the optimisation on one grid. `run` and `repair` change it, `field` reads it.

    field: [Y, X, Z], cells, on the nodes of `block`.
    hull: the same, for repairs.
    held: what the field is held at, and how much; None: at the hull, where that is thin.
    threads: torch's number unless given; it does not change the result.
    """

    def __init__(
        self,
        field: Float[Tensor, "Y X Z"],
        hull: Float[Tensor, "Y X Z"],
        views: list[ViewTargets],
        block: Block,
        level: Level,
        options: FitOptions,
        threads: int | None = None,
        held: Held | None = None,
    ) -> None:
        self._grid, self._hull, self._views, self._block = field.contiguous(), hull, views, block
        self._level, self._options = level, options
        self._threads = torch.get_num_threads() if threads is None else threads
        self._colored = options.color_weight > 0 and all(view.color is not None for view in views)
        firm = _thin(hull if held is None else held.field, 2 / (level.nodes - 1)) * options.hull_prior_weight
        if held is not None:
            firm = torch.maximum(firm, torch.tensor(options.body_weight)) * held.weight
        self._hold = firm.numpy().reshape(-1)
        self._at = (hull if held is None else held.field).numpy().reshape(-1)
        self._moments = np.zeros((2, field.numel()), np.float32)
        self._order = torch.Generator().manual_seed(level.nodes)  # of the views; the fit is otherwise without chance
        self._queue: list[int] = []
        self._rebuild()

    def field(self) -> Float[Tensor, "Y X Z"]:
        """The field so far, cells, FAR outside of the band; closed within the block."""
        self._store()
        return narrow_band.find_band(self._grid, self._block)[0]

    def run(self, tick: Callable[[], None] | None = None) -> list[float]:
        """All steps of the level; `tick` is called after each. Returns the losses (of the views drawn, scaled)."""
        losses = []
        for number in range(self._level.steps):
            losses.append(self._step(number))
            if tick is not None:
                tick()
        return losses

    def disagreement(self) -> float:
        """How far the normals of the last steps are off (`losses.ViewLoss.error`), mean over trust; only of rays
        that lie more than DEEP inside of their silhouettes: at thin parts a coarse grid is wrong, not the views.
        """
        errors, weights = 0.0, 0.0
        for i, view in self._packed.items():
            deep = self._views[i].distance.numpy().reshape(-1)[view.target] < -DEEP
            weight = view.trust * deep
            errors, weights = errors + float((weight * view.error).sum()), weights + float(weight.sum())
        return errors / weights if weights else 0.0

    def repair(self, sharpness: float) -> None:
        """Give the hull back to the nodes of rays that should hit and do not: min(field, hull) there. Elsewhere nothing
        stands outside of the hull by more than SLACK: max(field, hull - SLACK).
        """
        need = torch.zeros(self._grid.shape, dtype=torch.bool)
        for view, (target, opacity, _) in zip(self._views, self._looks(sharpness), strict=True):
            found = torch.zeros(len(view.mask))
            found[target] = opacity
            lost = ((view.mask > LOST[0]) & (found < LOST[1])).view(view.known.shape) & view.known
            if lost.any():
                need |= rays_to_block(lost, view, self._block)
        self._store()
        self._grid = torch.where(need, torch.minimum(self._grid, self._hull), self._grid)
        self._grid = torch.maximum(self._grid, self._hull - SLACK)
        self._rebuild()

    def _step(self, number: int) -> float:
        level, options = self._level, self._options
        share = number / max(level.steps - 1, 1)
        sharp = level.sharp[0] * (level.sharp[1] / level.sharp[0]) ** share
        if number % UPKEEP == 0 and number:
            self._store()
            self._rebuild()
            if level.repair_every and number % level.repair_every == 0:
                self.repair(sharp)
        if self._colored and not len(self._colors):
            self._see_colors(sharp)
        drawn = self._draw(min(level.views, len(self._views)))
        missing = [i for i in drawn if i not in self._packed]
        self._packed |= dict(zip(missing, self._pack_views(missing, sharp), strict=True))
        count = self._near.shape[0]
        loss = sum(
            kernels.in_ranges(
                kernels.node_terms, count, count, self._threads,
                self._values, self._near, sharp, options.eikonal, level.curvature_weight, self._hold_weight, self._want,
                self._phi, self._gradient, self._d_field, self._d_gradient, self._d_curvature,
            )
        )  # fmt: skip
        scale = len(self._views) / len(drawn)
        for view in (self._packed[i] for i in drawn):
            loss += scale * sum(
                kernels.in_ranges(
                    kernels.view_terms, len(view.target), len(view.node), self._threads,
                    self._values, self._phi, self._gradient, self._colors, view.node, view.start,
                    view.mask, view.normal, view.trust, view.color, view.color_trust,
                    options.silhouette_weight, view.limit(options.outlier_fraction), sharp, scale,
                    self._d_field, self._d_gradient, view.error,
                )
            )  # fmt: skip
        rate = options.rate[0] * (options.rate[1] / options.rate[0]) ** share / (1 - BETAS[0] ** (number + 1))
        kernels.in_ranges(
            kernels.update, count, count, self._threads,
            self._values, self._near, self._d_field, self._d_gradient, self._d_curvature, self._mean, self._square,
            rate, 1 / (1 - BETAS[1] ** (number + 1)), BETAS, EPS,
        )  # fmt: skip
        return loss

    def _draw(self, count: int) -> list[int]:
        if len(self._queue) < count:
            self._queue += torch.randperm(len(self._views), generator=self._order).tolist()
        drawn, self._queue = self._queue[:count], self._queue[count:]
        return sorted(set(drawn))

    def _looks(self, sharpness: float) -> list[_Look]:
        """What all views see now."""
        packed = kernels.in_threads(lambda i: self._pack(i, sharpness), range(len(self._views)), self._threads)
        looks = []
        for node, start, target in packed:
            opacity, lowest = (np.empty(len(target), np.float32) for _ in range(2))
            kernels.look(self._values, node, start, sharpness, opacity, lowest)
            looks.append(_Look(*(torch.from_numpy(a) for a in (target, opacity, lowest))))
        return looks

    def _pack(self, i: int, sharpness: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(node, start, target) of view i."""
        view, count = self._views[i], self._near.shape[0]
        node, target = np.empty(count, np.int32), np.empty(count, np.int64)
        start = np.empty(count + 1, np.int32)
        rays = view.rays
        entries, found = kernels.pack_rays(
            self._position, self._values, view.known.numpy(), sharpness, self._block.low,
            rays.right, rays.forward, rays.offset, node, start, target,
        )  # fmt: skip
        return node[:entries].copy(), start[: found + 1].copy(), target[:found].copy()

    def _pack_views(self, chosen: list[int], sharpness: float) -> list[_View]:
        made = kernels.in_threads(lambda i: self._pack(i, sharpness), chosen, self._threads)
        weight = self._options.color_weight
        return [_View.of(*parts, self._views[i], weight) for i, parts in zip(chosen, made, strict=True)]

    def _see_colors(self, sharpness: float) -> None:
        """The nodes' colours: the mean of what the views show there. Where they show the same, a surface through these
        nodes costs nothing; one in front of or behind the true one shows each view something else."""
        every = range(len(self._views))
        missing = [i for i in every if i not in self._packed]
        self._packed |= dict(zip(missing, self._pack_views(missing, sharpness), strict=True))
        total, weight = np.zeros((len(self._index), 3), np.float32), np.zeros(len(self._index), np.float32)
        for view in (self._packed[i] for i in every):
            kernels.add_colors(
                self._values, view.node, view.start, sharpness, view.color, view.color_trust, total, weight
            )
        self._colors = total / np.maximum(weight, np.float32(1e-12))[:, None]

    def _rebuild(self) -> None:
        """Band, moments and packed rays round the surface as it is now in `_grid`."""
        self._grid, band = narrow_band.find_band(self._grid, self._block)
        self._index = band.index.numpy()
        count = len(self._index)
        self._near = np.ascontiguousarray(band.neighbours.numpy().T, dtype=np.int32)
        self._position = np.full(self._grid.numel(), -1, np.int32)
        self._position[self._index] = np.arange(count, dtype=np.int32)
        self._position = self._position.reshape(self._grid.shape)
        self._values = np.empty(count + 2, np.float32)
        self._values[:count], self._values[count:] = self._grid.numpy().reshape(-1)[self._index], (FAR, -FAR)
        self._want, self._hold_weight = self._at[self._index], self._hold[self._index]
        self._mean, self._square = (m[self._index] for m in self._moments)
        self._phi, self._gradient = np.empty(count, np.float32), np.empty((count, 3), np.float32)
        self._d_field, self._d_curvature = np.zeros(count, np.float32), np.zeros(count + 2, np.float32)
        self._d_gradient = np.zeros((count + 2, 3), np.float32)
        self._packed: dict[int, _View] = {}
        self._colors = np.zeros((0, 3), np.float32)

    def _store(self) -> None:
        """Write the band's values and moments back."""
        self._grid.numpy().reshape(-1)[self._index] = self._values[:-2]
        self._moments[0, self._index], self._moments[1, self._index] = self._mean, self._square

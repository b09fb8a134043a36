"""Masks and normals of a few views -> a signed distance grid: coarse-to-fine schedule, checks and fallback.

The coarse fit (depth) and the final fit (mesh) are this one function with two option sets.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.hull import carve, mask_distance
from img2mv3d.geometry.similarity import pixel_iou
from img2mv3d.neus.anyrig import FINEST, optimise_rays, ray_targets
from img2mv3d.neus.kernels import in_threads
from img2mv3d.neus.narrow_band import FAR, Block, find_band
from img2mv3d.neus.optimise import LevelFit
from img2mv3d.neus.options import FINAL, QUICK, FitOptions, Level
from img2mv3d.neus.prior import Prior, on_block
from img2mv3d.neus.raygrid import serves
from img2mv3d.neus.render import render_views
from img2mv3d.neus.targets import ViewTargets, block_of, hull_field, silhouette_iou, view_targets

# Mean silhouette IoU below the hull's by more: the fit failed. A thin plate seen edge-on may lose 0.08 with a depth ten
# times better than the hull's.
FALLBACK = 0.1
OFF = 0.5  # cells by which silhouettes may be off without counting as wrong
STRICT = 0.9  # IoU of the strict hull with the masks below which contradictions of one view, then two, are let pass
NOTHING_COMMON = "the silhouettes have no point in common; look at the views and their masks"
# How far normals are off after the coarsest level (`LevelFit.disagreement`), between which the curvature term grows to
# `FitOptions.disagreement_scale` times its weight. Measured on 15 objects with exact views: at most 0.165 (0.21 where
# nearly all is thin); on what mini generates: 0.217 and more. Contradicting normals, followed to the letter, leave
# cracks.
DISAGREE = (0.17, 0.21)
TINY_PX = 12  # a mask of fewer px shows nothing

__all__ = ["FINAL", "QUICK", "Fit", "FitOptions", "Level", "fit"]


@dataclass(frozen=True, eq=False)
class Fit:
    """sdf: float32 [N, N, N], world units, axes x, y, z on [-1, 1]^3, negative inside, cut at FAR cells, positive on
        the border, so that its surface is closed.
    figures: plain numbers: iou and hull_iou by view (to within OFF), nodes, source ("neus" or "hull"), missing (views
        that the hull overruled), disagreement (of the views' normals, see DISAGREE), loss.
    warnings: one sentence each.
    """

    sdf: np.ndarray
    figures: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def fit(
    normal: Float[np.ndarray, "V H W 3"],
    mask: Float[np.ndarray, "V H W"],
    rig: Rig,
    options: FitOptions,
    progress: Callable[[int, int], None] | None = None,
    prior: Prior | None = None,
    color: Float[np.ndarray, "V H W 3"] | None = None,
) -> Fit:
    """Fit a closed surface to the views of a rig. Equal inputs give equal fields, with any number of torch threads (in
    rigs that are not made of steps of 45 degrees: with equal ones).

    Views that show nothing are left out with a warning. When the fit fails (not finite, empty, silhouettes worse than
    the hull's by more than FALLBACK) the hull's field is handed out with a warning. Raises NothingFoundError when no
    view shows anything, or when no point lies in all silhouettes.

    normal: unit vectors, world axes; (0, 0, 0) where unknown.
    mask: soft, [0, 1]. progress(done, total): steps.
    prior: a body to start from and to stay at where views that agree with it say nothing else; where all of them agree,
        only the finest level is run.
    color: [0, 1], for the photometric term (`FitOptions.color_weight`).
    Rigs that are not made of steps of 45 degrees do without the latter two.
    """
    if not serves(rig):
        return _fit_any_rig(*_usable(normal, mask, rig), options, progress)
    if prior is not None:
        if prior.undisputed:
            options = replace(options, levels=options.levels[-1:])
        prior = replace(prior, agrees=prior.agrees[_shown(mask)])
    with _own_threads() as threads:
        shown = None if color is None else color[_shown(mask)]
        return _fit_on_nodes(*_usable(normal, mask, rig), options, progress, threads, prior, shown)


@contextmanager
def _own_threads() -> Iterator[int]:
    """Torch's number of threads, while torch itself makes do with one: its idle threads wait actively, in the way of
    ours, and their number changes its sums.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _fit_on_nodes(
    normal: np.ndarray,
    mask: np.ndarray,
    rig: Rig,
    warnings: list[str],
    options: FitOptions,
    progress: Callable[[int, int], None] | None,
    threads: int,
    prior: Prior | None,
    color: np.ndarray | None,
) -> Fit:
    distance = in_threads(mask_distance, mask, threads)

    @functools.cache
    def targets(nodes: int) -> list[ViewTargets]:
        return view_targets(normal, mask, rig, nodes, distance, threads, color)

    missing = _tolerance(targets, mask, rig, options)
    if missing:
        warnings.append(
            f"the silhouettes contradict each other: the hull overrules up to {missing} of {len(rig)} views"
        )
    tick = _ticker(options.levels, progress)
    whole, losses, factor = None, [], 1.0
    for level in options.levels:
        block, views = block_of(mask, rig, level.nodes), targets(level.nodes)
        hull = hull_field(views, block, missing)
        held = None if prior is None else on_block(prior, views, block, rig.width / 2)
        begin = hull if held is None else held.field
        start = begin if whole is None else _upsampled(whole, block)
        state = LevelFit(start, hull, views, block, _smoothed(level, factor), options, threads, held)
        if whole is not None:
            state.repair(level.sharp[0])
        losses = state.run(tick)
        if whole is None:
            disagreement = state.disagreement()
            factor = 1.0 if held else _disagreement_factor(disagreement, options.disagreement_scale)
            if factor > 1:  # cracks of the coarsest level would stay
                state = LevelFit(hull, hull, views, block, _smoothed(level, factor), options, threads)
                losses = state.run()
        whole = _whole(state.field(), block)
    field_, figures = _judge(whole[block.slices], hull, views, block, warnings)
    figures |= {"nodes": options.levels[-1].nodes, "missing": missing, "loss": round(losses[-1], 3)}
    figures["disagreement"] = round(disagreement, 4)
    cell = 2 / (options.levels[-1].nodes - 1)
    sdf = (_whole(field_, block) * cell).permute(1, 0, 2).contiguous().numpy()  # [y, x, z] -> [x, y, z]
    return Fit(sdf, figures, tuple(warnings))


def _disagreement_factor(disagreement: float, most: float) -> float:
    """Factor on the curvature term, 1 to `most`."""
    share = (disagreement - DISAGREE[0]) / (DISAGREE[1] - DISAGREE[0])
    return most ** min(max(share, 0.0), 1.0)


def _smoothed(level: Level, factor: float) -> Level:
    return replace(level, curvature_weight=level.curvature_weight * factor)


def _fit_any_rig(
    normal: np.ndarray,
    mask: np.ndarray,
    rig: Rig,
    warnings: list[str],
    options: FitOptions,
    progress: Callable[[int, int], None] | None,
) -> Fit:
    """`fit` along rays, for rigs without rays through the nodes: slower, and no finer than FINEST nodes a side."""
    levels = options.scaled(min(FINEST, options.levels[-1].nodes)).levels
    tick = _ticker(levels, progress)
    whole, losses = None, []
    for level in levels:
        cell = 2 / (level.nodes - 1)
        hull = torch.from_numpy(carve(mask, rig, level.nodes)) / cell
        if whole is None:
            start = hull
        else:
            start = F.interpolate(whole[None, None], size=(level.nodes,) * 3, mode="trilinear", align_corners=True)[
                0, 0
            ]
            start = start * ((level.nodes - 1) / (whole.shape[0] - 1))
        whole, losses = optimise_rays(start, ray_targets(normal, mask, rig, level.nodes), level, options, tick)
    found, hull = (_closed(f.clamp(-FAR, FAR)).numpy() * np.float32(cell) for f in (whole, hull))
    iou, hull_iou = (_seen_iou(f, mask, rig) for f in (found, hull))
    if not (hull < 0).any():
        raise NothingFoundError(NOTHING_COMMON)
    figures: dict[str, Any] = {"iou": iou, "hull_iou": hull_iou, "nodes": levels[-1].nodes, "missing": 0}
    figures |= {"source": "neus", "loss": round(losses[-1], 3)}
    if not np.isfinite(found).all() or np.mean(iou) < np.mean(hull_iou) - FALLBACK:
        warnings.append(_failed(iou, hull_iou))
        return Fit(hull, figures | {"source": "hull"}, tuple(warnings))
    return Fit(found, figures, tuple(warnings))


def _ticker(levels: tuple[Level, ...], progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    total, done = sum(level.steps for level in levels), 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick


def _seen_iou(sdf: np.ndarray, mask: np.ndarray, rig: Rig) -> list[float]:
    """Silhouette IoU by view, from rendered opacity."""
    seen = render_views(np.nan_to_num(sdf, nan=1.0), rig, mask.shape[2]).opacity > 0.5
    return [round(pixel_iou(one, view > 0.5, empty=0.0), 4) for one, view in zip(seen, mask, strict=True)]


def _closed(values: Float[Tensor, "N N N"]) -> Float[Tensor, "N N N"]:
    """The field with its border outside, so that the surface is closed."""
    for axis in range(3):
        for end in (0, values.shape[axis] - 1):
            values.select(axis, end).fill_(FAR)
    return values


def _failed(iou: list[float], hull_iou: list[float]) -> str:
    return (
        f"the surface fit failed (silhouette IoU {np.mean(iou):.2f}, the hull's {np.mean(hull_iou):.2f}); "
        "the silhouettes' hull is used instead"
    )


def _usable(normal: np.ndarray, mask: np.ndarray, rig: Rig) -> tuple[np.ndarray, np.ndarray, Rig, list[str]]:
    """The views that show something, finite, and a warning for each that does not."""
    mask = np.nan_to_num(mask, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1).astype(np.float32)
    normal = np.nan_to_num(normal, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    shown = _shown(mask)
    if not shown:
        raise NothingFoundError("no view shows an object: every mask is empty; look at the views and their masks")
    warnings = [f"view {rig.names[i]} shows nothing and was ignored" for i in range(len(rig)) if i not in shown]
    if warnings:
        rig = replace(
            rig,
            names=tuple(rig.names[i] for i in shown),
            azimuth_deg=tuple(rig.azimuth_deg[i] for i in shown),
            elevation_deg=tuple(rig.elevation_deg[i] for i in shown),
        )
    return normal[shown], mask[shown], rig, warnings


def _shown(mask: np.ndarray) -> list[int]:
    """The views that show something."""
    return [i for i, one in enumerate(mask) if (one > 0.5).sum() >= TINY_PX]


def _tolerance(targets: Callable[[int], list[ViewTargets]], mask: np.ndarray, rig: Rig, options: FitOptions) -> int:
    """How many views the hull must overrule to keep the silhouettes: the least number that loses little."""
    nodes = max(options.levels[0].nodes, 64)  # coarser grids lose thin parts for another reason
    block, views = block_of(mask, rig, nodes), targets(nodes)
    best, chosen = -1.0, 0
    for missing in range(min(options.tolerated, len(rig) - 1) + 1):
        iou = float(np.mean(silhouette_iou(hull_field(views, block, missing), views, block)))
        if iou > best + 0.02:
            best, chosen = iou, missing
        if best >= STRICT:
            break
    if best <= 0:
        raise NothingFoundError(NOTHING_COMMON)
    return chosen


def _judge(
    found: Tensor, hull: Tensor, views: list[ViewTargets], block: Block, warnings: list[str]
) -> tuple[Tensor, dict[str, Any]]:
    """The fit, or the hull when the fit failed; and both figures."""
    hull = find_band(hull, block)[0]
    hull_iou = silhouette_iou(hull, views, block, OFF)
    finite = bool(torch.isfinite(found).all())
    iou = silhouette_iou(found, views, block, OFF) if finite else [0.0] * len(views)
    figures: dict[str, Any] = {
        "iou": [round(v, 4) for v in iou],
        "hull_iou": [round(v, 4) for v in hull_iou],
        "source": "neus",
    }
    if not finite or not (found < 0).any() or np.mean(iou) < np.mean(hull_iou) - FALLBACK:
        if not (hull < 0).any():
            raise NothingFoundError(NOTHING_COMMON)
        warnings.append(_failed(iou, hull_iou))
        return hull, figures | {"source": "hull"}
    return found, figures


def _whole(field_: Float[Tensor, "Y X Z"], block: Block) -> Float[Tensor, "N N N"]:
    whole = torch.full((block.nodes,) * 3, FAR)
    whole[block.slices] = field_
    return whole


def _upsampled(whole: Float[Tensor, "N N N"], block: Block) -> Float[Tensor, "Y X Z"]:
    """The field of a coarser level on the block of a finer one; in cells, so it grows by the ratio."""
    finer = F.interpolate(whole[None, None], size=(block.nodes,) * 3, mode="trilinear", align_corners=True)[0, 0]
    ratio = (block.nodes - 1) / (whole.shape[0] - 1)
    return (finer[block.slices] * ratio).clamp(-FAR, FAR).contiguous()

"""Options of a fit, and the two sets in use: `QUICK` (coarse NeuS, for depth) and `FINAL` (for the mesh)."""

from __future__ import annotations

from dataclasses import dataclass, replace

CHARBONNIER = 0.1  # smooths |N - n| below a tenth; a quadratic would let outliers of generated normals steer
SURE = 0.02  # masks this near to 0 or 1 say on which side of the silhouette a ray is, not how far from it
ENOUGH = 0.25  # cells
DIM = 1e-4  # light that counts for the colours of nodes behind the surface, so that they have one, too
NEAR = 2.5  # cells: beyond this the field is too close to the band's rim to ask for its slope


@dataclass(frozen=True)
class Level:
    """One level of the coarse-to-fine schedule.

    nodes: grid resolution, a side.
    steps: of Adam.
    views: drawn per step (all, if there are fewer).
    sharp: NeuS's S at start and end, 1 / cells.
    curvature_weight: a node.
    repair_every: steps; 0: only at the start.
    """

    nodes: int
    steps: int
    views: int = 6
    sharp: tuple[float, float] = (1.2, 2.5)
    curvature_weight: float = 0.08
    repair_every: int = 0


@dataclass(frozen=True)
class FitOptions:
    """Numbers of a fit.

    levels: coarse to fine.
    eikonal: weight a node.
    silhouette_weight: a ray, of the distance between surface and silhouette.
    hull_prior_weight: a node, where the hull is thin, or the body that a fit starts from.
    body_weight: a node, of the distance to that body elsewhere.
    disagreement_scale: factor on the curvature weight where the views wholly contradict each other.
    tolerated: views that the hull may overrule.
    rate: Adam's step at start and end of a level, cells.
    outlier_fraction: share of a view's trusted normals, those with the largest errors, that count for nothing.
    color_weight: a ray, of how far its colour is from what the other views show there; 0: colours are not looked at.
    """

    levels: tuple[Level, ...]
    eikonal: float = 0.03
    silhouette_weight: float = 1.0
    hull_prior_weight: float = 0.1
    body_weight: float = 0.05
    disagreement_scale: float = 50.0
    tolerated: int = 2
    rate: tuple[float, float] = (0.12, 0.018)
    outlier_fraction: float = 0.0
    color_weight: float = 0.0

    def scaled(self, grid: int, effort: float = 1.0) -> FitOptions:
        """The same schedule up to `grid` nodes a side with `effort` times the steps. A grid that is not in the schedule
        takes the place of the next finer level, or comes on top as one more level like the last.
        """
        levels = [level for level in self.levels if level.nodes <= grid]
        if not levels or levels[-1].nodes != grid:
            finer = next((level for level in self.levels if level.nodes > grid), self.levels[-1])
            levels.append(replace(finer, nodes=grid))
        return replace(
            self, levels=tuple(replace(level, steps=max(1, round(level.steps * effort))) for level in levels)
        )


QUICK = FitOptions(
    (
        Level(32, 300),
        Level(64, 100),
        Level(128, 80, views=3, sharp=(1.5, 4.0)),
    )
)
FINAL = FitOptions(
    (
        Level(32, 400),
        Level(64, 250),
        Level(128, 200, sharp=(1.5, 4.0), repair_every=30),
        Level(192, 120, views=3, sharp=(1.5, 4.0), curvature_weight=0.12, repair_every=30),
    ),
    color_weight=1.0,
)

"""Options of a fit, and the two sets in use: `QUICK` (coarse NeuS, for depth) and `FINAL` (for the mesh)."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Level:
    """One grid of the ladder.

    nodes: a side. steps: of Adam. views: drawn per step (all, if there are fewer). sharp: NeuS's S at start and end,
    1 / cells. bend: weight a node of the curvature term. repair_every: steps; 0: only at the start.
    """

    nodes: int
    steps: int
    views: int = 6
    sharp: tuple[float, float] = (1.2, 2.5)
    bend: float = 0.08
    repair_every: int = 0


@dataclass(frozen=True)
class FitOptions:
    """levels: coarse to fine. eikonal: weight a node. rim: weight a ray of the distance between surface and silhouette.
    hold: weight a node of the hull where it is thin. calm: factor on `bend` where the views wholly contradict each
    other. tolerated: views that the hull may overrule. rate: Adam's step at start and end of a level, cells. drop:
    share of a view's trusted normals, those with the largest errors, that count for nothing.
    """

    levels: tuple[Level, ...]
    eikonal: float = 0.03
    rim: float = 1.0
    hold: float = 0.1
    calm: float = 50.0
    tolerated: int = 2
    rate: tuple[float, float] = (0.12, 0.018)
    drop: float = 0.0

    def scaled(self, grid: int, effort: float = 1.0) -> FitOptions:
        """The same ladder up to `grid` nodes a side with `effort` times the steps. A grid that is not on the ladder
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
        Level(192, 120, views=3, sharp=(1.5, 4.0), bend=0.12, repair_every=30),
    )
)

"""New shapes from old: a mesh stretched, tapered, or joined with another, and painted anew.

In: objects of the corpus, random numbers. Out: a `Variant`: one mesh with its solid, in object units.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from img2mv3d.data.corpus import Solid
from img2mv3d.data.solids import inside

STRETCH = (0.7, 1.4)  # along the upright axis
STRETCH_SHARE, TAPER_SHARE, JOIN_SHARE = 0.5, 0.15, 0.08
TAPER = 0.35  # at the most: top and bottom are so much wider or narrower than the middle
PATCHES = (1, 7)  # regions of one colour in a repainted object


@dataclass(frozen=True)
class Deformation:
    """What happens to an object before it is posed: x and z times 1 + taper * y / 0.5, then y times `stretch`, then all
    of it times `scale` and moved by `shift` (object units)."""

    stretch: float = 1.0
    taper: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def forward(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 3"]:
        """Where points of the object come to lie."""
        wide = 1 + self.taper * points[:, 1:2] / 0.5
        bent = np.concatenate([points[:, :1] * wide, points[:, 1:2] * self.stretch, points[:, 2:] * wide], axis=1)
        return bent * self.scale + np.asarray(self.shift, points.dtype)

    def backward(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, "P 3"]:
        """Undo `forward`."""
        bent = (points - np.asarray(self.shift, points.dtype)) / self.scale
        y = bent[:, 1:2] / self.stretch
        wide = np.maximum(1 + self.taper * y / 0.5, 0.05)
        return np.concatenate([bent[:, :1] / wide, y, bent[:, 2:] / wide], axis=1)


@dataclass(frozen=True, eq=False)
class Part:
    """An object of the corpus, its carved solid, and how it is deformed.

    mirror: `mirrors.mirror_shares` of it, which no deformation changes much; None: not known.
    """

    mesh: Solid
    solid: Bool[np.ndarray, "G G G"]
    deformation: Deformation
    mirror: Float32[np.ndarray, " T"] | None = None

    def vertices(self) -> Float[np.ndarray, "N 3"]:
        """Deformed vertices."""
        return self.deformation.forward(self.mesh.vertices.astype(np.float64))

    def inside(self, points: Float[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
        """As `solids.inside`, of the deformed object."""
        return inside(self.solid, self.deformation.backward(points))


def random_deformation(rng: np.random.Generator) -> Deformation:
    """Half of the objects stretched, some tapered."""
    stretch = float(np.exp(rng.uniform(*np.log(STRETCH)))) if rng.random() < STRETCH_SHARE else 1.0
    taper = float(rng.uniform(-TAPER, TAPER)) if rng.random() < TAPER_SHARE else 0.0
    return Deformation(stretch, taper)


def beside(first: Part, second: Part, rng: np.random.Generator) -> Part:
    """The second object, smaller, set against the first: on top of it or at one of its sides."""
    box = np.stack([first.vertices().min(0), first.vertices().max(0)])
    vertices = second.vertices()
    low, high = vertices.min(0), vertices.max(0)
    scale = float(rng.uniform(0.35, 0.8) * np.ptp(box, axis=0).max() / max((high - low).max(), 1e-6))
    side = int(rng.integers(3))  # right, on top, left
    axis, sign = (1, 1.0) if side == 1 else (0, 1.0 if side == 0 else -1.0)
    middle, half = box.mean(0), (high - low) / 2 * scale
    target = middle + rng.uniform(-0.15, 0.15, 3) * np.ptp(box, axis=0)
    target[axis] = box[int(sign > 0), axis] + sign * half[axis] * rng.uniform(0.55, 0.95)
    if axis == 0:  # both stand on the same ground
        target[1] = box[0, 1] + half[1]
    old = second.deformation
    shift = target - (low + high) / 2 * scale
    return Part(second.mesh, second.solid, Deformation(old.stretch, old.taper, scale, tuple(float(c) for c in shift)))


def repainted(rng: np.random.Generator):
    """A colour for every place of an object, float32 [P, 3] of points [P, 3]: patches of random flat colours."""
    count = int(rng.integers(*PATCHES))
    middles = rng.normal(0, 0.3, (count, 3))
    grey = rng.uniform(0.05, 0.95, (count, 1))
    colours = np.clip(grey + rng.normal(0, 0.22, (count, 3)), 0.02, 0.98).astype(np.float32)

    def colour(points: Float[np.ndarray, "P 3"]) -> Float32[np.ndarray, "P 3"]:
        squares = ((points[:, None] - middles) ** 2).sum(-1)
        return colours[squares.argmin(1)]

    return colour

"""The plane that an object seems to stand on, and by how much the photo's camera looked down on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

LOWEST_DEG, HIGHEST_DEG = -20.0, 50.0  # a front or a back cannot be taken for a base in between
STEP_DEG = 0.5
WIDTH_DEG = 6.0  # facets of the hull that lean apart by so much still count as one plane
NEAR_DEG = 12.0  # facets within count as its area
FLAT = 0.5  # share of what the object covers, seen from below, that must be flat: a ball has no base
OFFER_DEG = 8.0  # from here on it is worth a word: the estimate errs by less


class Base(NamedTuple):
    """elevation_deg: of the camera above the plane, degrees.
    share: 0..1, of the object's outline seen along the plane's normal, how much lies in the plane (four feet span their
        whole rectangle).
    """

    elevation_deg: float
    share: float

    @property
    def worth_a_word(self) -> bool:
        """Is there a base, and does it lean?"""
        return self.share >= FLAT and self.elevation_deg >= OFFER_DEG


def base_of(vertices: Float[np.ndarray, "N 3"]) -> Base | None:
    """The flattest side of the convex hull among those that face down, turned about the x axis only (world units).
    None when the points are flat or too few.
    """
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull = ConvexHull(vertices)
    except (QhullError, ValueError):
        return None
    normal = hull.equations[:, :3]
    corner = vertices[hull.simplices]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1) / 2
    angles = np.arange(LOWEST_DEG, HIGHEST_DEG + STEP_DEG, STEP_DEG)
    down = _down(angles)
    apart = np.degrees(np.arccos((normal @ down.T).clip(-1, 1)))  # [facets, angles]
    score = area @ np.exp(-((apart / WIDTH_DEG) ** 2))
    best = int(score.argmax())
    near = apart[:, best] < NEAR_DEG
    if not near.any():
        return None
    mean = (area[near, None] * normal[near]).sum(0)
    elevation = float(np.degrees(np.arctan2(-mean[2], -mean[1])))
    outline = area @ np.abs(normal @ _down(np.array([elevation]))[0]) / 2
    return Base(elevation, float(min(area[near].sum() / max(outline, 1e-12), 1.0)))


def _down(elevation_deg: np.ndarray) -> np.ndarray:
    """[K, 3] unit normals of bases: what points down in an upright world, as a camera at that elevation sees it."""
    angle = np.radians(elevation_deg)
    return np.stack([np.zeros_like(angle), -np.cos(angle), -np.sin(angle)], axis=1)

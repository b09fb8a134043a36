"""Which objects of a corpus have the same shape, wherever they were found and however they are painted or turned.

In: meshes. Out: a signature for each, pairs that are alike, groups. Turned about the upright axis or scaled, a shape
keeps its signature: quantiles of distances between, and of heights and radii of, points of its surface.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from scipy.spatial import cKDTree

from img2mv3d.data.corpus import Solid

POINTS = 6_000
QUANTILES = 24
SAME = 0.010  # mean difference of quantiles, in units of the object's size: look-alikes are below it, kinds above


def signature(solid: Solid) -> Float32[np.ndarray, " 96"]:
    """Four times QUANTILES numbers, in units of the object's own size."""
    rng = np.random.default_rng(0)
    corners = solid.vertices[solid.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) + 1e-12
    chosen = rng.choice(len(area), POINTS, p=area / area.sum())
    a, b = np.sqrt(rng.random((POINTS, 1))), rng.random((POINTS, 1))
    first, second, third = corners[chosen].transpose(1, 0, 2)
    points = (1 - a) * first + a * (1 - b) * second + a * b * third
    points -= points.mean(0)
    size = np.sqrt((points**2).sum(1).mean())
    points /= max(size, 1e-9)
    shares = (np.arange(QUANTILES) + 0.5) / QUANTILES
    measures = (
        np.linalg.norm(points[::2] - points[1::2], axis=1),
        np.linalg.norm(points, axis=1),
        points[:, 1],
        np.hypot(points[:, 0], points[:, 2]),
    )
    return np.concatenate([np.quantile(m, shares) for m in measures]).astype(np.float32)


def alike(signatures: Float32[np.ndarray, "N Q"], same: float = SAME) -> list[tuple[int, int]]:
    """Pairs of rows that differ by less than `same` in the mean."""
    tree = cKDTree(signatures)
    pairs = tree.query_pairs(same * signatures.shape[1], p=1)
    return sorted(pairs)


def groups(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """A number for each of `count` things, the same for all that pairs connect."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs:
        parent[root(a)] = root(b)
    return [root(i) for i in range(count)]

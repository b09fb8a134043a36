"""How far one surface is from another: only what can be seen from outside counts.

In: two triangle meshes in the same frame. Out: Chamfer distance, F-scores, completeness, as plain numbers.
Why here: meshes of real corpora are open, single-sided and full of inner walls; comparing volumes or hidden faces would
judge the modeller, not the reconstruction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from img2mv3d.data.raycast import Raycaster, sphere_directions

DIRECTIONS = 48  # from which a surface is looked at
SAMPLES = 20_000  # on each surface, spread evenly over its visible area: 0.5 % of a sphere's box diagonal apart
MOST_ROUNDS = 5  # of sampling, for surfaces that are mostly hidden
FRACTIONS = (0.01, 0.02)  # of the truth's box diagonal: thresholds of the F-scores


class SurfaceScore(NamedTuple):
    """chamfer: mean of the two mean distances, in units of the truth's box diagonal. precision, recall, f_score: by
    fraction of the diagonal, 0..1. diagonal: of the truth's visible points, in their units.
    """

    chamfer: float
    precision: dict[float, float]
    recall: dict[float, float]
    f_score: dict[float, float]
    diagonal: float


def visible_points(
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    rng: np.random.Generator,
    samples: int = SAMPLES,
    directions: int = DIRECTIONS,
) -> Float[np.ndarray, "P 3"]:
    """Points spread evenly over the surface (by area) that at least one of `directions` outside directions sees.

    `samples` of them, fewer when most of the surface is hidden. Either side of a face counts, so open and wrongly wound
    meshes are fine. Empty [0, 3] when the mesh is empty.
    """
    if not len(faces):
        return np.zeros((0, 3))
    corners = vertices[faces].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    if not area.sum() > 0:
        return np.zeros((0, 3))
    # To the size that the ray caster's float32 is made for.
    low, high = vertices.min(0).astype(np.float64), vertices.max(0).astype(np.float64)
    centre, size = (low + high) / 2, max(float(np.linalg.norm(high - low)), 1e-12)
    world = Raycaster((vertices - centre) / size, faces)
    found: list[np.ndarray] = []
    for _ in range(MOST_ROUNDS):
        chosen = rng.choice(len(faces), samples, p=area / area.sum())
        a, b = np.sqrt(rng.random((samples, 1))), rng.random((samples, 1))
        first, second, third = corners[chosen].transpose(1, 0, 2)
        points = (1 - a) * first + a * (1 - b) * second + a * b * third
        normals = cross[chosen] / np.maximum(area[chosen, None], 1e-300)
        found.append(points[_seen(world, (points - centre) / size, normals, directions)])
        if sum(map(len, found)) >= samples:
            break
    return np.concatenate(found)[:samples]


def surface_score(
    found: Float[np.ndarray, "P 3"],
    truth: Float[np.ndarray, "Q 3"],
    fractions: tuple[float, ...] = FRACTIONS,
) -> SurfaceScore:
    """Compare two sets of `visible_points`. An empty `found` scores 0 and an infinite Chamfer distance.

    Raises ValueError when the truth is empty.
    """
    if not len(truth):
        raise ValueError("the truth has no visible points")
    diagonal = float(np.linalg.norm(np.ptp(truth, axis=0)))
    if not len(found):
        zero = dict.fromkeys(fractions, 0.0)
        return SurfaceScore(float("inf"), zero, dict(zero), dict(zero), diagonal)
    to_truth = cKDTree(truth).query(found)[0] / diagonal
    to_found = cKDTree(found).query(truth)[0] / diagonal
    precision = {f: float((to_truth <= f).mean()) for f in fractions}
    recall = {f: float((to_found <= f).mean()) for f in fractions}
    f_score = {f: _harmonic(precision[f], recall[f]) for f in fractions}
    return SurfaceScore(float(to_truth.mean() + to_found.mean()) / 2, precision, recall, f_score, diagonal)


def compare_meshes(
    found: tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"]],
    truth: tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, "G 3"]],
    rng: np.random.Generator,
    fractions: tuple[float, ...] = FRACTIONS,
    samples: int = SAMPLES,
) -> SurfaceScore:
    """`surface_score` of the visible points of two meshes (vertices, faces) in the same frame and units."""
    points = visible_points(*truth, rng, samples)
    return surface_score(visible_points(*found, rng, samples), points, fractions)


def _seen(world: Raycaster, points: np.ndarray, normals: np.ndarray, directions: int) -> np.ndarray:
    """bool [P]: whether the way out is free along at least one direction, on the side of the face that looks there."""
    seen = np.zeros(len(points), bool)
    for direction in sphere_directions(directions):
        left = np.flatnonzero(~seen)
        facing = normals[left] @ direction
        left, facing = left[np.abs(facing) > 0.05], facing[np.abs(facing) > 0.05]
        start = points[left] + 1e-4 * np.sign(facing)[:, None] * normals[left]
        seen[left] = ~world.blocked(start, np.broadcast_to(direction, start.shape))
    return seen


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0

"""Distances between two surfaces, by what can be seen from outside: meshes of corpora are open and full of walls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from img2mv3d.data.raycast import Raycaster, sphere_directions
from img2mv3d.geometry.similarity import pixel_iou

DIRECTIONS = 48  # from which a surface is looked at
SAMPLES = 20_000  # on each surface, spread evenly over its visible area: 0.5 % of a sphere's box diagonal apart
MOST_ROUNDS = 5  # of sampling, for surfaces that are mostly hidden
FRACTIONS = (0.01, 0.02, 0.05)  # of the truth's box diagonal: thresholds of the F-scores
GRAZING = 0.05  # cosine: a face that is seen at less shows nothing
VOLUME_NODES, VOLUME_DIRECTIONS = 40, 32  # a side of the box; ways out that are tried


class SurfaceScore(NamedTuple):
    """How far one surface is from another.

    chamfer: mean of the two mean distances, in units of the truth's box diagonal.
    precision, recall, f_score: by fraction of the diagonal, 0..1.
    diagonal: of the truth's visible points, in their units.
    missing: mean distance from the truth to what was found, in units of the diagonal.
    """

    chamfer: float
    precision: dict[float, float]
    recall: dict[float, float]
    f_score: dict[float, float]
    diagonal: float
    missing: float


class SurfacePoints(NamedTuple):
    """Points spread evenly over a surface; normals: unit, of the face that each lies on, either side of it."""

    points: Float[np.ndarray, "P 3"]
    normals: Float[np.ndarray, "P 3"]


def visible_points(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], rng: np.random.Generator, samples: int = SAMPLES
) -> Float[np.ndarray, "P 3"]:
    """The points of `visible_surface`."""
    return visible_surface(vertices, faces, rng, samples).points


def visible_surface(
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    rng: np.random.Generator,
    samples: int = SAMPLES,
    directions: int = DIRECTIONS,
) -> SurfacePoints:
    """Points spread evenly over the surface (by area) that at least one of `directions` outside directions sees.

    `samples` of them, fewer when most of the surface is hidden. Either side of a face counts, so open and wrongly wound
    meshes are fine. Empty [0, 3] when the mesh is empty.
    """
    if not len(faces):
        return SurfacePoints(np.zeros((0, 3)), np.zeros((0, 3)))
    corners = vertices[faces].astype(np.float64)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    if not area.sum() > 0:
        return SurfacePoints(np.zeros((0, 3)), np.zeros((0, 3)))
    centre, size = centre_size(vertices)
    world = Raycaster((vertices - centre) / size, faces)
    found: list[np.ndarray] = []
    for _ in range(MOST_ROUNDS):
        chosen = rng.choice(len(faces), samples, p=area / area.sum())
        a, b = np.sqrt(rng.random((samples, 1))), rng.random((samples, 1))
        first, second, third = corners[chosen].transpose(1, 0, 2)
        points = (1 - a) * first + a * (1 - b) * second + a * b * third
        normals = cross[chosen] / np.maximum(area[chosen, None], 1e-300)
        seen = seen_along(world, (points - centre) / size, normals, sphere_directions(directions))
        found.append(np.concatenate([points, normals], axis=1)[seen])
        if sum(map(len, found)) >= samples:
            break
    both = np.concatenate(found)[:samples]
    return SurfacePoints(both[:, :3], both[:, 3:])


def surface_score(
    predicted: Float[np.ndarray, "P 3"],
    truth: Float[np.ndarray, "Q 3"],
    fractions: tuple[float, ...] = FRACTIONS,
    part: Bool[np.ndarray, " Q"] | None = None,
) -> SurfaceScore:
    """Compare two sets of `visible_points`. An empty `predicted` scores 0 and an infinite Chamfer distance.

    part: judge only these points of the truth, and of the predicted ones those whose nearest true point is among them.
    Raises ValueError when the truth, or the part, is empty.
    """
    if not len(truth) or (part is not None and not part.any()):
        raise ValueError("the truth has no visible points")
    diagonal = float(np.linalg.norm(np.ptp(truth, axis=0)))
    zero = dict.fromkeys(fractions, 0.0)
    if not len(predicted):
        return SurfaceScore(float("inf"), zero, dict(zero), dict(zero), diagonal, float("inf"))
    to_truth, nearest = cKDTree(truth).query(predicted)
    to_predicted = cKDTree(predicted).query(truth)[0]
    to_truth, to_predicted = to_truth / diagonal, to_predicted / diagonal
    if part is not None:
        to_truth, to_predicted = to_truth[part[nearest]], to_predicted[part]
    missing = float(to_predicted.mean())
    recall = {f: float((to_predicted <= f).mean()) for f in fractions}
    if not len(to_truth):  # nothing was predicted that would belong to this part
        return SurfaceScore(float("inf"), zero, recall, dict(zero), diagonal, missing)
    precision = {f: float((to_truth <= f).mean()) for f in fractions}
    f_score = {f: _harmonic(precision[f], recall[f]) for f in fractions}
    return SurfaceScore((float(to_truth.mean()) + missing) / 2, precision, recall, f_score, diagonal, missing)


def volume_iou(
    predicted: tuple[Float[np.ndarray, "N 3"], Int[np.ndarray, "F 3"]],
    truth: tuple[Float[np.ndarray, "M 3"], Int[np.ndarray, "G 3"]],
    nodes: int = VOLUME_NODES,
) -> float:
    """Intersection over union of two bodies on a grid over the truth's box and half as much around it.

    Inside is where no way out is free, so that open and wrongly wound meshes have a volume, too.

    predicted, truth: vertices, faces, in one frame.
    """
    low, high = truth[0].min(0).astype(np.float64), truth[0].max(0).astype(np.float64)
    middle, half = (low + high) / 2, 0.75 * float((high - low).max())
    line = (np.arange(nodes) + 0.5) * 2 / nodes - 1
    points = middle + half * np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return pixel_iou(*(_inside(points, *mesh) for mesh in (predicted, truth)))


def centre_size(vertices: np.ndarray) -> tuple[np.ndarray, float]:
    """What brings a mesh to the size that the ray caster's float32 is made for."""
    low, high = vertices.min(0).astype(np.float64), vertices.max(0).astype(np.float64)
    return (low + high) / 2, max(float(np.linalg.norm(high - low)), 1e-12)


def seen_along(
    world: Raycaster, points: np.ndarray, normals: np.ndarray, directions: Float[np.ndarray, "D 3"]
) -> Bool[np.ndarray, " P"]:
    """Whether the way out is free along at least one direction, on the side of the face that looks there."""
    seen = np.zeros(len(points), bool)
    for direction in directions:
        left = np.flatnonzero(~seen)
        facing = normals[left] @ direction
        left, facing = left[np.abs(facing) > GRAZING], facing[np.abs(facing) > GRAZING]
        start = points[left] + 1e-4 * np.sign(facing)[:, None] * normals[left]
        seen[left] = ~world.blocked(start, np.broadcast_to(direction, start.shape))
    return seen


def _inside(
    points: Float[np.ndarray, "P 3"], vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]
) -> Bool[np.ndarray, " P"]:
    """Which points have no free way out of the mesh."""
    inside = np.zeros(len(points), bool)
    if not len(faces):
        return inside
    centre, size = centre_size(vertices)
    world = Raycaster((vertices - centre) / size, faces)
    left = np.flatnonzero(((points >= vertices.min(0)) & (points <= vertices.max(0))).all(1))
    for direction in sphere_directions(VOLUME_DIRECTIONS):
        start = (points[left] - centre) / size
        left = left[world.blocked(start, np.broadcast_to(direction, start.shape))]
    inside[left] = True
    return inside


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0

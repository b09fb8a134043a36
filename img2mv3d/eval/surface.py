"""How far one surface is from another: only what can be seen from outside counts.

In: two triangle meshes in the same frame. Out: Chamfer distance, F-scores, completeness, as plain numbers; which points
of a surface some cameras see, and which lie on thin plates.
Why here: meshes of real corpora are open, single-sided and full of inner walls; comparing volumes or hidden faces would
judge the modeller, not the reconstruction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from img2mv3d.data.raycast import Raycaster, sphere_directions
from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Rig

DIRECTIONS = 48  # from which a surface is looked at
SAMPLES = 20_000  # on each surface, spread evenly over its visible area: 0.5 % of a sphere's box diagonal apart
MOST_ROUNDS = 5  # of sampling, for surfaces that are mostly hidden
FRACTIONS = (0.01, 0.02, 0.05)  # of the truth's box diagonal: thresholds of the F-scores
GRAZING = 0.05  # cosine: a face that is seen at less shows nothing
LEVEL = 0.9  # of a normal's vertical part: the face of a plate that lies
SIDEWAYS = 0.5  # of a direction's vertical part: a way out between two boards, not through a house without a floor


class SurfaceScore(NamedTuple):
    """chamfer: mean of the two mean distances, in units of the truth's box diagonal. precision, recall, f_score: by
    fraction of the diagonal, 0..1. diagonal: of the truth's visible points, in their units. missing: mean distance from
    the truth to what was found, in units of the diagonal.
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
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    rng: np.random.Generator,
    samples: int = SAMPLES,
    directions: int = DIRECTIONS,
) -> Float[np.ndarray, "P 3"]:
    """The points of `visible_surface`."""
    return visible_surface(vertices, faces, rng, samples, directions).points


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
    centre, size = _centre_size(vertices)
    world = Raycaster((vertices - centre) / size, faces)
    found: list[np.ndarray] = []
    for _ in range(MOST_ROUNDS):
        chosen = rng.choice(len(faces), samples, p=area / area.sum())
        a, b = np.sqrt(rng.random((samples, 1))), rng.random((samples, 1))
        first, second, third = corners[chosen].transpose(1, 0, 2)
        points = (1 - a) * first + a * (1 - b) * second + a * b * third
        normals = cross[chosen] / np.maximum(area[chosen, None], 1e-300)
        seen = _seen(world, (points - centre) / size, normals, sphere_directions(directions))
        found.append(np.concatenate([points, normals], axis=1)[seen])
        if sum(map(len, found)) >= samples:
            break
    both = np.concatenate(found)[:samples]
    return SurfacePoints(both[:, :3], both[:, 3:])


def seen_by(
    surface: SurfacePoints, vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], rig: Rig
) -> Bool[np.ndarray, " P"]:
    """Which of the mesh's points at least one of the rig's cameras sees, not only edge-on. The rig is orthographic."""
    if rig.kind != ORTHOGRAPHIC:
        raise ValueError("seen_by: expected an orthographic rig")
    centre, size = _centre_size(vertices)
    world = Raycaster((vertices - centre) / size, faces)
    towards = -np.stack([camera.forward for camera in rig.cameras(8)])
    return _seen(world, (surface.points - centre) / size, surface.normals, towards)


def thin_plates(
    surface: SurfacePoints, vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], thickness: float
) -> Bool[np.ndarray, " P"]:
    """Which of the mesh's points lie on a level plate (or sheet) thinner than `thickness` (units of the mesh): the
    point sees the outside sideways above, and so does a place so far below it; or upside down.
    """
    centre, size = _centre_size(vertices)
    world = Raycaster((vertices - centre) / size, faces)
    lying = np.flatnonzero(np.abs(surface.normals[:, 1]) > LEVEL)
    points, normals = (surface.points[lying] - centre) / size, surface.normals[lying]
    sideways = sphere_directions(DIRECTIONS)
    sideways = sideways[np.abs(sideways[:, 1]) < SIDEWAYS]
    thin = np.zeros(len(surface.points), bool)
    for side in (-1.0, 1.0):
        open_ = _seen(world, points, normals, sideways[side * sideways[:, 1] > 0])
        behind = points - [0.0, side * thickness / size, 0.0]
        open_[open_] = _free(world, behind[open_], sideways)
        thin[lying[open_]] = True
    return thin


def surface_score(
    found: Float[np.ndarray, "P 3"],
    truth: Float[np.ndarray, "Q 3"],
    fractions: tuple[float, ...] = FRACTIONS,
    part: Bool[np.ndarray, " Q"] | None = None,
) -> SurfaceScore:
    """Compare two sets of `visible_points`. An empty `found` scores 0 and an infinite Chamfer distance.

    part: judge only these points of the truth, and of the found ones those whose nearest true point is among them.
    Raises ValueError when the truth, or the part, is empty.
    """
    if not len(truth) or (part is not None and not part.any()):
        raise ValueError("the truth has no visible points")
    diagonal = float(np.linalg.norm(np.ptp(truth, axis=0)))
    zero = dict.fromkeys(fractions, 0.0)
    if not len(found):
        return SurfaceScore(float("inf"), zero, dict(zero), dict(zero), diagonal, float("inf"))
    to_truth, nearest = cKDTree(truth).query(found)
    to_found = cKDTree(found).query(truth)[0]
    to_truth, to_found = to_truth / diagonal, to_found / diagonal
    if part is not None:
        to_truth, to_found = to_truth[part[nearest]], to_found[part]
    missing = float(to_found.mean())
    recall = {f: float((to_found <= f).mean()) for f in fractions}
    if not len(to_truth):  # nothing was found that would belong to this part
        return SurfaceScore(float("inf"), zero, recall, dict(zero), diagonal, missing)
    precision = {f: float((to_truth <= f).mean()) for f in fractions}
    f_score = {f: _harmonic(precision[f], recall[f]) for f in fractions}
    return SurfaceScore((float(to_truth.mean()) + missing) / 2, precision, recall, f_score, diagonal, missing)


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


def _centre_size(vertices: np.ndarray) -> tuple[np.ndarray, float]:
    """What brings a mesh to the size that the ray caster's float32 is made for."""
    low, high = vertices.min(0).astype(np.float64), vertices.max(0).astype(np.float64)
    return (low + high) / 2, max(float(np.linalg.norm(high - low)), 1e-12)


def _seen(
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


def _free(
    world: Raycaster, points: Float[np.ndarray, "P 3"], directions: Float[np.ndarray, "D 3"]
) -> Bool[np.ndarray, " P"]:
    """Whether nothing stands on at least one of the ways from each point."""
    free = np.zeros(len(points), bool)
    for direction in directions:
        left = np.flatnonzero(~free)
        free[left] = ~world.blocked(points[left], np.broadcast_to(direction, (len(left), 3)))
    return free


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b > 0 else 0.0

"""How well an object is its own mirror image, in every upright plane through its middle.

In: its mesh. Out: a share for each of `geometry.symmetry.TURNS`. Most made and grown things have such a plane, and it
says what the half that nobody sees looks like: a thing for a network to learn.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.spatial import cKDTree

from img2mv3d.geometry.symmetry import TURNS

POINTS = 1500  # of the surface that are mirrored
MEETS = 0.025  # of the box's diagonal: how near the surface a mirrored point must come


def mirror_shares(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"]) -> Float32[np.ndarray, " T"]:
    """The share of the surface that meets its mirror image in the upright plane whose normal is (cos t, 0, sin t), for
    each t of `TURNS`. The planes go through the centroid of the surface, as every true mirror plane does.

    vertices: +Y up. Deterministic.
    """
    corners = vertices[faces].astype(np.float64)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    if not areas.sum() > 0:
        return np.zeros(len(TURNS), np.float32)
    rng = np.random.default_rng(0)
    face = rng.choice(len(faces), POINTS, p=areas / areas.sum())
    u, v = np.sort(rng.random((2, POINTS)), axis=0)
    points = corners[face, 0] * u[:, None] + corners[face, 1] * (v - u)[:, None] + corners[face, 2] * (1 - v)[:, None]
    points -= (corners.mean(1) * areas[:, None]).sum(0) / areas.sum()
    near = cKDTree(points)
    # Points lie so far apart that some miss a surface that is there: what a twin of them misses is not counted.
    reach = MEETS * np.linalg.norm(np.ptp(vertices, axis=0)) + _spacing(near, points)
    shares = []
    for turn in np.radians(TURNS):
        normal = np.array([np.cos(turn), 0, np.sin(turn)])
        mirrored = points - 2 * (points @ normal)[:, None] * normal
        shares.append((near.query(mirrored, distance_upper_bound=reach)[0] < reach).mean())
    return np.array(shares, np.float32)


def seen_shares(shares: Float32[np.ndarray, " T"], yaw_deg: float) -> Float32[np.ndarray, " T"]:
    """The shares of an object that `scene.turned` turns by `yaw_deg`, for `TURNS` in the photo's frame, as
    `geometry.symmetry.mirror_plane` counts them."""
    step = TURNS[1] - TURNS[0]
    place = (TURNS + yaw_deg) / step
    low = np.floor(place).astype(int)
    rest = (place - low).astype(np.float32)
    count = len(TURNS)
    return shares[low % count] * (1 - rest) + shares[(low + 1) % count] * rest


def _spacing(near: cKDTree, points: np.ndarray) -> float:
    return float(np.median(near.query(points, k=2)[0][:, 1]))

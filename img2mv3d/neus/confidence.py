"""Confidence of a fitted depth, pixel by pixel: a logistic regression on how well the fit explains its views."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter

from img2mv3d.geometry.cameras import Rig, pixel_centres, project, unproject
from img2mv3d.neus.render import Rendering

RIGHT = 0.02  # world units: a depth that errs by less is called right
SAME = 0.04  # world units: two depths that differ by less are one surface
NAMES = ("normal", "no normal", "normals around", "normals of the view", "grazing", "seen by others", "outline")
# Logistic regression on 12 training objects: exact views, perturbed ones, and what mini makes of a photo
# (`python -m experiments.fit.calibration`); the last number is the constant. How far it holds:
# experiments/reports/surface-fit.md.
WEIGHTS = (-1.049, -1.677, 0.494, -8.292, -1.026, 0.509, -3.004, 1.267)


def confidence(
    seen: Rendering, normal: Float[np.ndarray, "V H W 3"], mask: Float[np.ndarray, "V H W"], rig: Rig
) -> Float32[np.ndarray, "V H W"]:
    """Estimated probability that z is within RIGHT of the truth; 0 where nothing is hit.

    normal, mask: of the views.
    """
    signs = features(seen, normal, mask, rig)
    chance = 1 / (1 + np.exp(-(signs @ np.array(WEIGHTS[:-1]) + WEIGHTS[-1])))
    return np.where(seen.opacity > 0, chance, 0).astype(np.float32)


def features(
    seen: Rendering, normal: Float[np.ndarray, "V H W 3"], mask: Float[np.ndarray, "V H W"], rig: Rig
) -> Float[np.ndarray, "V H W F"]:
    """The signs by NAMES: 1 - cosine of the angle between fitted and given normal (0 where none is given); 1 where none
    is given; the first, averaged over some 20 px, and over the view; 1 - cosine between surface and viewing direction;
    how many of two other views see the point, 0..1; |opacity - mask| averaged over some 10 px.
    """
    hit = seen.opacity > 0.5
    given = (np.linalg.norm(normal, axis=-1) > 0.5) & hit
    apart = np.where(given, 1 - (seen.normal * normal).sum(-1), 0.0)
    around = np.stack([_averaged(a, g, 8.0) for a, g in zip(apart, given, strict=True)])
    whole = (apart * given).sum((1, 2), keepdims=True) / np.maximum(given.sum((1, 2), keepdims=True), 1)
    looks = np.stack([c.forward for c in rig.cameras()])
    grazing = 1 + np.einsum("vhwc,vc->vhw", seen.normal, looks)
    outline = np.stack([gaussian_filter(np.abs(o - m), 4.0) for o, m in zip(seen.opacity, mask, strict=True)])
    others = np.minimum(_seen_by_others(seen.z, hit, rig), 2) / 2
    return np.stack(
        [apart, (~given).astype(float), around, np.broadcast_to(whole, hit.shape), grazing, others, outline], axis=-1
    )


def _averaged(values: np.ndarray, valid: np.ndarray, reach: float) -> np.ndarray:
    weight = gaussian_filter(valid.astype(np.float64), reach)
    return gaussian_filter(np.where(valid, values, 0.0), reach) / np.maximum(weight, 1e-3)


def _seen_by_others(z: Float[np.ndarray, "V H W"], hit: np.ndarray, rig: Rig) -> Float[np.ndarray, "V H W"]:
    """How many other views have the same surface point in sight."""
    size = z.shape[1]
    cameras, uv = rig.cameras(size), pixel_centres(size).astype(np.float64).reshape(-1, 2)
    counts = np.zeros(z.shape)
    for i, camera in enumerate(cameras):
        rows = np.flatnonzero(hit[i].reshape(-1))
        points = unproject(camera, uv[rows], z[i].reshape(-1)[rows].astype(np.float64))
        for j, other in enumerate(cameras):
            if j == i or not len(rows):
                continue
            there, depth = project(other, points)
            column, row = (np.floor(there[:, k]).astype(int) for k in (0, 1))
            inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
            row, column = row.clip(0, size - 1), column.clip(0, size - 1)
            same = inside & hit[j][row, column] & (np.abs(z[j][row, column] - depth) < SAME)
            counts[i].reshape(-1)[rows[same]] += 1
    return counts

"""Plain backgrounds: one colour or a gentle gradient behind the object, as product photos have them.
In: RGB. Out: alpha [H, W], or None when the border of the photo is not plain.
Why here: a background that can be modelled gives sharper edges than any network, and holes where there are holes.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

RING = 0.02  # width of the border that is looked at, share of the long side
PLAIN_SHARE = 0.8  # of the border that must follow the model for it to count as plain ...
PLAIN_SIDE = 0.6  # ... of one side; a side below is taken to be cut by the object
TOLERANCE = (5.0, 14.0)  # 8 bit Lab: least and greatest distance from the model that is still background
NOISE_FACTOR = 4.0  # of the border's own deviation, in between
GRADIENT = 40.0  # 8 bit Lab: the model may vary by so much over the picture; more is a scene
SHADOW = (0.55, 1.0)  # brightness of a soft shadow, relative to the background
SHADOW_CHROMA = 5.0  # 8 bit Lab a, b: a shadow keeps the background's hue
SHADOW_SLOPE = 3.0  # 8 bit L a px at 512: shadows change gently


class Key(NamedTuple):
    """alpha float32 [H, W] in [0, 1]; background float32 [H, W, 3], the modelled one, 8 bit RGB."""

    alpha: np.ndarray
    background: np.ndarray


def key_plain(rgb: UInt8[np.ndarray, "H W 3"]) -> Key | None:
    """The object before a plain background: flat or with a gradient of second order, noise and JPEG blocks allowed.

    None unless the border really is plain: all of it follows one smooth model but at most two sides, which the object
    may cut. Soft shadows on the background are background. What encloses background (a handle) is looked through when
    it has the background's very colour and a sharp rim.
    """
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB).astype(np.float32)
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.8)
    ring = _ring(lab.shape[:2])
    model = _fit(smooth, ring)
    if model is None:
        return None
    distance = np.linalg.norm(smooth - model, axis=-1)
    spread = float(np.median(distance[ring]))
    tolerance = float(np.clip(NOISE_FACTOR * spread, *TOLERANCE))
    if spread * 2 > TOLERANCE[1] or not _is_plain(distance <= tolerance, ring):
        return None
    free = _connected(distance <= tolerance, ring)
    refined = _fit(smooth, free)  # once more, with all that is seen of the background
    if refined is not None and np.ptp(refined.reshape(-1, 3), axis=0).max() <= GRADIENT * 1.5:
        model = refined
        distance = np.linalg.norm(smooth - model, axis=-1)
        free = _connected(distance <= tolerance, ring)
    free |= _shadow(smooth, model, free)
    free |= _windows(smooth, distance, free, tolerance)
    background = cv2.cvtColor(model.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB).astype(np.float32)
    return Key(_soft(rgb.astype(np.float32), background, free), background)


def _ring(shape: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    width = max(2, round(RING * max(shape)))
    ring = np.ones(shape, bool)
    ring[width:-width, width:-width] = False
    return ring


def _basis(shape: tuple[int, int]) -> Float32[np.ndarray, "H W 6"]:
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _fit(lab: Float32[np.ndarray, "H W 3"], where: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W 3"] | None:
    """Robust second order model of the colours in `where`; None when it varies too much for a backdrop."""
    basis = _basis(lab.shape[:2])
    a, b = basis[where], lab[where]
    step = max(1, len(a) // 8000)
    a, b = a[::step].astype(np.float64), b[::step].astype(np.float64)
    # start at the commonest colour: an object that cuts two sides must not drag the model along
    rough = np.round(b / 12).astype(int)
    kinds, kind, count = np.unique(rough, axis=0, return_inverse=True, return_counts=True)
    weight = np.linalg.norm(b - np.median(b[kind.ravel() == count.argmax()], axis=0), axis=1) < GRADIENT
    factors = np.zeros((6, 3))
    for scale in (12.0, 8.0, 5.0, 4.0, 3.0, 3.0):
        if weight.sum() < 30:
            return None
        w = np.asarray(weight, np.float64)[:, None]
        factors = np.linalg.solve((a * w).T @ a + 1e-3 * len(a) * np.diag([0, 0.01, 0.01, 1, 1, 1]), (a * w).T @ b)
        weight = 1 / (1 + (np.linalg.norm(b - a @ factors, axis=1) / scale) ** 2) ** 2
    model = (basis @ factors.astype(np.float32)).astype(np.float32)
    corners = model[:: lab.shape[0] - 1, :: lab.shape[1] - 1].reshape(-1, 3)
    return model if np.ptp(corners, axis=0).max() <= GRADIENT else None


def _is_plain(near: Bool[np.ndarray, "H W"], ring: Bool[np.ndarray, "H W"]) -> bool:
    width = max(2, round(RING * max(near.shape)))
    sides = [near[:width], near[-width:], near[:, :width], near[:, -width:]]
    plain = [float(side.mean()) for side in sides]
    good = [share >= PLAIN_SHARE for share in plain]
    # at least two whole sides, and no more than two that an object cuts
    return sum(good) >= 2 and sum(share < PLAIN_SIDE for share in plain) <= 2 and float(near[ring].mean()) >= 0.5


def _connected(near: Bool[np.ndarray, "H W"], ring: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The parts of `near` that reach the border."""
    _, label = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    return np.isin(label, np.setdiff1d(np.unique(label[ring & near]), [0])) & near


def _shadow(
    lab: Float32[np.ndarray, "H W 3"], model: Float32[np.ndarray, "H W 3"], free: Bool[np.ndarray, "H W"]
) -> Bool[np.ndarray, "H W"]:
    """Darker background that joins the free one and changes gently: a soft shadow. Hard ones stay with the object."""
    scale = max(lab.shape[:2]) / 512
    ratio = lab[..., 0] / np.maximum(model[..., 0], 1)
    chroma = np.linalg.norm(lab[..., 1:] - model[..., 1:], axis=-1)
    wide = cv2.GaussianBlur(lab[..., 0], (0, 0), max(1.0, 1.2 * scale))
    slope = np.hypot(cv2.Sobel(wide, cv2.CV_32F, 1, 0), cv2.Sobel(wide, cv2.CV_32F, 0, 1)) / 8 * scale
    soft = (ratio > SHADOW[0]) & (ratio <= SHADOW[1] + 0.02) & (chroma < SHADOW_CHROMA) & (slope < SHADOW_SLOPE)
    return _connected(soft | free, free) & soft


def _windows(
    lab: Float32[np.ndarray, "H W 3"],
    distance: Float32[np.ndarray, "H W"],
    free: Bool[np.ndarray, "H W"],
    tolerance: float,
) -> Bool[np.ndarray, "H W"]:
    """Background that the object encloses: very close to the model, not small, with a sharp rim all round."""
    near = (distance <= 0.7 * tolerance) & ~free
    count, label, stats, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8), connectivity=4)
    edge = np.hypot(cv2.Sobel(lab[..., 0], cv2.CV_32F, 1, 0), cv2.Sobel(lab[..., 0], cv2.CV_32F, 0, 1)) / 8
    out = np.zeros(near.shape, bool)
    for index in range(1, count):
        if stats[index, cv2.CC_STAT_AREA] < 4e-4 * near.size:
            continue
        piece = label == index
        rim = cv2.dilate(piece.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & ~piece
        if np.quantile(edge[rim], 0.4) > 4.0 and np.median(distance[piece]) < 0.35 * tolerance:
            out |= piece
    return out


def _soft(
    rgb: Float32[np.ndarray, "H W 3"], background: Float32[np.ndarray, "H W 3"], free: Bool[np.ndarray, "H W"]
) -> Float32[np.ndarray, "H W"]:
    """Alpha along the silhouette: how far each pixel is from the background to the object's colour next to it."""
    inside = cv2.morphologyEx((~free).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)
    core = cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    if not core.any():
        return inside.astype(np.float32)
    goal = rgb[nearest(core)]
    along = goal - background
    share = ((rgb - background) * along).sum(-1) / np.maximum((along**2).sum(-1), 400.0)
    band = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & ~core
    return np.where(core, 1.0, np.where(band, share.clip(0, 1), 0.0)).astype(np.float32)


def nearest(where: Bool[np.ndarray, "H W"]) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel the (row, column) of the nearest one in `where`, int [H, W] each. `where` must not be empty."""
    _, label = cv2.distanceTransformWithLabels(
        (~where).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(where)
    lookup = np.zeros((int(label.max()) + 1, 2), np.int64)
    lookup[label[rows, columns]] = np.stack([rows, columns], -1)
    return lookup[label, 0], lookup[label, 1]

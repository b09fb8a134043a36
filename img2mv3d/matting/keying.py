"""Keying: plain backgrounds, one colour or a gentle gradient, as product photos have them."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

RING = 0.02  # width of the border that is looked at, share of the long side
PLAIN_SHARE = 0.8  # of a side that must follow the model for it to count as plain
CUT_SIDE = 0.6  # a side that follows it less is taken to be cut by the object
FLAT = 1.5  # 8 bit Lab: a border that deviates less is a studio's ...
FLAT_SHARE = 0.35  # ... and may be covered by the object up to this share
TOLERANCE = (5.0, 14.0)  # 8 bit Lab: least and greatest distance from the model that is still background
NOISE_FACTOR = 4.0  # of the border's own deviation, in between
GRADIENT = 40.0  # 8 bit Lab: the model may vary by so much over the picture; more is a scene
SHADOW = (0.55, 1.02)  # brightness of a soft shadow, relative to the background
DEEP_SHADOW = 0.3  # the same where somebody else has to say whether it is one
SHADOW_CHROMA = 5.0  # 8 bit Lab a, b: a shadow keeps the background's hue
SHADOW_SLOPE = 3.0  # 8 bit L a px at 512: steeper is an edge


class Key(NamedTuple):
    """alpha float32 [H, W] in [0, 1].

    doubt: bool [H, W], what is taken for object but could be a shadow.
    """

    alpha: np.ndarray
    doubt: np.ndarray


def key_plain(rgb: UInt8[np.ndarray, "H W 3"]) -> Key | None:
    """The object before a plain background: flat or with a gradient of second order, noise and JPEG blocks allowed.

    None unless the border really is plain: all of it follows one smooth model but at most two sides, which the object
    may cut, or it is flat to the bit in three corners. Soft shadows on the background are background. What encloses
    background (a handle) is looked through when it has the background's very colour and a sharp rim.
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
    near = distance <= tolerance
    if spread * 2 > TOLERANCE[1] or not _is_plain(near, ring, float(np.median(distance[ring & near]))):
        return None
    free = _connected(near, ring)
    refined = _fit(smooth, free)  # once more, with all that is seen of the background
    if refined is not None and np.ptp(refined.reshape(-1, 3), axis=0).max() <= GRADIENT * 1.5:
        model = refined
        distance = np.linalg.norm(smooth - model, axis=-1)
        free = _connected(distance <= tolerance, ring)
    ratio = smooth[..., 0] / np.maximum(model[..., 0], 1)
    hueless = (np.linalg.norm(smooth[..., 1:] - model[..., 1:], axis=-1) < SHADOW_CHROMA) & (ratio < SHADOW[1])
    soft = hueless & (ratio > SHADOW[0]) & (_slope(smooth[..., 0]) < SHADOW_SLOPE)
    free |= _connected(soft | free, free) & soft
    free |= _windows(distance, free, tolerance)
    deep = hueless & (ratio > DEEP_SHADOW) & ~free
    background = cv2.cvtColor(model.clip(0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB).astype(np.float32)
    return Key(_soft(rgb.astype(np.float32), background, free), _connected(deep | free, free) & deep)


def without_shadows(key: Key, object_at: Bool[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """`key.alpha` less what is in doubt and lies outside of `object_at`, somebody else's rough idea of the object."""
    doubt = cv2.morphologyEx((key.doubt & ~object_at).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    solid = ((key.alpha >= 0.5) & (doubt == 0)).astype(np.uint8)
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # rims of what was taken away
    gone = (doubt > 0) | ((key.alpha >= 0.5) & (cv2.dilate(solid, np.ones((3, 3), np.uint8)) == 0))
    soft = cv2.GaussianBlur(gone.astype(np.float32), (0, 0), 0.7)
    return np.where(gone, 0, key.alpha * (1 - soft)).astype(np.float32)


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
    _, kind, count = np.unique(rough, axis=0, return_inverse=True, return_counts=True)
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


def _is_plain(near: Bool[np.ndarray, "H W"], ring: Bool[np.ndarray, "H W"], spread: float) -> bool:
    width = max(2, round(RING * max(near.shape)))
    sides = [float(side.mean()) for side in (near[:width], near[-width:], near[:, :width], near[:, -width:])]
    share = float(near[ring].mean())
    corners = sum(
        near[y, x].mean() > 0.9
        for y in (slice(width), slice(-width, None))
        for x in (slice(width), slice(-width, None))
    )
    if spread < FLAT and share >= FLAT_SHARE and corners >= 3:
        return True
    return share >= 0.5 and sum(s >= PLAIN_SHARE for s in sides) >= 2 and sum(s < CUT_SIDE for s in sides) <= 2


def _connected(near: Bool[np.ndarray, "H W"], ring: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """The parts of `near` that reach the border."""
    _, label = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    return np.isin(label, np.setdiff1d(np.unique(label[ring & near]), [0])) & near


def _slope(lightness: Float32[np.ndarray, "H W"]) -> Float32[np.ndarray, "H W"]:
    """Change of lightness in levels a px of a 512 px picture; shadows change gently."""
    scale = max(lightness.shape) / 512
    wide = cv2.GaussianBlur(lightness, (0, 0), max(1.0, 1.2 * scale))
    return np.hypot(cv2.Sobel(wide, cv2.CV_32F, 1, 0), cv2.Sobel(wide, cv2.CV_32F, 0, 1)) / 8 * scale


def _windows(
    distance: Float32[np.ndarray, "H W"], free: Bool[np.ndarray, "H W"], tolerance: float
) -> Bool[np.ndarray, "H W"]:
    """Background that the object encloses: very close to the model, not small, with a rim that rises at once. A shine
    on the object is as bright, but its rim is a slope.
    """
    near = (distance <= 0.7 * tolerance) & ~free
    count, label, stats, _ = cv2.connectedComponentsWithStats(near.astype(np.uint8), connectivity=4)
    out = np.zeros(near.shape, bool)
    reach = [round(r * max(1.0, max(near.shape) / 512)) for r in (2, 3, 7, 8)]  # px; larger photos have wider edges
    for index in range(1, count):
        if stats[index, cv2.CC_STAT_AREA] < 4e-4 * near.size:
            continue
        piece = label == index
        wide = [cv2.dilate(piece.astype(np.uint8), np.ones((2 * r + 1,) * 2, np.uint8)).astype(bool) for r in reach]
        close, beyond = wide[1] & ~wide[0] & ~free, wide[3] & ~wide[2] & ~free
        if not close.any() or not beyond.any() or np.median(distance[piece]) > 0.35 * tolerance:
            continue
        if np.median(distance[close]) > 0.6 * np.median(distance[beyond]):
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
    sharp = ((share - 0.06) / 0.88).clip(0, 1)  # noise of the background must not widen the object's box
    return np.where(core, 1.0, np.where(band, sharp, 0.0)).astype(np.float32)


def nearest(where: Bool[np.ndarray, "H W"]) -> tuple[np.ndarray, np.ndarray]:
    """For every pixel the (row, column) of the nearest one in `where`, int [H, W] each. `where` must not be empty."""
    _, label = cv2.distanceTransformWithLabels(
        (~where).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(where)
    lookup = np.zeros((int(label.max()) + 1, 2), np.int64)
    lookup[label[rows, columns]] = np.stack([rows, columns], -1)
    return lookup[label, 0], lookup[label, 1]

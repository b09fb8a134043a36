"""The photo's grain on surfaces that no photo shows: fur stays fur and wood wood, where colours alone look airbrushed.

A texture of the photo's own spectrum, the same in all directions, and of random phases (Galerne and others, Random
phase textures, 2011): it has the roughness of the photo and none of its things; eyes and letters are cut down to the
height of what is everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32

from img2mv3d.mesh.sources import Source

DENSITY = 320.0  # px a world unit, at most
LARGEST = 0.025  # world units: larger patterns are the colours' own matter
CALM = 0.25  # share of the places that are calmest: their contrast is what is everywhere
OUTSTANDING = 2.0  # times that contrast, to which single things are cut down
EVEN = 0.54  # of the contrast of as many of the liveliest: a surface of less is smooth, with things on it
MOTLEY = 0.58  # of its contrast: where hues differ by more, things are painted on or mixed, and nothing is rough
LEAST = 0.01  # contrast (standard deviation, of 1) below which a surface is smooth
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
RIM = 0.02  # world units from the outline on which the background may shine through
BLEND = 6  # power of the normal's components: which of the three planes a point takes its grain from


@dataclass(frozen=True, eq=False)
class Grain:
    """A pattern [S, S] of brightness, mean 0, that repeats itself. density: its px a world unit."""

    pattern: Float32[np.ndarray, "S S"]
    density: float

    def at(self, points: Float[np.ndarray, "P 3"], normals: Float[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
        """What is added to the colours of surface points (world units): the pattern on three planes across the axes,
        mixed by the normals without losing strength."""
        share = np.abs(normals) ** BLEND
        share /= np.maximum(np.linalg.norm(share, axis=1, keepdims=True), 1e-12)
        found = np.zeros(len(points), np.float32)
        for axis, (right, up) in enumerate(((2, 1), (0, 2), (0, 1))):
            place = np.stack([points[:, right], -points[:, up]], axis=1) * self.density + 97.0 * axis
            found += share[:, axis].astype(np.float32) * self._sampled(place)
        return found

    def _sampled(self, px: Float[np.ndarray, "P 2"]) -> Float32[np.ndarray, " P"]:
        size = self.pattern.shape[0]
        low = np.floor(px).astype(np.int64)
        share = (px - low).astype(np.float32)
        left, top = (low % size).T
        right, down = (left + 1) % size, (top + 1) % size
        x, y = share.T
        upper = self.pattern[top, left] * (1 - x) + self.pattern[top, right] * x
        lower = self.pattern[down, left] * (1 - x) + self.pattern[down, right] * x
        mixed: np.ndarray = upper * (1 - y) + lower * y
        return mixed


def grain_of(photo: Source) -> Grain | None:
    """The grain of a photo; None where it is smooth or motley, or too little of it is seen."""
    frame = photo.camera.width / (2 * photo.camera.half_width)  # px of the frame a world unit
    density = min(DENSITY, frame * min(photo.scale))
    rows, columns = np.nonzero(photo.alpha > 0.5)
    if len(rows) == 0:
        return None
    part = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    size = [
        max(round(np.ptp(a) / (frame * s) * density), 1) for a, s in ((columns, photo.scale[0]), (rows, photo.scale[1]))
    ]
    both = np.concatenate([photo.color * photo.alpha[..., None], photo.alpha[..., None]], axis=2)[part]
    both = cv2.resize(both, (size[0], size[1]), interpolation=cv2.INTER_AREA)
    color, alpha = both[..., :3] / np.maximum(both[..., 3:], 1e-3), both[..., 3]
    inside = (
        cv2.distanceTransform(np.pad((alpha > 0.5).astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1] > RIM * density
    )
    if inside.sum() < 400:
        return None
    weight = inside.astype(np.float32)[..., None]
    low = cv2.GaussianBlur(np.concatenate([color * weight, weight], axis=2), (0, 0), LARGEST * density / 2)
    high = (color - low[..., :3] / np.maximum(low[..., 3:], 1e-3)) * weight
    light = high @ LUMINANCE
    power = cv2.GaussianBlur(np.stack([light**2, weight[..., 0]], axis=2), (0, 0), LARGEST * density)
    local = np.sqrt(power[..., 0] / np.maximum(power[..., 1], 1e-3))[inside]
    everywhere = float(np.quantile(local, CALM))
    if everywhere < max(LEAST, EVEN * float(np.quantile(local, 1 - CALM))):
        return None
    if np.linalg.norm(high - light[..., None], axis=2)[inside].mean() > MOTLEY * everywhere:
        return None
    light = light.clip(-OUTSTANDING * everywhere, OUTSTANDING * everywhere)
    return Grain(_random_phases(light, everywhere), density)


def _random_phases(high: Float32[np.ndarray, "H W"], deviation: float) -> Float32[np.ndarray, "S S"]:
    """A picture of the same spectrum without its directions (layers of a cake would become a cloth), its phases those
    of white noise."""
    side = cv2.getOptimalDFTSize(max(high.shape))
    padded = np.zeros((side, side), np.float32)
    padded[: high.shape[0], : high.shape[1]] = high
    wave = np.fft.fftfreq(side) * side
    ring = np.round(np.hypot(*np.meshgrid(wave, wave))).astype(np.int64)
    power = np.bincount(ring.ravel(), (np.abs(np.fft.fft2(padded)) ** 2).ravel()) / np.bincount(ring.ravel())
    noise = np.fft.fft2(np.random.default_rng(0).standard_normal((side, side)))
    turned = np.sqrt(power)[ring] * noise / np.maximum(np.abs(noise), 1e-12)
    turned[0, 0] = 0
    pattern = np.fft.ifft2(turned).real
    result: np.ndarray = (pattern * (deviation / max(float(pattern.std()), 1e-9))).astype(np.float32)
    return result

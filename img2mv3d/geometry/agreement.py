"""How well views agree with each other and with a surface, the truth unknown. NumPy, so that reports stay light."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from img2mv3d.geometry.cameras import Camera, Rig, pixel_centres, project, unproject
from img2mv3d.geometry.rings import next_views
from img2mv3d.geometry.similarity import mask_iou

SAME_SURFACE = 0.04  # world units, HIT, GRAZING: those of `warp`; a test holds the two together
HIT = 0.5
GRAZING = 0.2
COLOR_WEIGHT = 2.0  # of the error in the score: good runs have 0.03 to 0.08 of it, and IoUs of 0.9 to 0.97


class Agreement(NamedTuple):
    """How far the views of a run agree.

    reprojection_error: see `reprojection_error`.
    shared: share of the object's pixels that could be compared.
    iou: mean over views of the intersection over union of mask and fitted silhouette.
    """

    reprojection_error: float
    shared: float
    iou: float

    @property
    def score(self) -> float:
        """One number to choose by, larger is better: outlines that fit one body, colours that meet on it."""
        return self.iou - COLOR_WEIGHT * self.reprojection_error


def agreement(
    color: Float[np.ndarray, "V H W 3"],
    mask: Float[np.ndarray, "V H W"],
    z: Float[np.ndarray, "V H W"],
    hit: Float[np.ndarray, "V H W"],
    rig: Rig,
) -> Agreement:
    """Compare each view with its next neighbour in azimuth, and its mask with the surface's silhouette.

    Agreement with a fitted depth is no proof of a right shape: views that are wrong alike agree as well.

    z, hit: world units, opacity 0..1.
    """
    error, shared = _reprojection(color, z, hit, rig)
    iou = [mask_iou(m, h) if ((m >= HIT) | (h >= HIT)).any() else 0.0 for m, h in zip(mask, hit, strict=True)]
    return Agreement(error, shared, float(np.mean(iou)))


def reprojection_error(
    color: Float[np.ndarray, "V H W 3"], z: Float[np.ndarray, "V H W"], hit: Float[np.ndarray, "V H W"], rig: Rig
) -> float:
    """Mean absolute colour difference between neighbouring views at points that both see; 0 when they share none.

    Points count when both views see one surface there (SAME_SURFACE) and neither looks along it (GRAZING). Even true
    views differ a little, by shading and resampling: compare with theirs.

    color: [0, 1].
    z, hit: world units, opacity 0..1.
    """
    return _reprojection(color, z, hit, rig)[0]


def _reprojection(color: np.ndarray, z: np.ndarray, hit: np.ndarray, rig: Rig) -> tuple[float, float]:
    """(the error, the share of the surface's pixels that were compared)."""
    cameras = rig.cameras(z.shape[-1])
    solid = hit >= HIT
    facing = [_cosine(camera, z[i], solid[i]) for i, camera in enumerate(cameras)]
    total, count = 0.0, 0
    for view, other in next_views(rig):
        maps = np.dstack([color[other], facing[other], solid[other], np.where(solid[other], z[other], 0)])
        seen, depth = project(cameras[other], unproject(cameras[view], pixel_centres(*z.shape[1:]), z[view]))
        picked = _bilinear(maps, seen)
        near = np.abs(depth - picked[..., 5] / np.maximum(picked[..., 4], 1e-6)) < SAME_SURFACE
        inside = ((seen >= 0) & (seen <= z.shape[-1])).all(-1) & ((depth > 0) | (cameras[other].kind == "orthographic"))
        both = inside & solid[view] & (picked[..., 4] > 0.99) & near
        both &= (facing[view] > GRAZING) & (picked[..., 3] > GRAZING)
        total += float(np.abs(picked[..., :3] - color[view]).mean(-1)[both].sum())
        count += int(both.sum())
    return total / max(count, 1), count / max(int(solid.sum()), 1)


def _cosine(camera: Camera, z: Float[np.ndarray, "H W"], solid: Bool[np.ndarray, "H W"]) -> np.ndarray:
    """As `warp.depth_cosine`: of the two slopes at a pixel the smaller one counts."""
    step = 2.0 * camera.half_width / camera.width
    if camera.kind != "orthographic":
        step = np.maximum(z * step, 1e-6)
    squares = 1.0
    for axis in (0, 1):
        ways = []
        for shift in (1, -1):
            both = np.roll(solid, shift, axis) & solid
            np.moveaxis(both, axis, 0)[0 if shift == 1 else -1] = False  # roll wraps round
            ways.append(np.where(both, np.abs(z - np.roll(z, shift, axis)) / step, np.inf))
        least = np.minimum(*ways)
        squares = squares + np.where(np.isinf(least), 0.0, least) ** 2
    return solid / np.sqrt(squares)


def _bilinear(maps: Float[np.ndarray, "H W C"], px: Float[np.ndarray, "*at 2"]) -> Float[np.ndarray, "*at C"]:
    """Values at px (pixel centres at half integers), the border repeated."""
    height, width = maps.shape[:2]
    at = (px - 0.5).clip(0, (width - 1, height - 1))
    low = np.minimum(np.floor(at).astype(np.int64), (max(width - 2, 0), max(height - 2, 0)))
    right, down = np.moveaxis(at - low, -1, 0)[..., None]
    x, y = low[..., 0], low[..., 1]
    across, below = np.minimum(x + 1, width - 1), np.minimum(y + 1, height - 1)
    upper = maps[y, x] * (1 - right) + maps[y, across] * right
    return upper * (1 - down) + (maps[below, x] * (1 - right) + maps[below, across] * right) * down

"""Metrics of pictures and views: SSIM, angles of normals, SIFT matches, sharpness. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from img2mv3d.geometry.cameras import Camera, Rig, project, unproject
from img2mv3d.geometry.rings import ring_pairs

SSIM_SIGMA = 1.5  # px, of the window; with the constants of Wang et al. 2004
SIFT_RATIO = 0.8  # Lowe's: a match must be this much better than the second best
SIFT_SIDE = 512  # px to which views are enlarged: fewer keypoints are found on smaller ones
SIFT_TOLERANCE_PX = 3.0  # of SIFT_SIDE


class Matches(NamedTuple):
    """SIFT matches between neighbouring views.

    total: mutual ones that pass the ratio test.
    epipolar: of these, on the epipolar line, which needs no depth.
    inliers: of these, at the depth that the surface has there.
    """

    total: int
    epipolar: int
    inliers: int


def ssim(image: Float[np.ndarray, "H W 3"], truth: Float[np.ndarray, "H W 3"]) -> float:
    """Structural similarity, mean over pixels and channels, Gaussian window of 11 px (Wang et al. 2004); 1 for equal
    pictures. A frame of 5 px, where the window leaves the picture, does not count.
    """
    x, y = np.clip(image, 0, 1).astype(np.float64), truth.astype(np.float64)

    def local(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), SSIM_SIGMA, borderType=cv2.BORDER_REFLECT)

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return float(score[5:-5, 5:-5].mean())


def normal_angles(
    normal: Float[np.ndarray, "*shape 3"], truth: Float[np.ndarray, "*shape 3"], mask: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, " P"]:
    """Degrees between normals at the pixels where the mask is at least 1/2 and the truth has one.

    A missing normal counts as 90 degrees: a method that covers the easy middle alone must not gain by it.
    """
    use = (mask >= 0.5) & (np.linalg.norm(truth, axis=-1) > 0.1)
    own, true = normal[use].astype(np.float64), truth[use]
    length = np.linalg.norm(own, axis=-1)
    cosine = (own * true).sum(-1) / np.maximum(length * np.linalg.norm(true, axis=-1), 1e-9)
    return np.degrees(np.arccos(np.where(length > 0.1, cosine, 0.0).clip(-1, 1)))


def sift_matches(
    color: Float[np.ndarray, "V H W 3"],
    z: Float[np.ndarray, "V H W"],
    hit: Float[np.ndarray, "V H W"],
    rig: Rig,
    within_deg: float = 180.0,
) -> dict[tuple[int, int], Matches]:
    """SIFT matches (OpenCV) of each pair of neighbouring views, verified by the known cameras and a surface.

    Views are enlarged to SIFT_SIDE; keypoints off the object do not take part. A match is on the line, or on the
    surface, within SIFT_TOLERANCE_PX.

    z, hit: of the surface, world units and 0..1.
    within_deg: neighbours further apart do not count.
    """
    return {pair: found.counts for pair, found in sift_pairs(color, z, hit, rig, within_deg).items()}


class Pairs(NamedTuple):
    """What a matcher takes for the same in two views.

    first, second: [M, 2] px, centres at half integers.
    on_line, on_surface: [M], whether they lie on one epipolar line, and where the surface says.
    """

    first: Float[np.ndarray, "M 2"]
    second: Float[np.ndarray, "M 2"]
    on_line: Bool[np.ndarray, " M"]
    on_surface: Bool[np.ndarray, " M"]

    @property
    def counts(self) -> Matches:
        """How many."""
        return Matches(len(self.on_line), int(self.on_line.sum()), int((self.on_line & self.on_surface).sum()))


def sift_pairs(
    color: Float[np.ndarray, "V H W 3"],
    z: Float[np.ndarray, "V H W"],
    hit: Float[np.ndarray, "V H W"],
    rig: Rig,
    within_deg: float = 180.0,
) -> dict[tuple[int, int], Pairs]:
    """The matches that `sift_matches` counts."""
    cameras = rig.cameras(z.shape[-1])
    scale = SIFT_SIDE / z.shape[-1]
    points = [_keypoints(color[i], hit[i] >= 0.5) for i in range(len(rig))]
    result = {}
    for i, j in ring_pairs(rig, within_deg):
        pairs = _mutual(points[i][1], points[j][1])
        first, second = points[i][0][pairs[:, 0]] / scale, points[j][0][pairs[:, 1]] / scale
        result[i, j] = judged(first, second, z[i], hit[i], (cameras[i], cameras[j]))
    return result


def judged(
    first: Float[np.ndarray, "M 2"],
    second: Float[np.ndarray, "M 2"],
    z: Float[np.ndarray, "H W"],
    hit: Float[np.ndarray, "H W"],
    cameras: tuple[Camera, Camera],
) -> Pairs:
    """Which of the places that somebody takes for the same are, by two cameras and the surface that the first sees."""
    if not len(first):
        return Pairs(first, second, np.zeros(0, bool), np.zeros(0, bool))
    scale = SIFT_SIDE / z.shape[-1]
    column, row = (np.clip(first[:, k].astype(int), 0, z.shape[-1 - k] - 1) for k in (0, 1))
    here = z[row, column]
    there, _ = project(cameras[1], unproject(cameras[0], first, here.astype(np.float64)))
    on_surface = np.linalg.norm(there - second, axis=-1) * scale <= SIFT_TOLERANCE_PX
    on_surface &= hit[row, column] >= 0.5
    near, _ = project(cameras[1], unproject(cameras[0], first, here - 0.5))
    far, _ = project(cameras[1], unproject(cameras[0], first, here + 0.5))
    along = (far - near) / np.maximum(np.linalg.norm(far - near, axis=-1, keepdims=True), 1e-9)
    offset = second - near
    distance = np.abs(along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0]) * scale
    return Pairs(first, second, distance <= SIFT_TOLERANCE_PX, on_surface)


def summed(matches: Mapping[tuple[int, int], Matches]) -> Matches:
    """All pairs of `sift_matches` together."""
    return Matches(*(sum(column) for column in zip(*matches.values(), strict=True))) if matches else Matches(0, 0, 0)


def edge_sharpness(image: Float[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"]) -> float:
    """Mean length of the brightness gradient (per px) inside the mask, three px away from its edge: of value as a ratio
    to the truth's. 0 for an empty mask.
    """
    gray = image.astype(np.float64).mean(-1)
    inner = cv2.erode((mask >= 0.5).astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=0) > 0
    gradient = np.hypot(*np.gradient(gray))
    return float(gradient[inner].mean()) if inner.any() else 0.0


def object_mask(inside: Bool[np.ndarray, "H W"]) -> UInt8[np.ndarray, "S S"]:
    """Where keypoints may lie, 255 or 0, SIFT_SIDE px: the object and two pixels round it."""
    mask = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8))
    return cv2.resize(mask, (SIFT_SIDE, SIFT_SIDE), interpolation=cv2.INTER_NEAREST) * np.uint8(255)


def _keypoints(image: np.ndarray, inside: Bool[np.ndarray, "H W"]) -> tuple[np.ndarray, np.ndarray]:
    """(uv [N, 2] in px of SIFT_SIDE, centres at half integers; descriptors [N, 128]) on the object."""
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (SIFT_SIDE, SIFT_SIDE), interpolation=cv2.INTER_CUBIC)
    found, descriptors = cv2.SIFT_create().detectAndCompute(gray, object_mask(inside))
    if not found or descriptors is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    return np.array([point.pt for point in found], np.float64) + 0.5, descriptors


def _mutual(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[M, 2] indices of matches that pass the ratio test and are each other's best."""
    if len(first) < 2 or len(second) < 2:
        return np.zeros((0, 2), int)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    forward = {
        a.queryIdx: a.trainIdx for a, b in matcher.knnMatch(first, second, k=2) if a.distance < SIFT_RATIO * b.distance
    }
    back = {m.queryIdx: m.trainIdx for m in matcher.match(second, first)}
    return np.array([(i, j) for i, j in forward.items() if back.get(j) == i], int).reshape(-1, 2)

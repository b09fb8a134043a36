"""How close pictures are to the truth, and how well views of one object agree. Pure functions: arrays in, numbers out.

In: pictures in [0, 1], masks, normals, depth, the rig. Out: plain floats and small tuples; identical input gives the
perfect score (inf, 1 or 0).
Why here: every table and every claim about views is made of these and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float

from img2mv3d.geometry.cameras import Rig, project, unproject
from img2mv3d.geometry.warp import warp_error

SSIM_SIGMA = 1.5  # px, of the window; with the constants of Wang et al. 2004
SIFT_RATIO = 0.8  # Lowe's: a match must be this much better than the second best
SIFT_SIDE = 512  # px to which views are enlarged: fewer keypoints are found on smaller ones
SIFT_TOLERANCE_PX = 3.0  # of SIFT_SIDE


class Angles(NamedTuple):
    """Angles between two fields of normals in degrees; NaN-free: 0 where nothing was compared."""

    mean: float
    median: float
    pixels: int


class Matches(NamedTuple):
    """Matches between neighbouring views, summed over the ring. total: found by SIFT. epipolar: of these, on the
    epipolar line within the tolerance. agreeing: of these, also at the depth that the surface has there.
    """

    total: int
    epipolar: int
    agreeing: int


def psnr(
    image: Float[np.ndarray, "*shape 3"],
    truth: Float[np.ndarray, "*shape 3"],
    mask: Float[np.ndarray, "*shape"] | None = None,
) -> float:
    """Peak signal to noise ratio in dB for pictures in [0, 1]; inf for equal ones. mask: weights of the pixels, e.g.
    the object's; without one all count. Raises ValueError when the mask is empty.
    """
    squared = (np.clip(image, 0, 1).astype(np.float64) - truth) ** 2
    if mask is None:
        error = squared.mean()
    else:
        if not mask.sum() > 0:
            raise ValueError("psnr: the mask is empty")
        error = (squared.mean(-1) * mask).sum() / mask.sum()
    return float("inf") if error == 0 else float(-10 * np.log10(error))


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


def mask_iou(mask: Float[np.ndarray, "*shape"], truth: Float[np.ndarray, "*shape"]) -> float:
    """Intersection over union of two masks cut at 1/2; 1 when both are empty."""
    a, b = mask >= 0.5, truth >= 0.5
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def normal_angle(
    normal: Float[np.ndarray, "*shape 3"], truth: Float[np.ndarray, "*shape 3"], mask: Float[np.ndarray, "*shape"]
) -> Angles:
    """Angles between normals where the mask is at least 1/2 and both have one (any length above 0.1)."""
    lengths = np.linalg.norm(normal, axis=-1), np.linalg.norm(truth, axis=-1)
    use = (mask >= 0.5) & (lengths[0] > 0.1) & (lengths[1] > 0.1)
    if not use.any():
        return Angles(0.0, 0.0, 0)
    cosine = (normal[use].astype(np.float64) * truth[use]).sum(-1) / (lengths[0][use] * lengths[1][use])
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return Angles(float(angle.mean()), float(np.median(angle)), int(use.sum()))


def depth_warp_error(
    color: Float[np.ndarray, "V H W 3"], z: Float[np.ndarray, "V H W"], hit: Float[np.ndarray, "V H W"], rig: Rig
) -> float:
    """Mean absolute colour difference of points that two neighbouring views of the ring both see, by the given depth
    (the true one, for a figure). True views score above 0, by shading and resampling: compare with theirs.
    """
    tensors = [torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (color, z, hit)]
    return float(warp_error(*tensors, rig))


def sift_matches(
    color: Float[np.ndarray, "V H W 3"],
    z: Float[np.ndarray, "V H W"],
    hit: Float[np.ndarray, "V H W"],
    rig: Rig,
    within_deg: float = 180.0,
) -> Matches:
    """`sift_matches_by_pair`, summed."""
    found = sift_matches_by_pair(color, z, hit, rig, within_deg).values()
    return Matches(*(sum(column) for column in zip(*found, strict=True))) if found else Matches(0, 0, 0)


def sift_matches_by_pair(
    color: Float[np.ndarray, "V H W 3"],
    z: Float[np.ndarray, "V H W"],
    hit: Float[np.ndarray, "V H W"],
    rig: Rig,
    within_deg: float = 180.0,
) -> dict[tuple[int, int], Matches]:
    """SIFT matches (OpenCV, ratio 0.8, mutual) of each pair of neighbouring views, and how many the known cameras
    confirm.

    Views are enlarged to 512 px; keypoints off the object (hit below 1/2, within two px) do not take part. A match is
    `epipolar` when its second point is within 3 px of the line of all depths of the first, `agreeing` when it is within
    3 px of where the first point's surface stands in the other view. within_deg: neighbours further apart do not count.
    """
    cameras = rig.cameras(z.shape[-1])
    scale = SIFT_SIDE / z.shape[-1]
    points = [_keypoints(color[i], hit[i] >= 0.5) for i in range(len(rig))]
    result = {}
    for i, j in ring_pairs(rig, within_deg):
        pairs = _mutual(points[i][1], points[j][1])
        if not len(pairs):
            result[i, j] = Matches(0, 0, 0)
            continue
        first, second = points[i][0][pairs[:, 0]] / scale, points[j][0][pairs[:, 1]] / scale
        column, row = (np.clip(first[:, k].astype(int), 0, z.shape[-1 - k] - 1) for k in (0, 1))
        there, _ = project(cameras[j], unproject(cameras[i], first, z[i, row, column].astype(np.float64)))
        on_surface = np.linalg.norm(there - second, axis=-1) * scale <= SIFT_TOLERANCE_PX
        on_surface &= hit[i, row, column] >= 0.5
        near, _ = project(cameras[j], unproject(cameras[i], first, z[i, row, column] - 0.5))
        far, _ = project(cameras[j], unproject(cameras[i], first, z[i, row, column] + 0.5))
        along = (far - near) / np.maximum(np.linalg.norm(far - near, axis=-1, keepdims=True), 1e-9)
        offset = second - near
        distance = np.abs(along[:, 0] * offset[:, 1] - along[:, 1] * offset[:, 0]) * scale
        on_line = distance <= SIFT_TOLERANCE_PX
        result[i, j] = Matches(len(pairs), int(on_line.sum()), int((on_line & on_surface).sum()))
    return result


def edge_sharpness(image: Float[np.ndarray, "H W 3"], mask: Float[np.ndarray, "H W"]) -> float:
    """Mean length of the brightness gradient (per px) inside the mask, three px away from its edge: of value as a ratio
    to the truth's. 0 for an empty mask.
    """
    gray = image.astype(np.float64).mean(-1)
    inner = cv2.erode((mask >= 0.5).astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=0) > 0
    gradient = np.hypot(*np.gradient(gray))
    return float(gradient[inner].mean()) if inner.any() else 0.0


def feature_distance(
    image: Float[np.ndarray, "H W 3"],
    truth: Float[np.ndarray, "H W 3"],
    features: Callable[[torch.Tensor], Sequence[torch.Tensor]],
) -> float:
    """Squared distance of unit-normalised features, mean over pixels, summed over layers. features: pictures
    [N, 3, H, W] in [0, 1] -> maps [N, C, h, w], such as a classifier's. Never to be called LPIPS: nothing here was
    fitted to what people see.
    """
    both = torch.from_numpy(np.stack([image, truth]).transpose(0, 3, 1, 2).astype(np.float32).copy())
    with torch.inference_mode():
        maps = [torch.nn.functional.normalize(m, dim=1) for m in features(both)]
    return float(sum((m[0] - m[1]).square().sum(0).mean() for m in maps))


def ring_pairs(rig: Rig, within_deg: float = 180.0) -> list[tuple[int, int]]:
    """Neighbours round the object up to `within_deg` apart, each pair once: views in the order of their azimuth, the
    last with the first."""
    order = sorted(range(len(rig)), key=lambda i: rig.azimuth_deg[i] % 360)
    pairs = list(zip(order, order[1:] + order[:1], strict=True))
    pairs = pairs[: 1 if len(rig) == 2 else None] if len(rig) > 1 else []
    turns = [(rig.azimuth_deg[j] - rig.azimuth_deg[i] + 180) % 360 - 180 for i, j in pairs]
    return [pair for pair, turn in zip(pairs, turns, strict=True) if abs(turn) <= within_deg + 1e-6]


def _keypoints(image: np.ndarray, inside: Bool[np.ndarray, "H W"]) -> tuple[np.ndarray, np.ndarray]:
    """(uv [N, 2] in px of SIFT_SIDE, centres at half integers; descriptors [N, 128]) on the object."""
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (SIFT_SIDE, SIFT_SIDE), interpolation=cv2.INTER_CUBIC)
    mask = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8))
    mask = cv2.resize(mask, (SIFT_SIDE, SIFT_SIDE), interpolation=cv2.INTER_NEAREST) * 255
    found, descriptors = cv2.SIFT_create().detectAndCompute(gray, mask)
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

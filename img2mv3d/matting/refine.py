"""A rough mask -> an alpha that follows the photo's edges, and colours without the background's tinge.
In: RGB and a rough alpha or a trimap. Out: alpha [H, W], clean RGB.
Why here: every remover but a drawn mask ends with this.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from img2mv3d.matting.keying import nearest

GRAB_SIDE = 384  # px of the long side for graph cuts: they cost seconds at full size, and edges are refined after
BACKGROUND, OBJECT, MAYBE_BACKGROUND, MAYBE_OBJECT = cv2.GC_BGD, cv2.GC_FGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD


def grab_cut(
    rgb: UInt8[np.ndarray, "H W 3"], labels: UInt8[np.ndarray, "H W"], rounds: int = 4
) -> Float32[np.ndarray, "H W"]:
    """A binary cut by colour and edges (GrabCut), 1 is object. labels: BACKGROUND, OBJECT, MAYBE_BACKGROUND or
    MAYBE_OBJECT per pixel. Computed at GRAB_SIDE px. The same input gives the same cut.
    """
    height, width = labels.shape
    scale = min(1.0, GRAB_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    marks = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    sure = [(marks == kind).any() for kind in (BACKGROUND, MAYBE_BACKGROUND, OBJECT, MAYBE_OBJECT)]
    if not (sure[0] or sure[1]) or not (sure[2] or sure[3]):
        return np.isin(labels, (OBJECT, MAYBE_OBJECT)).astype(np.float32)
    cv2.setRNGSeed(0)  # its colour models start from random means
    cv2.grabCut(small, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), rounds, cv2.GC_INIT_WITH_MASK)
    cut = np.isin(marks, (OBJECT, MAYBE_OBJECT)).astype(np.float32)
    return cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR)


def follow_edges(
    rgb: UInt8[np.ndarray, "H W 3"], alpha: Float32[np.ndarray, "h w"], radius: int = 6, epsilon: float = 1e-4
) -> Float32[np.ndarray, "H W"]:
    """`alpha` drawn to the photo's edges and to its resolution (guided filter with a colour guide, He et al. 2013, its
    coefficients computed at alpha's resolution as in the fast variant). radius: px there; epsilon: variance of colours
    in [0, 1] below which an area is flat.
    """
    small = cv2.resize(rgb, alpha.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    factors, offset = _guided_factors(small, alpha, radius, epsilon)
    size = (rgb.shape[1], rgb.shape[0])
    if size != alpha.shape[::-1]:
        factors = cv2.resize(factors, size, interpolation=cv2.INTER_LINEAR)
        offset = cv2.resize(offset, size, interpolation=cv2.INTER_LINEAR)
        fine = sum(factors[..., c] * (rgb[..., c] * np.float32(1 / 255)) for c in range(3)) + offset
    else:
        fine = (factors * small).sum(-1) + offset
    return fine.clip(0, 1).astype(np.float32)


def clean_colours(rgb: UInt8[np.ndarray, "H W 3"], alpha: Float32[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Colours of the object alone: where alpha is partial, that of the nearest wholly covered pixels takes over; some
    px of it are carried outwards, and far from the object everything is black.
    """
    core = cv2.erode((alpha > 0.97).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    if not core.any():
        return rgb
    reach = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    ours = cv2.GaussianBlur(rgb[nearest(core)].astype(np.float32), (0, 0), 1.5)
    trust = np.where(core, 1.0, ((alpha - 0.5) / 0.5).clip(0, 1) ** 2)[..., None].astype(np.float32)
    mixed = rgb * trust + ours * (1 - trust)
    return np.where(reach[..., None], mixed + 0.5, 0).astype(np.uint8)


def _guided_factors(
    guide: Float32[np.ndarray, "h w 3"], target: Float32[np.ndarray, "h w"], radius: int, epsilon: float
) -> tuple[Float32[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """Per pixel the linear map from colour to `target`, averaged over windows of 2 * radius + 1 px."""

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(x, -1, (2 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_target = mean(guide), mean(target)
    covariance = mean(guide * target[..., None]) - mean_guide * mean_target[..., None]
    rr, rg, rb, gg, gb, bb = (
        mean(guide[..., i] * guide[..., j]) - mean_guide[..., i] * mean_guide[..., j] + np.float32(epsilon * (i == j))
        for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    )
    # inverse of the symmetric 3 x 3 by cofactors: LAPACK on a million of them takes seconds
    c0, c1, c2 = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c3, c4, c5 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    x, y, z = (covariance[..., c] for c in range(3))
    factors = np.stack([c0 * x + c1 * y + c2 * z, c1 * x + c3 * y + c4 * z, c2 * x + c4 * y + c5 * z], -1)
    factors /= np.maximum(rr * c0 + rg * c1 + rb * c2, epsilon**3 / 2)[..., None]
    offset = mean_target - (factors * mean_guide).sum(-1)
    return mean(factors), mean(offset)

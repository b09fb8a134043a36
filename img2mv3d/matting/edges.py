"""A rough mask -> an alpha that follows the photo's edges, and colours without the background's tinge."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from img2mv3d.matting.keying import nearest

GRAB_SIDE = 384  # px of the long side for graph cuts: they cost seconds at full size, and edges are refined after
COLOUR_SIDE = 1024  # px of the long side at which colours are carried outwards
BACKGROUND, OBJECT, MAYBE_BACKGROUND, MAYBE_OBJECT = cv2.GC_BGD, cv2.GC_FGD, cv2.GC_PR_BGD, cv2.GC_PR_FGD


def grab_cut(
    rgb: UInt8[np.ndarray, "H W 3"], labels: UInt8[np.ndarray, "H W"], rounds: int = 4
) -> Float32[np.ndarray, "H W"]:
    """A binary cut by colour and edges (GrabCut), 1 is object.

    Computed at GRAB_SIDE px. The same input gives the same cut.

    labels: BACKGROUND, OBJECT, MAYBE_BACKGROUND or MAYBE_OBJECT per pixel.
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
    coefficients computed at alpha's resolution as in the fast variant).

    radius: px there;
    epsilon: variance of colours in [0, 1] below which an area is flat.
    """
    small = cv2.resize(rgb, alpha.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    line = _guided_line(small, alpha, radius, epsilon)
    if rgb.shape[:2] == alpha.shape:
        return ((line[..., :3] * small).sum(-1) + line[..., 3]).clip(0, 1).astype(np.float32)
    size = (rgb.shape[1], rgb.shape[0])
    fine = cv2.resize(alpha, size, interpolation=cv2.INTER_LINEAR)
    # only where the windows see both sides: elsewhere the filter changes nothing, and photos have many pixels
    wide = cv2.blur(alpha, (4 * radius + 1,) * 2, borderType=cv2.BORDER_REFLECT)
    band = cv2.resize(((wide > 1e-3) & (wide < 1 - 1e-3)).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    rows, columns = np.nonzero(band)
    at = _sampled(line, (columns + 0.5) * alpha.shape[1] / size[0] - 0.5, (rows + 0.5) * alpha.shape[0] / size[1] - 0.5)
    fine[rows, columns] = (at[:, :3] * (rgb[rows, columns] * np.float32(1 / 255))).sum(-1) + at[:, 3]
    return fine.clip(0, 1).astype(np.float32)


def clean_colours(rgb: UInt8[np.ndarray, "H W 3"], alpha: Float32[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Colours of the object alone: where alpha is partial, that of the nearest wholly covered pixels takes over; some
    px of it are carried outwards, and far from the object everything is black.
    """
    core = cv2.erode((alpha > 0.97).astype(np.uint8), np.ones((3, 3), np.uint8))
    scale = min(1.0, COLOUR_SIDE / max(alpha.shape))
    size = (max(1, round(alpha.shape[1] * scale)), max(1, round(alpha.shape[0] * scale)))
    small_core = cv2.resize(core, size, interpolation=cv2.INTER_NEAREST).astype(bool)
    if not small_core.any():
        return rgb
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) if scale < 1 else rgb
    ours = cv2.GaussianBlur(small[nearest(small_core)].astype(np.float32), (0, 0), 1.5)
    reach = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((9, 9), np.uint8))
    rows, columns = np.nonzero(reach & ~core & 1)
    carried = _sampled(ours, (columns + 0.5) * scale - 0.5, (rows + 0.5) * scale - 0.5)
    trust = (((alpha[rows, columns] - 0.5) / 0.5).clip(0, 1) ** 2)[:, None]
    clean = rgb * reach[..., None]
    clean[rows, columns] = (rgb[rows, columns] * trust + carried * (1 - trust) + 0.5).astype(np.uint8)
    return clean


def _sampled(
    image: Float32[np.ndarray, "h w C"], x: Float[np.ndarray, " N"], y: Float[np.ndarray, " N"]
) -> Float32[np.ndarray, "N C"]:
    """`image` at points in px (centres at whole numbers, as OpenCV has them), bilinear."""
    count, row = len(x), 4096  # OpenCV's maps have sides below 2^15
    padded = -(-count // row) * row
    maps = [np.pad(v.astype(np.float32), (0, padded - count)).reshape(-1, row) for v in (x, y)]
    if count == 0:
        return np.zeros((0, image.shape[2]), np.float32)
    out = cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out.reshape(-1, image.shape[2])[:count]


def _guided_line(
    guide: Float32[np.ndarray, "h w 3"], target: Float32[np.ndarray, "h w"], radius: int, epsilon: float
) -> Float32[np.ndarray, "h w 4"]:
    """Per pixel the linear map from colour to `target` (three factors, an offset), averaged over windows of 2 * radius
    + 1 px.
    """

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
    return mean(np.dstack([factors, offset]).astype(np.float32))

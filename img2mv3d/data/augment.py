"""A clean render of the front view -> what a photo of it, cut out of its background, would look like."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

CLEAN_SHARE = 0.25  # of the photos are left as rendered


def photograph(
    color: Float32[np.ndarray, "H W 3"], mask: Float32[np.ndarray, "H W"], rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 4"]:
    """One condition photo. color: [0, 1] over white; mask: covered share of each pixel. Same rng state, same photo."""
    bare = np.clip((color - (1 - mask[..., None])) / np.maximum(mask[..., None], 1 / 8), 0, 1)
    if rng.random() < CLEAN_SHARE:
        return _rgba(bare, mask)
    image = bare * mask[..., None] + background(mask.shape, rng) * (1 - mask[..., None])
    image, mask = _perspective(image.astype(np.float32), mask, rng)
    image = image * np.exp(rng.normal(0, 0.03) + rng.normal(0, 0.012, 3))
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.1))
    if rng.random() < 0.5:
        image = image + rng.normal(0, rng.uniform(0.003, 0.02), image.shape)
    if rng.random() < 0.5:
        image = jpeg(image, int(rng.integers(45, 96)))
    if rng.random() < 0.6:
        mask = imperfect(mask, rng)
    return _rgba(image, mask)


def background(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A smooth gradient of two colours; white for a third of the photos. Its remains stay in the object's rim."""
    if rng.random() < 0.35:
        return np.ones((*shape, 3), np.float32)
    corners = rng.uniform(0, 1, (2, 2, 3)).astype(np.float32)
    return cv2.resize(corners, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _perspective(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A camera at a finite distance, seen slightly from aside: corners move by up to 2.5 % of the side."""
    if rng.random() < 0.5:
        return image, mask
    height, width = mask.shape
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.025, 0.025, (4, 2)) * [width, height]
    moved -= (moved - corners).mean(0)  # the object stays in the middle, where framing puts it
    matrix = cv2.getPerspectiveTransform(corners - 0.5, (moved - 0.5).astype(np.float32))
    image = cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return image, cv2.warpPerspective(mask, matrix, (width, height), borderMode=cv2.BORDER_CONSTANT, borderValue=0)


def imperfect(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The edge of an automatic cut-out: softer, and up to a pixel too far in or out, differently along the rim."""
    soft = cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 1.2))
    wave = cv2.resize(rng.normal(0, 0.12, (12, 12)).astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    shift = (wave + rng.uniform(-0.25, 0.25)) * 4 * soft * (1 - soft)  # moves the edge, leaves inside and outside
    return np.clip((soft + shift - 0.5) * rng.uniform(1, 2) + 0.5, 0, 1)


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The picture [H, W, 3], in [0, 1], after a JPEG of that quality (1..100)."""
    pixels = np.ascontiguousarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)[..., ::-1])
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255


def _rgba(color: np.ndarray, mask: np.ndarray) -> np.ndarray:
    picture = np.concatenate([np.clip(color, 0, 1), np.clip(mask, 0, 1)[..., None]], axis=-1)
    picture = (picture * 255 + 0.5).astype(np.uint8)
    picture[picture[..., 3] == 0] = 0
    return picture

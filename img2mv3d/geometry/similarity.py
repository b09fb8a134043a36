"""How close pictures and silhouettes are: PSNR and intersection over union, written once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

LEVEL_DB = 100.0  # stands for equal pictures where a number is needed


def psnr(
    image: Float[np.ndarray, "*shape 3"],
    truth: Float[np.ndarray, "*shape 3"],
    mask: Float[np.ndarray, "*shape"] | None = None,
) -> float:
    """Peak signal to noise ratio in dB; inf for equal pictures. Raises ValueError when the mask is empty.

    image, truth: in [0, 1]; the image is clipped.
    mask: weights of the pixels, such as the object's; None: all count alike.
    """
    squared = (np.clip(image, 0, 1).astype(np.float64) - truth) ** 2
    if mask is None:
        return decibels(float(squared.mean()))
    if not mask.sum() > 0:
        raise ValueError("psnr: the mask is empty")
    return decibels(float((squared.mean(-1) * mask).sum() / mask.sum()))


def decibels(squared: float, most: float = float("inf")) -> float:
    """A mean squared error as PSNR in dB, at most `most`."""
    return most if squared <= 0 else min(float(-10 * np.log10(squared)), most)


def mask_iou(mask: Float[np.ndarray, "*shape"], truth: Float[np.ndarray, "*shape"]) -> float:
    """Intersection over union of two soft masks cut at 1/2; 1 when both are empty."""
    return pixel_iou(mask >= 0.5, truth >= 0.5)


def pixel_iou(first: Bool[np.ndarray, "*shape"], second: Bool[np.ndarray, "*shape"], empty: float = 1.0) -> float:
    """Intersection over union of two sets of pixels.

    empty: the value when both are.
    """
    union = int((first | second).sum())
    return float((first & second).sum() / union) if union else empty

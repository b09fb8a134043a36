"""Where the shape network looks: the middle of the framed photo, as columns along the front camera's line of sight.

In: a framed photo. Out: the network's input. Everything stands in the photo's own frame: x to the right, y up, z away
from the camera, 0 in the middle of the body.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from img2mv3d.conventions import IMAGE_SIZE, WORLD_WIDTH
from img2mv3d.geometry.outline import outline_maps

CROP = 0.64  # world units from the middle of the picture to its side: a framed object fills it
SIZE = 128  # px of the picture, CROP each way
COLUMNS = 64  # columns a side
BINS, BIN = 48, 0.04  # cells of a column, and their length in world units; 0 is in the middle
GREY = 0.5  # what stands behind the object in the network's input


def cropped(image: UInt8[np.ndarray, "256 256 4"]) -> tuple[Float32[np.ndarray, "S S 3"], Float32[np.ndarray, "S S"]]:
    """(straight colour, alpha) of the framed photo's middle, +-CROP world units, SIZE px."""
    rgba = image.astype(np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    scale = SIZE * WORLD_WIDTH / (2 * CROP * IMAGE_SIZE)
    shift = SIZE / 2 - scale * IMAGE_SIZE / 2 + (scale - 1) / 2  # pixel centres lie at half integers
    matrix = np.array([[scale, 0, shift], [0, scale, shift]], np.float32)
    small = cv2.warpAffine(rgba, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    return small[..., :3] / np.maximum(small[..., 3:], 1e-3), small[..., 3]


def network_input(
    color: Float32[np.ndarray, "S S 3"], alpha: Float32[np.ndarray, "S S"]
) -> tuple[Float32[np.ndarray, "4 S S"], Float32[np.ndarray, "8 T T"]]:
    """(picture, outline) as the shape network takes them. color: straight or over anything; alpha: [0, 1]."""
    over = color * alpha[..., None] + GREY * (1 - alpha[..., None])
    picture = np.concatenate([over, alpha[..., None]], axis=-1).transpose(2, 0, 1)
    half = alpha.reshape(alpha.shape[0] // 2, 2, alpha.shape[1] // 2, 2).mean((1, 3))
    return np.ascontiguousarray(picture, np.float32), outline_maps(half.astype(np.float32), 2 * CROP)

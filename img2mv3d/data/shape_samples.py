"""A clean record of PICTURE -> what a network learns from: a photo with its flaws, the outline's maps, targets.

In: a record, random numbers. Out: `Sample`, float32 arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32

from img2mv3d.data.augment import background, imperfect, jpeg
from img2mv3d.geometry.columns import BINS, COLUMNS, SIZE, network_input
from img2mv3d.geometry.symmetry import flipped


@dataclass(frozen=True, eq=False)
class Sample:
    """What a network sees of one picture, and its targets, which are as in PICTURE.

    picture: RGB over grey and alpha.
    outline: `outline_maps` at COLUMNS px.
    front, back, cover, normal: at SIZE px.
    far, solid: at COLUMNS px; solid is 0 or 1.
    depth, ratio: extent in depth, world units, and over the outline's long side.
    pitch_deg: how far from above it was taken.
    mirror: share of the surface that meets its mirror image, for `symmetry.TURNS`; all 0: not known.
    """

    picture: Float32[np.ndarray, "4 S S"]
    outline: Float32[np.ndarray, "8 T T"]
    front: Float32[np.ndarray, "S S"]
    back: Float32[np.ndarray, "S S"]
    cover: Float32[np.ndarray, "S S"]
    normal: Float32[np.ndarray, "3 S S"]
    far: Float32[np.ndarray, "3 T T"]
    solid: Float32[np.ndarray, "T T Z"]
    depth: float
    ratio: float
    pitch_deg: float
    mirror: Float32[np.ndarray, " N"]


def clean_sample(record: np.void) -> Sample:
    """The record as it is."""
    color, alpha = record["color"].astype(np.float32) / 255, record["mask"].astype(np.float32) / 255
    return _sample(record, color, alpha, flip=False)


def random_sample(record: np.void, rng: np.random.Generator) -> Sample:
    """The record as a photo, cut out by an imperfect program, mirrored half of the time."""
    color, alpha = record["color"].astype(np.float32) / 255, record["mask"].astype(np.float32) / 255
    image = color * alpha[..., None] + background(alpha.shape, rng) * (1 - alpha[..., None])
    image = image ** np.float32(np.exp(rng.normal(0, 0.12))) * np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.03, 3))
    if rng.random() < 0.3:  # paler, stronger, or grey
        grey = image.mean(-1, keepdims=True)
        image = grey + (image - grey) * rng.uniform(0, 1.6)
    image = np.clip(image, 0, 1).astype(np.float32)
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.4:
        image = image + rng.normal(0, rng.uniform(0.003, 0.03), image.shape).astype(np.float32)
    if rng.random() < 0.4:
        image = jpeg(image, int(rng.integers(40, 96)))
    if rng.random() < 0.6:
        alpha = imperfect(alpha, rng).astype(np.float32)
    if rng.random() < 0.12:
        alpha = _bitten(alpha, rng)
    return _sample(record, np.clip(image, 0, 1).astype(np.float32), alpha, flip=rng.random() < 0.5)


def _bitten(alpha: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A piece missing at the rim, or too much of the ground left, as cut-outs have it."""
    rows, columns = np.nonzero(cv2.morphologyEx((alpha > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))))
    if not len(rows):
        return alpha
    place = int(rng.integers(len(rows)))
    axes = (int(rng.integers(2, 9)), int(rng.integers(2, 9)))
    value = float(rng.random() < 0.4)
    whole = cv2.ellipse(
        np.zeros_like(alpha), (int(columns[place]), int(rows[place])), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1
    )
    return np.where(whole > 0, np.float32(value), alpha)


def _sample(record: np.void, color: np.ndarray, alpha: np.ndarray, flip: bool) -> Sample:
    front, back = record["front"].astype(np.float32), record["back"].astype(np.float32)
    cover = ((record["mask"] >= 128) & (back >= front)).astype(np.float32)
    normal = record["normal"].astype(np.float32) / 127
    far = record["far"].astype(np.float32) / 255
    solid = np.unpackbits(record["solid"], axis=-1).astype(np.float32)
    mirror = record["mirror"].astype(np.float32)
    if flip:
        color, alpha, front, back, cover = (a[:, ::-1] for a in (color, alpha, front, back, cover))
        normal, far, solid = normal[:, ::-1] * np.array([-1, 1, 1], np.float32), far[:, ::-1], solid[:, ::-1]
        mirror = flipped(mirror)
    picture, outline = network_input(color, alpha)
    assert picture.shape[1] == SIZE and solid.shape == (COLUMNS, COLUMNS, BINS)
    whole = np.ascontiguousarray
    depth = float(record["ratio"] * record["long_side"])
    return Sample(
        picture,
        outline,
        whole(front),
        whole(back),
        whole(cover),
        whole(normal.transpose(2, 0, 1)),
        whole(far.transpose(2, 0, 1)),
        whole(solid),
        depth,
        float(record["ratio"]),
        float(record["pitch_deg"]),
        whole(mirror),
    )

"""Boxes as photos show them: upright, turned, seen from above, every face in one colour."""

import cv2
import numpy as np

from img2mv3d.geometry.boxes import UprightBox

COLORS = ((176, 120, 70), (140, 92, 52), (205, 160, 110))  # of the faces across each axis


def crate(turn_deg: float, elevation_deg: float, halves: tuple[float, float, float]) -> UprightBox:
    """In the middle of the front camera's frame."""
    turn, lift = np.radians(turn_deg), np.radians(elevation_deg)
    across, away = np.array([1.0, 0, 0]), np.array([0, -np.sin(lift), np.cos(lift)])
    first, second = np.cos(turn) * across + np.sin(turn) * away, -np.sin(turn) * across + np.cos(turn) * away
    up = np.array([0, np.cos(lift), np.sin(lift)])
    return UprightBox(np.zeros(3), np.array(halves), np.stack([first, second, up]))


def drawn(box: UprightBox, size: int = 256, colors: tuple[tuple[int, int, int], ...] = COLORS) -> np.ndarray:
    """The box as the front camera sees it, uint8 RGBA [size, size, 4] over +-1."""
    fine = 8 * size
    picture = np.zeros((fine, fine, 4), np.uint8)
    signs = np.stack(np.meshgrid(*[(-1, 1)] * 3, indexing="ij"), axis=-1).reshape(8, 3)
    for axis in range(3):
        near = 1 if box.axes[axis, 2] > 0 else -1
        corners = (box.corners()[signs[:, axis] == near, :2] * (1, -1) + 1) * (fine / 2)
        if abs(box.axes[axis, 2]) > 1e-3:
            cv2.fillConvexPoly(picture, cv2.convexHull(corners.round().astype(np.int32)), (*colors[axis], 255))
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)

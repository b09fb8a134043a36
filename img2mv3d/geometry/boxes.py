"""Boxes: where a photo's outline and the predicted body are a box's, the body is that box, with straight edges.

In: a field, the photo's outline, the elevation. Out: `UprightBox`, its field. Parcels, books and cupboards are common,
and what a network says of their sides is never quite flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.ndimage import distance_transform_edt
from scipy.optimize import nnls
from scipy.spatial import ConvexHull, QhullError

from img2mv3d.geometry.similarity import pixel_iou

LEAST_CONVEX = 0.96  # share of its convex hull that the outline of a box fills
LEAST_OUTLINE = 0.955  # IoU of the outline and the box's
LEAST_BODY = 0.75  # IoU of the predicted body and the box
DIRECTIONS = np.radians(np.arange(0, 180, 7.5))  # in which widths are compared
TURNS = np.arange(0.0, 90.0, 3.0)  # degrees about the upright axis
TILTS = np.arange(-10.0, 10.1, 2.0)  # degrees round the predicted elevation
FINER = (1.0, 0.5)  # degrees of further rounds' steps, both ways
BODY_WEIGHT = 0.1  # of the predicted body's widths beside the outline's, which are exact
TILT_COST = 0.002  # world units of misfit a degree: seen level, outlines do not tell the elevation
FINE = 8  # px that a pixel is divided into where outlines are compared, each way


class UprightBox(NamedTuple):
    """middle, halves: world units. axes: rows, unit vectors; the last one points up."""

    middle: Float[np.ndarray, " 3"]
    halves: Float[np.ndarray, " 3"]
    axes: Float[np.ndarray, "3 3"]

    def corners(self) -> Float[np.ndarray, "8 3"]:
        """In the order of the signs of the three axes, the last one fastest."""
        signs = np.stack(np.meshgrid(*[(-1, 1)] * 3, indexing="ij"), axis=-1).reshape(8, 3)
        return self.middle + (signs * self.halves) @ self.axes

    @property
    def numbers(self) -> tuple[float, ...]:
        """The fifteen of them, in a file's order."""
        return tuple(float(number) for number in np.vstack(self).ravel())

    @classmethod
    def of(cls, numbers: Sequence[float]) -> UprightBox:
        """The box of its `numbers`."""
        rows = np.array(numbers, np.float64).reshape(5, 3)
        return cls(rows[0], rows[1], rows[2:])


def upright_box(
    field: Float32[np.ndarray, "N N N"], alpha: Float[np.ndarray, "H W"], elevation_deg: float
) -> UprightBox | None:
    """The box that the photo shows, or None where it shows none.

    field: of the predicted body, world units, negative inside, nodes linspace(-1, 1, N). alpha: the photo's, over +-1.
    elevation_deg: of its camera, as predicted.
    """
    mask = alpha >= 0.5
    rim = _hull(mask)
    if rim is None:
        return None
    line = np.linspace(-1, 1, field.shape[0])
    solid = field[::2, ::2, ::2] < 0
    body = line[np.argwhere(solid) * 2]
    try:
        shell = body[ConvexHull(body).vertices]
    except (QhullError, ValueError):
        return None
    middle = float(body[:, 2].mean())

    def tried(tilt: float, turn: float) -> tuple[float, UprightBox]:
        return _tried(rim, shell, middle, elevation_deg + tilt, turn)

    tries = {(tilt, turn): tried(tilt, turn) for tilt in TILTS for turn in TURNS}

    def misfit(place: tuple[float, float]) -> float:
        return tries[place][0] + TILT_COST * abs(place[0])

    for step in FINER:
        tilt, turn = min(tries, key=misfit)
        near = [(tilt + i * step, turn + j * step) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        tries |= {place: tried(*place) for place in near}
    box = tries[min(tries, key=misfit)][1]
    if _outline_iou(box, mask) < LEAST_OUTLINE:
        return None
    place = np.stack(np.meshgrid(*[line[::2]] * 3, indexing="ij"), axis=-1)
    along = np.abs((place - box.middle) @ box.axes.T) / box.halves
    boxed, round_ = (along <= 1).all(-1), (along[..., :2] ** 2).sum(-1) <= 1
    # Seen level, a can has a box's outline.
    iou, as_can = pixel_iou(solid, boxed), pixel_iou(solid, round_ & boxed)
    return box if iou >= LEAST_BODY and iou > as_can else None


def box_field(box: UprightBox, nodes: int) -> Float32[np.ndarray, "N N N"]:
    """Signed distance to the box (world units, negative inside) on nodes linspace(-1, 1, N)."""
    line = np.linspace(-1, 1, nodes)
    place = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)
    beyond = np.abs((place - box.middle) @ box.axes.T) - box.halves
    return (np.linalg.norm(beyond.clip(min=0), axis=-1) + beyond.max(-1).clip(max=0)).astype(np.float32)


def box_mesh(box: UprightBox, faces: int) -> tuple[Float[np.ndarray, "V 3"], Int[np.ndarray, "F 3"]]:
    """(vertices in world units, triangles counter-clockwise seen from outside) of the box, closed, every face a grid of
    about squares. faces: at most so many triangles, 12 at the least."""
    sides = 2 * box.halves
    around = sides[0] * sides[1] + sides[1] * sides[2] + sides[2] * sides[0]
    square = np.sqrt(4 * around / faces)  # a pair of triangles each
    while True:
        counts = np.maximum(sides // square, 1).astype(int)
        if 4 * int(counts[0] * counts[1] + counts[1] * counts[2] + counts[2] * counts[0]) <= max(faces, 12):
            break
        square *= 1.05
    number = np.full(counts + 1, -1)  # of the vertex at each place of the lattice, where there is one
    shell = np.ones(counts + 1, bool)
    shell[1:-1, 1:-1, 1:-1] = False
    number[shell] = np.arange(shell.sum())
    vertices = box.middle + ((2 * np.argwhere(shell) / counts - 1) * box.halves) @ box.axes
    triangles = []
    for axis in range(3):
        for end in (0, -1):
            side = np.take(number, end, axis)
            side = side if (axis == 1) == (end == 0) else side.T
            a, b, c, d = side[:-1, :-1], side[1:, :-1], side[1:, 1:], side[:-1, 1:]
            triangles += [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    found = np.concatenate(triangles)
    if np.linalg.det(box.axes) < 0:
        found = found[:, ::-1]
    return vertices, found


def off_box(box: UprightBox, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, " P"]:
    """Distance of points to the box's surface (world units)."""
    beyond = np.abs((points - box.middle) @ box.axes.T) - box.halves
    return np.abs(np.linalg.norm(beyond.clip(min=0), axis=-1) + beyond.max(-1).clip(max=0))


def opposite_colours(
    box: UprightBox, color: Float32[np.ndarray, "S S 3"], half_width: float, size: int
) -> Float32[np.ndarray, "s s 3"]:
    """The box's far side as seen through it: every hidden face looks like the one opposite, which the photo shows.

    color: of the photo, over +-half_width. size: px of the result, which covers the same.
    """
    line = ((np.arange(size) + 0.5) / size * 2 - 1) * half_width
    x, y = np.meshgrid(line, -line)
    place = (np.stack([x, y, np.zeros_like(x)], axis=-1) - box.middle) @ box.axes.T
    away = -box.axes[:, 2]
    way = np.where(np.abs(away) > 1e-6, away, 1e-6)
    leaves = (np.sign(way) * box.halves - place) / way
    axis = leaves.argmin(-1)[..., None]
    there = place + leaves.min(-1)[..., None] * away
    np.put_along_axis(there, axis, -np.take_along_axis(there, axis, -1), -1)
    met = (np.abs(there) <= box.halves + 1e-6).all(-1)
    if not met.any():
        return cv2.resize(color, (size, size), interpolation=cv2.INTER_AREA)
    nearest = distance_transform_edt(~met, return_distances=False, return_indices=True)
    seen = (there @ box.axes + box.middle)[tuple(nearest)]
    scale = color.shape[0] / (2 * half_width)
    columns = ((seen[..., 0] + half_width) * scale - 0.5).astype(np.float32)
    rows = ((half_width - seen[..., 1]) * scale - 0.5).astype(np.float32)
    return cv2.remap(color, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _hull(mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "P 2"] | None:
    """Corners (x, y up; world units) of the outline's convex hull, or None where the outline does not fill it."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    unit = 2 / mask.shape[1]
    # Corners of pixels, so that a hull has the area of what it holds.
    around = np.concatenate([np.stack([columns + i, rows + j], axis=1) for i in (0, 1) for j in (0, 1)])
    hull = cv2.convexHull(around.astype(np.float32))[:, 0]
    if mask.sum() < LEAST_CONVEX * cv2.contourArea(hull):
        return None
    return (hull * unit - 1) * (1, -1)


def _tried(
    rim: Float[np.ndarray, "P 2"],
    shell: Float[np.ndarray, "Q 3"],
    depth: float,
    elevation_deg: float,
    turn_deg: float,
) -> tuple[float, UprightBox]:
    """(misfit, box) of the best box of this elevation and turn: a box's width in any direction is a sum of its sides,
    each times how far it leans that way. shell: corners of the body's convex hull. depth: of its middle along z."""
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))
    ground = np.array([[1.0, 0, 0], [0, -sin, cos]])
    turn = np.radians(turn_deg)
    axes = np.stack([np.cos(turn) * ground[0] + np.sin(turn) * ground[1],
                     -np.sin(turn) * ground[0] + np.cos(turn) * ground[1], [0, cos, sin]])  # fmt: skip
    flat = np.stack([np.cos(DIRECTIONS), np.sin(DIRECTIONS)], axis=1)
    level = flat @ ground
    across, around = rim @ flat.T, shell @ level.T
    leaning = 2 * np.abs(np.concatenate([flat @ axes[:, :2].T, BODY_WEIGHT * (level @ axes.T)]))
    widths = np.concatenate([np.ptp(across, axis=0), BODY_WEIGHT * np.ptp(around, axis=0)])
    halves, miss = nnls(leaning, widths)
    middle = np.zeros(3)
    middle[:2] = np.linalg.lstsq(flat, (across.max(0) + across.min(0)) / 2, rcond=None)[0]
    middle[2] = depth
    return float(miss), UprightBox(middle, halves.clip(min=1e-3), axes)


def _outline_iou(box: UprightBox, mask: Bool[np.ndarray, "H W"]) -> float:
    """Of the box seen from the front and the photo's outline."""
    size = mask.shape[1]
    seen = (box.corners()[:, :2] * (1, -1) + 1) * (size / 2)
    large = cv2.fillConvexPoly(
        np.zeros((size * FINE, size * FINE), np.uint8), cv2.convexHull((seen * FINE).round().astype(np.int32)), 1
    )
    return pixel_iou(cv2.resize(large.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) >= 0.5, mask)

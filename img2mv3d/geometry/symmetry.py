"""The upright plane that a body is nearly its own mirror image in, and the body completed by it.

In: a field, which way is up, the photo's outline. Out: `Plane`, a field. What a photo shows of one half holds for the
other: most made and grown things have such a plane, and a predicted body is thinner where nobody looked.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import map_coordinates

from img2mv3d.geometry.hull import on_nodes

LEAST_IOU = 0.5  # of a body and its mirror image: below it has no such plane
TURNS = np.arange(0.0, 180.0, 6.0)  # degrees about the upright axis
SIDEWAYS_DEG = 48.0  # by which a front's plane may be turned; one across would give it a second face
SHIFTS = np.arange(-0.06, 0.061, 0.02)  # world units, round the body's middle
FINER = (3, 0.01)  # degrees and world units of the second round's steps
NEAR_DEG = np.arange(-8.0, 8.1, 4.0)  # round a turn that is known, and
NEAR_SHIFTS = np.arange(-0.12, 0.121, 0.02)  # where such a plane may stand
OF_BODY = 3  # power of the body's IoU beside the chance that a network gives a plane
SAMPLES = 6000  # points that a plane is tried with


class Plane(NamedTuple):
    """Points x with normal @ x == offset.

    iou: of the body and its mirror image, times the share of the latter that lies within the photo's outline, squared.
    turn_deg: of the normal about the upright axis, from the photo's right.
    """

    normal: Float[np.ndarray, " 3"]
    offset: float
    iou: float
    turn_deg: float = 0.0

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """Normal and offset."""
        x, y, z = (float(part) for part in self.normal)
        return x, y, z, self.offset


def mirrored(points: Float[np.ndarray, "*P 3"], plane: Plane) -> Float[np.ndarray, "*P 3"]:
    """Where points come to lie."""
    return points - 2 * ((points @ plane.normal) - plane.offset)[..., None] * plane.normal


def mirror_plane(
    field: Float32[np.ndarray, "N N N"],
    outside: Float[np.ndarray, "H W"],
    elevation_deg: float,
    frontal: bool = False,
    chances: Float[np.ndarray, " T"] | None = None,
    near_deg: float | None = None,
) -> Plane | None:
    """The best upright plane, or None where the body is not its own mirror image in any and nobody knows better.

    field: world units, negative inside, nodes linspace(-1, 1, N). outside: distance to the photo's outline (px or world
    units, positive outside), over +-1. elevation_deg: of the photo's camera, which says where up is. frontal: whether
    the photo surely shows a front. chances: how likely each of `TURNS` is to be the plane, by what the photo shows
    beside the body. near_deg: a turn that the plane is known to have, give or take `NEAR_DEG`.
    """
    inside = np.argwhere(field < 0)
    if len(inside) == 0:
        return None
    nodes = field.shape[0]
    points = inside[:: len(inside) // SAMPLES + 1] * (2 / (nodes - 1)) - 1
    middle = points.mean(0)
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))

    def tried(turn_deg: float, shift: float) -> Plane:
        turn = np.radians(turn_deg)
        normal = np.array([np.cos(turn), -sin * np.sin(turn), cos * np.sin(turn)])
        plane = Plane(normal, float(normal @ middle) + shift, 0.0, turn_deg % 180)
        other = mirrored(points, plane)
        met = (_nearest(field, other) < 0).sum()
        shown = _shown(outside, other).mean()
        return plane._replace(iou=float(met / (2 * len(points) - met) * shown**2))

    turns = TURNS if near_deg is None else near_deg + NEAR_DEG
    if frontal and near_deg is None:
        turns = TURNS[(TURNS <= SIDEWAYS_DEG) | (TURNS >= 180 - SIDEWAYS_DEG)]
    shifts = SHIFTS if near_deg is None else NEAR_SHIFTS
    tries = (tried(turn, shift) for turn in turns for shift in shifts)
    best = max(tries, key=lambda plane: _score(plane, chances))
    shift = best.offset - float(best.normal @ middle)
    near = [
        tried(best.turn_deg + i * FINER[0], shift + j * FINER[1])
        for i in ((-1, 0, 1) if near_deg is None else (0,))
        for j in (-1, 0, 1)
    ]
    best = max(near, key=lambda plane: plane.iou)
    # Where the photo or a user tells the plane, a body that is far from it is only a bad guess.
    return best if near_deg is not None or chances is not None or best.iou >= LEAST_IOU else None


def _score(plane: Plane, chances: Float[np.ndarray, " T"] | None) -> float:
    if chances is None:
        return plane.iou
    return plane.iou**OF_BODY * float(chances[round(plane.turn_deg / (TURNS[1] - TURNS[0])) % len(TURNS)])


def completed(
    field: Float32[np.ndarray, "N N N"], outside: Float[np.ndarray, "H W"], plane: Plane
) -> Float32[np.ndarray, "N N N"]:
    """The body and its mirror image together, as far as the photo's outline lets them.

    outside: distance to the outline, world units, positive outside, over +-1.
    """
    nodes = field.shape[0]
    line = np.linspace(-1, 1, nodes)
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)
    place = (mirrored(grid, plane) + 1) * ((nodes - 1) / 2)
    other = map_coordinates(field, place.transpose(3, 0, 1, 2), order=1, mode="nearest")
    return np.maximum(np.minimum(field, other), on_nodes(outside, line)[:, :, None]).astype(np.float32)


def flipped(values: Float[np.ndarray, "*B T"]) -> Float[np.ndarray, "*B T"]:
    """Values of the planes `TURNS` for the photo's mirror image, which turns t into 180 - t degrees.

    >>> flipped(np.arange(30.0))[:3]
    array([ 0., 29., 28.])
    """
    return np.roll(values[..., ::-1], 1, axis=-1)


def _nearest(field: np.ndarray, points: np.ndarray) -> np.ndarray:
    nodes = field.shape[0]
    place = np.rint((points + 1) * ((nodes - 1) / 2)).astype(int).clip(0, nodes - 1)
    return field[place[:, 0], place[:, 1], place[:, 2]]


def _shown(outside: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether points lie within the outline, to within a pixel."""
    size = outside.shape[1]
    column = ((points[:, 0] + 1) * (size / 2)).astype(int).clip(0, size - 1)
    row = ((1 - points[:, 1]) * (size / 2)).astype(int).clip(0, size - 1)
    return outside[row, column] < 2 / size

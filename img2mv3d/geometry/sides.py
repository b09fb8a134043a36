"""Photos of other sides of an object: which camera took each, where its picture lies, and what its outline leaves of a
body.

In: azimuths, outlines, a field. Out: `Camera`, `Framing`, a field. A photo from another side tells no distance and no
scale: the object is as high in it as the body is, and stands in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from scipy.ndimage import binary_opening, distance_transform_edt, map_coordinates

from img2mv3d.conventions import IMAGE_SIZE
from img2mv3d.geometry.cameras import Camera, project
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.hull import mask_distance

BEHIND = 0.97  # cosine: within 14 degrees of straight behind
SLACK = 0.02  # world units by which a body may leave another photo's outline: nobody turns an object exactly
WIDE = 3  # lines of sight, each way, of what is added where a photo shows it and others leave nothing
THIN = 0.025  # world units: half the thickness of a piece that a photo shows and the body lacks
TELLING = 0.8  # sine of the azimuth from which on the width in a photo says how deep the object is


def side_camera(azimuth_deg: float, elevation_deg: float) -> Camera:
    """The front camera carried round the object's upright axis, counter-clockwise seen from above: 90 looks at what is
    right in the photo. elevation_deg: how far from above all photos were taken, which says where up is."""
    front = Camera.orbit(0.0, size=IMAGE_SIZE)
    elevation, turn = np.radians(elevation_deg), np.radians(azimuth_deg)
    up = np.array([0.0, np.cos(elevation), np.sin(elevation)])
    cross = np.cross(np.eye(3), up)
    pose = np.eye(4)
    pose[:3, :3] += np.sin(turn) * cross + (1 - np.cos(turn)) * cross @ cross  # Rodrigues
    return replace(front, world_from_cam=pose @ front.world_from_cam)


def aligned(
    framing: Framing, image: UInt8[np.ndarray, "256 256 4"], points: Float[np.ndarray, "P 3"], camera: Camera
) -> Framing:
    """From the photo's px to those of the camera's picture: as high as the points (world units) appear there, and in
    their middle. framing: of the framed picture `image`, which shows something."""
    scale, offset = _moved(image, points, camera)
    return Framing(
        (framing.scale[0] * scale, framing.scale[1] * scale),
        (framing.offset[0] * scale + offset[0], framing.offset[1] * scale + offset[1]),
        max(1, round(framing.framing_px * scale)),
    )


def side_tells(azimuth_deg: float) -> bool:
    """Whether a photo from there says by its width how deep the object is."""
    return bool(abs(np.sin(np.radians(azimuth_deg))) >= TELLING)


def is_behind(azimuth_deg: float) -> bool:
    """Whether a photo from there has the first one's outline once more, mirrored."""
    return bool(np.cos(np.radians(azimuth_deg)) < -BEHIND)


def side_misfit(
    image: UInt8[np.ndarray, "256 256 4"], points: Float[np.ndarray, "P 3"], azimuth_deg: float, elevation_deg: float
) -> float:
    """By how much (logarithm) the points are wider than what the framed picture shows."""
    camera = side_camera(azimuth_deg, elevation_deg)
    scale, _ = _moved(image, points, camera)
    left, _, right, _ = _box(image)
    return float(np.log(max(np.ptp(project(camera, points)[0][:, 0]), 1.0) / max((right - left) * scale, 1.0)))


class Outline(NamedTuple):
    """What a camera saw of an object: distance to its outline (px of the framed picture, positive outside), and
    px of the camera's picture = px of the framed one * scale + offset."""

    camera: Camera
    outside: Float32[np.ndarray, "256 256"]
    scale: float
    offset: Float[np.ndarray, " 2"]

    def distance(self, points: Float[np.ndarray, "P 3"]) -> Float[np.ndarray, " P"]:
        """Of points (world units) to what the outline leaves, across the line of sight; positive outside."""
        place = (project(self.camera, points)[0] - self.offset) / self.scale - 0.5
        unit = self.scale * 2 * self.camera.half_width / IMAGE_SIZE
        found: np.ndarray = map_coordinates(self.outside, place.T[::-1], order=1, mode="nearest") * unit
        return found


def front_outline(image: UInt8[np.ndarray, "256 256 4"]) -> Outline:
    """Of the first photo, which lies where the front camera saw it."""
    outside = mask_distance(image[..., 3].astype(np.float32) / 255)
    return Outline(side_camera(0.0, 0.0), outside, 1.0, np.zeros(2))


def side_outline(image: UInt8[np.ndarray, "256 256 4"], points: Float[np.ndarray, "P 3"], camera: Camera) -> Outline:
    """Of another framed photo, aligned to the body's points (world units)."""
    outside = mask_distance(image[..., 3].astype(np.float32) / 255)
    return Outline(camera, outside, *_moved(image, points, camera))


def carved(
    field: Float32[np.ndarray, "N N N"], front: Outline, sides: Sequence[Outline]
) -> Float32[np.ndarray, "N N N"]:
    """What the outlines of other photos leave of a body, to within SLACK; where that is nothing although a photo shows
    something, a thin piece as near to the body as all outlines allow. Where they contradict each other, the body stays
    as it was on the first photo's lines of sight.

    field: world units, negative inside, nodes linspace(-1, 1, N) along x, y, z.
    """
    nodes = field.shape[0]
    line = np.linspace(-1, 1, nodes)
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    before, seen = field.reshape(-1), front.distance(grid)
    away = distance_transform_edt(field >= 0).reshape(-1)  # from the body
    hull = np.maximum.reduce([side.distance(grid) for side in sides]) - SLACK
    left = np.maximum(before, hull)
    kept = np.zeros(len(grid), bool)
    for outline, shown in ((front, seen), *((side, side.distance(grid) + SLACK) for side in sides)):
        ray = _rays(outline.camera, grid, nodes)
        lacking = (_least(left, ray, nodes) > 0) & (_least(shown, ray, nodes) < 0)
        # What is narrower is no part that was lost, but photos that meet at an outline to within a pixel or two.
        wanted = binary_opening(lacking.reshape(nodes, nodes), np.ones((WIDE, WIDE))).ravel()[ray]
        possible = wanted & (np.maximum(hull, seen) < 0)
        nearest = _least(np.where(possible, away, np.inf), ray, nodes)[ray]
        kept |= possible & (away <= nearest)
        if outline is front:
            left = np.where(wanted & ~np.isfinite(nearest), before, left)
    found = left.reshape(field.shape)
    if kept.any():
        piece = distance_transform_edt(~kept.reshape(field.shape)) * (line[1] - line[0]) - THIN
        found = np.minimum(found, np.maximum(piece, seen.reshape(field.shape)))
    return found.astype(np.float32)


def _rays(camera: Camera, grid: Float[np.ndarray, "P 3"], nodes: int) -> Int[np.ndarray, " P"]:
    """The line of sight, of nodes x nodes, on which each point lies."""
    place = np.floor(project(camera, grid)[0] * (nodes / IMAGE_SIZE)).astype(int).clip(0, nodes - 1)
    index: np.ndarray = place[:, 1] * nodes + place[:, 0]
    return index


def _least(values: Float[np.ndarray, " P"], ray: Int[np.ndarray, " P"], nodes: int) -> Float[np.ndarray, " R"]:
    """The least value on each line of sight."""
    least = np.full(nodes * nodes, np.inf)
    np.minimum.at(least, ray, values)
    return least


def _moved(
    image: UInt8[np.ndarray, "256 256 4"], points: Float[np.ndarray, "P 3"], camera: Camera
) -> tuple[float, Float[np.ndarray, " 2"]]:
    """(scale, offset) from px of the framed picture to px of the camera's."""
    low, high = (np.asarray(f(project(camera, points)[0], axis=0), float) for f in (np.min, np.max))
    left, top, right, bottom = _box(image)
    scale = float((high[1] - low[1]) / (bottom - top))
    return scale, np.array([(low[0] + high[0]) / 2 - scale * (left + right) / 2, low[1] - scale * top])


def _box(image: UInt8[np.ndarray, "256 256 4"]) -> tuple[int, int, int, int]:
    """Edges (left, top, right, bottom) of what is shown, px."""
    solid = image[..., 3] >= 128
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

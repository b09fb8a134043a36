"""A body changed to outlines that somebody drew: parts that one view shows are added, those that it lacks are cut."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import binary_dilation, distance_transform_edt, label, map_coordinates, maximum

from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Camera, Rig, project, rays
from img2mv3d.geometry.hull import mask_distance

LEAST, LEAST_PX = 4 / 256, 2.0  # of the picture, px: outlines that are off by less are a rim's noise
ROOT_PX = 3.0  # a drawn part reaches so far into the body, which it shall be one piece with
STEP = 0.5  # cells, of the way through the body
THROUGH = 1.8  # world units: the cube's half diagonal and a bit


def redrawn(
    sdf: Float32[np.ndarray, "N N N"], mask: Float[np.ndarray, "V H W"], own: Float[np.ndarray, "V H W"], rig: Rig
) -> Float32[np.ndarray, "N N N"]:
    """The body with what the masks show and its own outlines do not, and without what they do not show; itself, where
    the two are alike to within LEAST.

    A part that one view shows says nothing of its depth: it stands as deep as the body where it is joined, and is as
    thick as it is wide. What is missing in one view is cut through.

    sdf: world units, negative inside, nodes linspace(-1, 1, N) along x, y, z. own: the body's outlines, as the cameras
    of `mask` see it.
    """
    found = sdf
    for camera, view, before in zip(rig.cameras(mask.shape[2]), mask, own, strict=True):
        shown, known = view > 0.5, before > 0.5
        if not known.any() or not shown.any():
            continue
        least = max(LEAST * len(view), LEAST_PX)
        gone = _large(known & ~shown, distance_transform_edt(~shown), least)
        if gone.any():
            found = np.maximum(found, -_flat(gone, camera, len(sdf))).astype(np.float32)
        away, nearest = distance_transform_edt(~known, return_indices=True)
        drawn, count = label(_large(shown & ~known, away, least), np.ones((3, 3)))
        for number in range(1, count + 1):
            part = drawn == number
            row, column = (int(n) for n in nearest[:, *np.argwhere(part)[away[part].argmin()]])
            depth = _middle(found, camera, (row, column), known)
            if depth is not None:
                drawn_part = _inflated(part, shown, depth, camera, len(sdf))
                found = np.minimum(found, drawn_part).astype(np.float32)
    return found


def _large(pixels: Bool[np.ndarray, "H W"], away: Float[np.ndarray, "H W"], least: float) -> Bool[np.ndarray, "H W"]:
    """The pieces that are somewhere at least so far away, px."""
    pieces, count = label(pixels, np.ones((3, 3)))
    if count == 0:
        return pixels
    far = np.asarray(maximum(away, pieces, np.arange(1, count + 1))) >= least
    return np.isin(pieces, 1 + np.flatnonzero(far))


def _middle(
    sdf: Float32[np.ndarray, "N N N"], camera: Camera, joint: tuple[int, int], known: Bool[np.ndarray, "H W"]
) -> float | None:
    """The body's middle depth along the ray of the pixel well inside of it that is nearest to `joint`; None of a body
    that no ray meets."""
    inside = distance_transform_edt(known)
    for deep in (ROOT_PX, 1.0):
        pixels = np.argwhere(inside >= deep)
        if len(pixels) == 0:
            continue
        row, column = pixels[((pixels - joint) ** 2).sum(1).argmin()]
        origin, direction = rays(camera, np.array([column + 0.5, row + 0.5]))
        cell = 2 / (len(sdf) - 1)
        z = np.arange(-THROUGH, THROUGH, STEP * cell) + np.linalg.norm(camera.world_from_cam[:3, 3])
        points = (origin + z[:, None] * direction + 1) / cell
        hit = map_coordinates(sdf, points.T, order=1, mode="constant", cval=1.0) < 0
        if hit.any():
            return float(z[hit].mean())
    return None


def _inflated(
    part: Bool[np.ndarray, "H W"], shown: Bool[np.ndarray, "H W"], depth: float, camera: Camera, nodes: int
) -> Float[np.ndarray, "N N N"]:
    """The field of a part that is as thick at each pixel as that is far from the outline, about `depth`."""
    near = binary_dilation(part, iterations=round(ROOT_PX)) & shown
    pixels = mask_distance(near.astype(np.float32))
    uv, z, unit = _seen(camera, nodes)
    at = _bilinear(pixels, uv, float(max(pixels.max(), 1)))
    least = 1 / (nodes - 1)  # half a cell: thinner parts would pass between the nodes
    return np.maximum(np.abs(z - depth) + np.minimum(at * unit, 0), at * unit) - least


def _flat(gone: Bool[np.ndarray, "H W"], camera: Camera, nodes: int) -> Float[np.ndarray, "N N N"]:
    """The field of all that lies on the rays of these pixels."""
    pixels = mask_distance(gone.astype(np.float32))
    uv, _, unit = _seen(camera, nodes)
    return _bilinear(pixels, uv, float(max(pixels.max(), 1))) * unit


def _seen(camera: Camera, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | float]:
    """(pixel, depth, world units in a pixel) of every node."""
    line = np.linspace(-1, 1, nodes)
    uv, z = project(camera, np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1))
    unit = camera.half_width * 2 / camera.width
    return uv, z, unit if camera.kind == ORTHOGRAPHIC else unit * np.maximum(z, 1e-3)


def _bilinear(picture: np.ndarray, uv: np.ndarray, outside: float) -> np.ndarray:
    at: np.ndarray = map_coordinates(picture, np.moveaxis(uv[..., ::-1] - 0.5, -1, 0), order=1, cval=outside)
    return at

"""Fidelity of a mesh to its pictures: silhouettes, PSNR from the front, the contrast where the photo's part ends."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from img2mv3d.geometry.cameras import Camera, Rig
from img2mv3d.geometry.similarity import LEVEL_DB, decibels, pixel_iou
from img2mv3d.mesh.arrays import MeshLike
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.mesh.raster import rasterise

SIDE = 384  # px of the pictures in which the seam is looked for
APART = 4  # px of them between the two points of a pair: about three of 256
NEAR = 12  # px of them from the border in which ordinary pairs are looked for
STEEP = 4.0  # depth over width of a pair, above which its two points are not one surface
SEAM_DEG = (-45.0, 45.0)  # the azimuths that look along the border of the front


class Seam(NamedTuple):
    """jump: mean colour difference (0..1, mean of channels) of two points a little apart on the surface, one painted by
        the photo and one by views.
    usual: of pairs near it that lie on one side, at the same distance: where it is as large, the jumps are the
        picture's own.
    pairs: how many jumps.
    """

    jump: float
    usual: float
    pairs: int


def silhouette_iou(
    vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], mask: Float[np.ndarray, "V H W"], rig: Rig
) -> Float[np.ndarray, " V"]:
    """Intersection over union of a mesh's silhouettes with masks cut at 1/2, by view, at the masks' size; 0 where both
    are empty.
    """
    cameras = rig.cameras(mask.shape[-1])
    seen = (rasterise(vertices, faces, camera).face >= 0 for camera in cameras)
    return np.array([pixel_iou(one, view > 0.5, empty=0.0) for one, view in zip(seen, mask, strict=True)])


def front_psnr(mesh: MeshLike, camera: Camera, framed: UInt8[np.ndarray, "H W 4"]) -> tuple[float, float]:
    """(dB, covered): PSNR of the unlit mesh, seen by `camera`, against the framed photo (straight alpha), over pixels
    that are wholly inside of both; the share of the photo's inside that the mesh covers. (0, 0) when it covers none.
    """
    picture = render_mesh(mesh, camera, framed.shape[0], style="unlit")
    inside = framed[..., 3] == 255
    both = inside & (picture[..., 3] == 255)
    if not both.any():
        return 0.0, 0.0
    gap = (picture[both][:, :3].astype(np.float64) - framed[both][:, :3]) / 255
    return decibels(float((gap**2).mean()), LEVEL_DB), float(both.sum() / inside.sum())


def seam_contrast(
    mesh: MeshLike,
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    by_photo: Float[np.ndarray, "N"],
    azimuths_deg: tuple[float, ...] = SEAM_DEG,
) -> Seam:
    """The step in colour where the photo's part ends, seen from `azimuths_deg`.

    All zeros without a border.

    vertices, faces: the mesh before it was unwrapped (world units);
    by_photo: the photo's share in each vertex's colour, 0..1.
    """
    across, along = [], []
    for azimuth in azimuths_deg:
        camera = Camera.orbit(azimuth, size=SIDE)
        seen = rasterise(vertices, faces, camera)
        hit = seen.face >= 0
        share = np.zeros(hit.shape)
        share[hit] = (seen.bary[hit] * by_photo[faces[seen.face[hit]]]).sum(1)
        color = render_mesh(mesh, camera, SIDE, style="unlit", samples=1)[..., :3] / 255.0
        z = np.where(hit, seen.z, np.inf)
        for axis in (0, 1):
            first, second = (_cut(axis, start) for start in (0, APART))
            with np.errstate(invalid="ignore"):  # inf - inf, off the mesh
                level = np.abs(z[first] - z[second]) < STEEP * APART * 2 / SIDE
            step = np.abs(color[first] - color[second]).mean(-1)
            border = (share[first] > 0.5) != (share[second] > 0.5)
            near = cv2.dilate((level & border).astype(np.uint8), np.ones((2 * NEAR + 1,) * 2, np.uint8)) > 0
            across.append(step[level & border])
            along.append(step[level & ~border & near])
    jumps, rest = np.concatenate(across), np.concatenate(along)
    if not len(jumps):
        return Seam(0.0, float(rest.mean()) if len(rest) else 0.0, 0)
    return Seam(float(jumps.mean()), float(rest.mean()) if len(rest) else 0.0, len(jumps))


def _cut(axis: int, start: int) -> tuple[slice, slice]:
    """The part of a picture that begins at `start` along the axis, as long as what `APART` px leave."""
    piece = slice(start, start + SIDE - APART)
    return (piece, slice(None)) if axis == 0 else (slice(None), piece)

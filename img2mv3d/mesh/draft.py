"""A body -> drafts of its views: pictures of one solid, which agree by construction.

In: a field, the photo, the far side's predicted colour, a rig. Out: outlines, normals, depths, colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from img2mv3d.conventions import IMAGE_SIZE, WORLD_WIDTH
from img2mv3d.geometry.cameras import Camera, Rig
from img2mv3d.geometry.columns import CROP
from img2mv3d.mesh.arrays import vertex_normals
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.photographs import behind
from img2mv3d.mesh.raster import rasterise
from img2mv3d.mesh.sources import Source
from img2mv3d.mesh.texture import paint

FINE = 2  # samples a pixel, each way
FACES = 40_000


class Maps(NamedTuple):
    """One body, seen by the cameras of a rig.

    mask: float32 [V, H, W], covered share.
    normal: [V, H, W, 3], world, unit, (0, 0, 0) where mask is 0.
    z: [V, H, W], 0 where mask is 0.
    """

    mask: Float32[np.ndarray, "V H W"]
    normal: Float32[np.ndarray, "V H W 3"]
    z: Float32[np.ndarray, "V H W"]


class Draft(NamedTuple):
    """A coloured body, seen by the cameras of a rig.

    maps: its outlines, normals and depths.
    color: float32 [V, H, W, 3] in [0, 1], over white.
    observed: [V, H, W], the photo's share in each pixel's colour, 0..1.
    """

    maps: Maps
    color: Float32[np.ndarray, "V H W 3"]
    observed: Float32[np.ndarray, "V H W"]


def body_maps(field: Float32[np.ndarray, "N N N"], rig: Rig, size: int = IMAGE_SIZE) -> Maps:
    """Outlines, normals and depths of the body that lies where `field` is negative, in pictures of `size` px a side.

    field: world units, nodes linspace(-1, 1, N) along x, y, z.

    Raises NothingFoundError when it is empty.
    """
    surface = extract(field, faces=FACES)
    values = vertex_normals(surface.vertices, surface.faces)
    seen = [means_of(surface.vertices, surface.faces, values, camera) for camera in rig.cameras(size)]
    mask, z, normal = (np.stack(part) for part in zip(*seen, strict=True))
    return Maps(mask, _unit(normal), z)


def draft(
    field: Float32[np.ndarray, "N N N"],
    far: Float32[np.ndarray, "T T 3"],
    photo: Source,
    alpha: Float32[np.ndarray, "H W"],
    rig: Rig,
    others: Sequence[Source] = (),
) -> Draft:
    """The views of a body, its near side coloured by the photo, its far side by copies of the photo and as
    predicted, and by its neighbours where nobody looks.

    field: as in `body_maps`.
    far: colour of the far side in the front camera's pixels, over +-CROP.
    photo: as the front camera saw it.
    alpha: of the framed photo, over the whole picture.
    others: of other sides that look like the photo's, see `photographs.copies`.

    Raises NothingFoundError when the body is empty.
    """
    surface = extract(field, faces=FACES)
    sources = [photo, far_source(far, alpha, rig), *others]
    painting = paint(surface.vertices, surface.faces, sources, texture_size=0)
    normals = vertex_normals(surface.vertices, surface.faces)
    values = np.concatenate([normals, painting.mesh.colors / 255, painting.by_photo[:, None]], axis=1)
    seen = [means_of(surface.vertices, surface.faces, values, camera) for camera in rig.cameras(IMAGE_SIZE)]
    mask, z, mean = (np.stack(part) for part in zip(*seen, strict=True))
    color = mean[..., 3:6] * mask[..., None] + (1 - mask[..., None])
    return Draft(Maps(mask, _unit(mean[..., :3]), z), color, mean[..., 6])


def far_source(far: Float32[np.ndarray, "T T 3"], alpha: Float32[np.ndarray, "H W"], rig: Rig) -> Source:
    """The colour of the far side, as the picture of a camera straight behind."""
    side = 2 * round(IMAGE_SIZE * CROP / WORLD_WIDTH)
    margin = (IMAGE_SIZE - side) // 2
    color = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 0.5, np.float32)
    color[margin : margin + side, margin : margin + side] = cv2.resize(far, (side, side)).clip(0, 1)
    return Source(behind(rig), np.ascontiguousarray(color[:, ::-1]), np.ascontiguousarray(alpha[:, ::-1]))


def means_of(
    vertices: np.ndarray, faces: np.ndarray, values: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(covered share [H, W], z [H, W], means of the vertices' values over what is covered [H, W, C]), float32."""
    fine = rasterise(vertices, faces, camera.resized(camera.height * FINE, camera.width * FINE))
    hit = fine.face >= 0
    samples = np.zeros((*hit.shape, values.shape[1] + 2), np.float32)
    samples[hit, 0], samples[hit, 1] = 1, fine.z[hit]
    samples[hit, 2:] = np.einsum("pc,pcd->pd", fine.bary[hit], values[faces[fine.face[hit]]])
    total = samples.reshape(camera.height, FINE, camera.width, FINE, -1).sum((1, 3))
    mean = total[..., 1:] / np.maximum(total[..., :1], 1)
    return total[..., 0] / FINE**2, mean[..., 0], mean[..., 1:]


def _unit(normal: Float32[np.ndarray, "V H W 3"]) -> Float32[np.ndarray, "V H W 3"]:
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.where(length > 1e-6, normal / np.maximum(length, 1e-6), 0).astype(np.float32)

"""Body -> draft: six views of one solid, which agree by construction, coloured by the photo and by what was predicted.

In: a `Body`, the subject, a rig. Out: `Views` with the depth of every pixel and the share that the photo shows.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32

from img2mv3d.conventions import FRONT, IMAGE_SIZE, WORLD_WIDTH
from img2mv3d.geometry.cameras import Camera, Rig
from img2mv3d.geometry.columns import CROP
from img2mv3d.mesh.arrays import vertex_normals
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.raster import rasterise
from img2mv3d.mesh.sources import Source
from img2mv3d.mesh.texture import Painting, paint
from img2mv3d.stages.export import behind, photo_source
from img2mv3d.values import Body, Subject, Views

FINE = 2  # samples a pixel, each way
FACES = 40_000


class Draft(NamedTuple):
    """views: colours, normals and masks of the rig. z: float32 [V, H, W], as `Depth`. observed: [V, H, W], the photo's
    share in each pixel's colour, 0..1."""

    views: Views
    z: Float32[np.ndarray, "V H W"]
    observed: Float32[np.ndarray, "V H W"]


def draft(body: Body, subject: Subject, rig: Rig) -> Draft:
    """The six views. Raises NothingFoundError when the body is empty."""
    painting, vertices, faces = painted(body, subject, rig)
    normals = vertex_normals(vertices, faces)
    parts = [_view(painting, vertices, faces, normals, camera) for camera in rig.cameras(IMAGE_SIZE)]
    color, normal, mask, z, observed = (np.stack(part) for part in zip(*parts, strict=True))
    return Draft(Views(color, normal, mask, rig, "draft"), z, observed)


def painted(body: Body, subject: Subject, rig: Rig) -> tuple[Painting, np.ndarray, np.ndarray]:
    """(painting, vertices, faces): the body's surface, coloured by the photo where its camera sees, elsewhere by the far
    side's predicted colour, and by its neighbours where neither looks."""
    surface = extract(body.field, faces=FACES)
    sources = [photo_source(subject.full, subject.framing, rig.cameras(IMAGE_SIZE)[FRONT]), far_source(body, subject, rig)]
    return paint(surface.vertices, surface.faces, sources, texture_size=0), surface.vertices, surface.faces


def far_source(body: Body, subject: Subject, rig: Rig) -> Source:
    """The predicted colour of the far side, as the picture of a camera straight behind."""
    side = 2 * round(IMAGE_SIZE * CROP / WORLD_WIDTH)
    margin = (IMAGE_SIZE - side) // 2
    color = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 0.5, np.float32)
    color[margin : margin + side, margin : margin + side] = cv2.resize(body.far, (side, side)).clip(0, 1)
    alpha = subject.image[..., 3].astype(np.float32) / 255
    return Source(behind(rig), np.ascontiguousarray(color[:, ::-1]), np.ascontiguousarray(alpha[:, ::-1]))


def _view(
    painting: Painting, vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(colour over white, normal, mask, z, observed) of one camera, FINE x FINE samples a pixel."""
    fine = rasterise(vertices, faces, camera.resized(camera.height * FINE, camera.width * FINE))
    hit = fine.face >= 0
    corners, share = faces[fine.face[hit]], fine.bary[hit]
    values = np.zeros((*hit.shape, 9), np.float32)
    values[hit, :3] = np.einsum("pc,pcd->pd", share, painting.mesh.colors[corners] / 255)
    values[hit, 3:6] = np.einsum("pc,pcd->pd", share, normals[corners])
    values[hit, 6] = fine.z[hit]
    values[hit, 7] = (share * painting.by_photo[corners]).sum(1)
    values[hit, 8] = 1
    total = values.reshape(camera.height, FINE, camera.width, FINE, 9).sum((1, 3))
    count = np.maximum(total[..., 8:], 1)
    mask = total[..., 8] / FINE**2
    color = total[..., :3] / FINE**2 + (1 - mask[..., None])
    length = np.linalg.norm(total[..., 3:6], axis=-1, keepdims=True)
    normal = np.where(mask[..., None] > 0, total[..., 3:6] / np.maximum(length, 1e-6), 0)
    z, observed = total[..., 6] / count[..., 0], total[..., 7] / count[..., 0]
    return tuple(part.astype(np.float32) for part in (color, normal, mask, z, observed))

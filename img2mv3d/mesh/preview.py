"""A mesh -> a picture, without a GPU or a window."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from img2mv3d.geometry.cameras import Camera
from img2mv3d.mesh.arrays import MeshLike, shading_normals
from img2mv3d.mesh.raster import rasterise, sample_bilinear

STYLES = ("shaded", "unlit", "clay", "normal")
LIGHTS = (((-0.45, 0.6, 0.66), 0.5), ((0.8, 0.1, 0.55), 0.3))  # direction in camera axes (right, up, back), strength
AMBIENT = 0.5
CLAY = np.array([0.80, 0.78, 0.75])


def render_mesh(
    mesh: MeshLike, camera: Camera, size: int = 256, *, style: str = "shaded", samples: int = 2
) -> UInt8[np.ndarray, "H W 4"]:
    """The mesh seen by `camera` with `size` px a side: uint8 RGBA, straight alpha, sRGB.

    Raises ValueError on an unknown style.

    style: "shaded" (two soft lights that move with the camera), "unlit" (texture or vertex colours as they are), "clay"
        (shape only), "normal" (world normals coded n / 2 + 1/2).
    samples: sub-pixels a side for smooth edges.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r}: expected one of {', '.join(STYLES)}")
    fine = camera.resized(size * samples)
    seen = rasterise(mesh.vertices, mesh.faces, fine)
    hit = seen.face >= 0
    corner, weight = mesh.faces[seen.face[hit]], seen.bary[hit].astype(np.float32)
    normal = _between(shading_normals(mesh.vertices, mesh.faces), corner, weight)
    normal /= np.maximum(np.sqrt(np.einsum("pc,pc->p", normal, normal)), 1e-12)[:, None]
    if style == "normal":
        color = normal / 2 + 0.5
    elif style == "clay":
        color = _light(normal, fine)[:, None] * CLAY
    else:
        color = _paint(mesh, corner, weight)
        if style == "shaded":
            color *= _light(normal, fine)[:, None]
    picture = np.zeros((fine.height, fine.width, 4), np.float32)
    picture[hit, :3] = color
    picture[hit, 3] = 1
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)  # the mean over the samples
    picture[..., :3] /= np.maximum(picture[..., 3:], 1e-9)
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _between(
    values: Float[np.ndarray, "N C"], corner: Int[np.ndarray, "P 3"], weight: Float32[np.ndarray, "P 3"]
) -> Float32[np.ndarray, "P C"]:
    """Values of the vertices at points inside of triangles."""
    values = values.astype(np.float32)
    return sum(weight[:, k, None] * values[corner[:, k]] for k in range(3))


def _paint(
    mesh: MeshLike, corner: Int[np.ndarray, "P 3"], weight: Float32[np.ndarray, "P 3"]
) -> Float32[np.ndarray, "P 3"]:
    if mesh.texture is None or mesh.uv is None:
        return _between(mesh.colors / 255.0, corner, weight)
    place = _between(mesh.uv, corner, weight)
    height, width = mesh.texture.shape[:2]
    return sample_bilinear(mesh.texture, place * [width, -height] + [0, height]) / np.float32(255)


def _light(normal: np.ndarray, camera: Camera) -> np.ndarray:
    total = np.full(len(normal), AMBIENT)
    for direction, strength in LIGHTS:
        world = camera.world_from_cam[:3, :3] @ (np.array(direction) / np.linalg.norm(direction))
        total += strength * (normal @ world).clip(0, None)
    return total.clip(0, 1)

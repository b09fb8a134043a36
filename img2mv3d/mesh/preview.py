"""A mesh -> a picture, without a GPU or a window."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from img2mv3d.geometry.cameras import Camera
from img2mv3d.mesh.arrays import MeshLike, vertex_normals
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
    corner, weight = mesh.faces[seen.face[hit]], seen.bary[hit]
    normal = np.einsum("pk,pkc->pc", weight, vertex_normals(mesh.vertices, mesh.faces)[corner])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    if style == "normal":
        color = normal / 2 + 0.5
    elif style == "clay":
        color = _light(normal, fine)[:, None] * CLAY
    else:
        color = _paint(mesh, corner, weight)
        if style == "shaded":
            color = color * _light(normal, fine)[:, None]
    picture = np.zeros((fine.height, fine.width, 4))
    picture[hit] = np.concatenate([color, np.ones((len(color), 1))], axis=1)
    picture = picture.reshape(size, samples, size, samples, 4).mean((1, 3))
    picture[..., :3] /= np.maximum(picture[..., 3:], 1e-9)
    return (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _paint(mesh: MeshLike, corner: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if mesh.texture is None or mesh.uv is None:
        return np.einsum("pk,pkc->pc", weight, mesh.colors[corner] / 255.0)
    place = np.einsum("pk,pkc->pc", weight, mesh.uv[corner])
    height, width = mesh.texture.shape[:2]
    px = np.stack([place[:, 0] * width, (1 - place[:, 1]) * height], axis=1)
    return sample_bilinear(mesh.texture.astype(np.float32) / 255, px)


def _light(normal: np.ndarray, camera: Camera) -> np.ndarray:
    total = np.full(len(normal), AMBIENT)
    for direction, strength in LIGHTS:
        world = camera.world_from_cam[:3, :3] @ (np.array(direction) / np.linalg.norm(direction))
        total += strength * (normal @ world).clip(0, None)
    return total.clip(0, 1)

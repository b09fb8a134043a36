"""The photo's small relief as a tangent-space normal map: the fine part of predicted normals, sharpened by the photo's
own shading. Nothing where the photo does not see."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from img2mv3d.conventions import WORLD_WIDTH
from img2mv3d.geometry.columns import CROP
from img2mv3d.mesh.arrays import shading_normals, tangents, vertex_normals
from img2mv3d.mesh.raster import rasterise
from img2mv3d.mesh.sources import Source, TextureSource
from img2mv3d.mesh.texture import continued
from img2mv3d.mesh.unwrap import Chart
from img2mv3d.mesh.writers import linear_of_srgb

SIDES = (128, 1536)  # px of the picture of the relief, at least and at most
LOW = 0.03  # world units: what is larger is the mesh's own shape
DARKEST = 0.02  # of white, linear: darker pixels tell nothing
CONTRAST = 0.4  # of log luminance: what differs more is another colour and no shading
SHADING = 0.6  # how much of the shading is believed to be relief
FLAT_LIGHT = 0.5  # of the mean light: directed light of less explains no shading
STEEPEST = 0.5  # tangent of the largest tilt
SURE = 0.25  # weight of the photo, of 1, from which on it counts wholly
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def bake_relief(
    chart: Chart,
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    photo: Source,
    normal: Float32[np.ndarray, "S S 3"],
) -> UInt8[np.ndarray, "T T 3"]:
    """The normal map of a mesh that was unwrapped as `chart`, in the frame of `arrays.tangents` and
    `arrays.shading_normals`.

    vertices, faces: before it was unwrapped (world units).
    photo: as the front camera saw it.
    normal: of the near side, in the front camera's pixels over +-CROP, world axes.
    """
    size = chart.face.shape[0]
    used = np.flatnonzero(chart.face.ravel() >= 0)
    corner, weight = chart.faces[chart.face.ravel()[used]], chart.bary.reshape(-1, 3)[used]
    split = vertices[chart.original]
    normals = shading_normals(split, chart.faces)
    frame = tangents(split, chart.faces, chart.uv, normals)

    def between(values: np.ndarray) -> np.ndarray:
        return np.einsum("pk,pkc->pc", weight, values[corner])

    base = between(normals)
    base /= np.maximum(np.linalg.norm(base, axis=1, keepdims=True), 1e-12)
    source = TextureSource(relief_of(photo, normal, vertices, faces, chart.density), vertices, faces, chart.density)
    seen = source.project(between(split), base)
    base = base[seen.index]
    tilt = (seen.low + seen.high) * (seen.weight / SURE).clip(0, 1)[:, None]
    tilt -= (tilt * base).sum(1, keepdims=True) * base
    tilt *= np.minimum(1, STEEPEST / np.maximum(np.linalg.norm(tilt, axis=1, keepdims=True), 1e-9))
    along = between(frame)[seen.index]
    # as renderers put the frame together: interpolated, not made orthogonal again
    across = np.sign(along[:, 3:]) * np.cross(base, along[:, :3])
    matrix = np.stack([along[:, :3], across, base], axis=2)
    sound = np.abs(np.linalg.det(matrix)) > 0.05
    coded = np.tile(np.array([0.0, 0.0, 1.0]), (size * size, 1))
    local = np.linalg.solve(matrix[sound], (base + tilt)[sound][..., None])[..., 0]
    coded[used[seen.index[sound]]] = local / np.linalg.norm(local, axis=1, keepdims=True)
    return continued(chart.face, (coded.reshape(size, size, 3) * 127.5 + 128).clip(0, 255).astype(np.uint8))


def relief_of(
    photo: Source,
    normal: Float32[np.ndarray, "S S 3"],
    vertices: Float[np.ndarray, "N 3"],
    faces: Int[np.ndarray, "F 3"],
    density: float,
) -> Source:
    """What is to be added to unit normals (world axes), as a picture of the front camera over +-CROP.

    density: px per world unit that are worth having.
    """
    side = int(np.clip(2 * CROP * density, *SIDES))
    color, alpha = _over_crop(photo, side)
    sigma = LOW * side / (2 * CROP)
    fine = cv2.resize(normal.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    fine /= np.maximum(np.linalg.norm(fine, axis=2, keepdims=True), 1e-6)
    low = _blurred(fine, alpha, sigma)
    low /= np.maximum(np.linalg.norm(low, axis=2, keepdims=True), 1e-6)
    relief = fine - low
    relief -= _share_of(relief, _shape(vertices, faces, photo, side, alpha, sigma)) * relief
    relief += shading_tilt(color, alpha, low, sigma)
    frame_px = photo.camera.width  # one px of the frame is so many of the relief
    scale = side * WORLD_WIDTH / (2 * CROP * frame_px)
    offset = (side - scale * frame_px) / 2
    inside = alpha * (cv2.erode((alpha > 0.5).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)
    return replace(
        photo,
        color=relief.astype(np.float32),
        alpha=inside,
        scale=(scale, scale),
        offset=(offset, offset),
        priority=1.0,
    )


def shading_tilt(
    color: Float32[np.ndarray, "S S 3"],
    alpha: Float32[np.ndarray, "S S"],
    low: Float32[np.ndarray, "S S 3"],
    sigma: float,
) -> Float32[np.ndarray, "S S 3"]:
    """Tilts of the normals that explain the fine part of the shading, towards the light that explains its coarse part.

    color: sRGB, straight. low: smooth unit normals. sigma: px, of what is coarse.
    """
    light = linear_of_srgb(color * 255) @ LUMINANCE.astype(np.float32)
    log = np.log(DARKEST + light).astype(np.float32)
    detail = log - _blurred(log[..., None], alpha, sigma)[..., 0]
    detail = CONTRAST * np.tanh(detail / CONTRAST) * (alpha > 0.5)
    inside = alpha > 0.9
    if inside.sum() < 100:
        return np.zeros_like(low)
    coarse = _blurred(light[..., None].astype(np.float32), alpha, sigma)[inside, 0]
    known = np.concatenate([low[inside], np.ones((len(coarse), 1), np.float32)], axis=1)
    *direction, ambient = np.linalg.lstsq(known, coarse, rcond=None)[0]
    towards = np.array(direction, np.float32)
    shade = np.maximum(low @ towards + np.float32(ambient), DARKEST)
    sideways = towards - (low @ towards)[..., None] * low
    strength = (sideways**2).sum(-1) + (FLAT_LIGHT * shade) ** 2
    return SHADING * (detail * shade / strength)[..., None] * sideways


def _over_crop(photo: Source, side: int) -> tuple[np.ndarray, np.ndarray]:
    """(colour, alpha) of the photo over +-CROP, `side` px."""
    rgba = np.concatenate([photo.color * photo.alpha[..., None], photo.alpha[..., None]], axis=2)
    step = 2 * CROP * photo.camera.width / (side * WORLD_WIDTH)  # px of the frame in one of the result
    shrink = min(1.0, 1 / (step * max(photo.scale)))
    height, width = rgba.shape[:2]
    size = max(round(width * shrink), 1), max(round(height * shrink), 1)
    if shrink < 1:
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    first = photo.camera.width / 2 - step * side / 2  # of the result's left side, px of the frame
    matrix = np.zeros((2, 3))
    for axis in range(2):
        factor = photo.scale[axis] * size[axis] / (width, height)[axis]
        place = photo.offset[axis] * size[axis] / (width, height)[axis]
        matrix[axis, axis] = step * factor
        matrix[axis, 2] = (first + step / 2) * factor + place - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    rgba = cv2.warpAffine(rgba, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return rgba[..., :3] / np.maximum(rgba[..., 3:], 1e-3), rgba[..., 3]


def _blurred(values: np.ndarray, alpha: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur of what lies inside of the outline."""
    both = cv2.GaussianBlur(np.concatenate([values * alpha[..., None], alpha[..., None]], axis=2), (0, 0), sigma)
    return both[..., :-1] / np.maximum(both[..., -1:], 1e-3)


def _shape(
    vertices: np.ndarray, faces: np.ndarray, photo: Source, side: int, alpha: np.ndarray, sigma: float
) -> np.ndarray:
    """The fine part of the mesh's own normals as the photo sees it, [side, side, 3]."""
    camera = replace(photo.camera, half_width=CROP).resized(side)
    seen = rasterise(vertices, faces, camera)
    hit = seen.face >= 0
    normal = np.zeros((side, side, 3), np.float32)
    normal[hit] = np.einsum("pk,pkc->pc", seen.bary[hit], vertex_normals(vertices, faces)[faces[seen.face[hit]]])
    cover = hit.astype(np.float32) * (alpha > 0.5)
    return (normal - _blurred(normal, cover, sigma)) * cover[..., None]


def _share_of(wanted: np.ndarray, there: np.ndarray) -> np.ndarray:
    """[S, S, 1] in [0, 1]: how much of the relief the mesh has already."""
    return ((wanted * there).sum(2, keepdims=True) / np.maximum((wanted**2).sum(2, keepdims=True), 1e-9)).clip(0, 1)

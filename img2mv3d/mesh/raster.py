"""Rasterisation on the CPU: which face each pixel centre sees, and where inside of that face."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int, Real

from img2mv3d.geometry.cameras import ORTHOGRAPHIC, Camera, project
from img2mv3d.geometry.compiled import compiled

INCLUSIVE = 1e-9  # a pixel centre on an edge belongs to both triangles, so that no seam stays open


class Raster(NamedTuple):
    """face: int64 [H, W], index of the nearest face, -1 where there is none.
    bary: float64 [H, W, 3], weights of its corners (sum 1; 0 where there is none).
    z: float64 [H, W], see `conventions`; inf where there is none.
    """

    face: np.ndarray
    bary: np.ndarray
    z: np.ndarray


def rasterise(vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], camera: Camera) -> Raster:
    """The nearest face behind every pixel centre of `camera` (world units), both sides drawn; ties go to the lower
    index.

    Perspective: barycentric coordinates are those on the face in space; faces that reach behind the camera are left
    out.
    """
    uv, z = project(camera, vertices.astype(np.float64))
    far = z if camera.kind == ORTHOGRAPHIC else np.where(z > 1e-6, z, np.nan)  # NaN leaves a corner's faces out
    face, bary = cover(uv, far if camera.kind == ORTHOGRAPHIC else -1.0 / far, faces, camera.height, camera.width)
    hit = face >= 0
    weight, corner_z = bary[hit], z[faces[face[hit]]]
    if camera.kind != ORTHOGRAPHIC:  # shares in the picture -> shares on the face: 1 / z is what is affine in px
        weight = weight / corner_z
        weight /= weight.sum(1, keepdims=True)
        bary[hit] = weight
    depth = np.full(face.shape, np.inf)
    depth[hit] = (weight * corner_z).sum(1)
    return Raster(face, bary, depth)


def cover(
    points: Float[np.ndarray, "N 2"],
    key: Float[np.ndarray, "N"],
    faces: Int[np.ndarray, "F 3"],
    height: int,
    width: int,
) -> tuple[Int[np.ndarray, "H W"], Float[np.ndarray, "H W 3"]]:
    """Triangles in the plane -> (face [H, W], -1 for none; bary [H, W, 3] in the plane).

    Degenerate triangles cover nothing.

    points: (u, v) in px.
    key: affine over a triangle; the smallest wins a pixel.
    """
    plane, low, span = _setup(points, key, faces, height, width)
    face = _nearest(plane, low, span, height, width)
    return face.reshape(height, width), _shares(plane, face, width).reshape(height, width, 3)


def claims(
    points: Float[np.ndarray, "N 2"], faces: Int[np.ndarray, "F 3"], height: int, width: int
) -> Int[np.ndarray, "F"]:
    """How many pixel centres lie inside of each triangle of the plane (px), whether or not others lie there, too."""
    plane, low, span = _setup(points, np.zeros(len(points)), faces, height, width)
    return _covered(plane, low, span)


def sample_bilinear(image: Real[np.ndarray, "H W C"], uv: Float[np.ndarray, "P 2"]) -> Float32[np.ndarray, "P C"]:
    """Bilinear values at `uv` (px, pixel centres at half integers); outside of the image its border continues."""
    return _bilinear(image, uv)


def _setup(points, key, faces, height, width):
    """Per face: rows (a, b, c) with a u + b v + c = the three barycentric coordinates and the key; box of pixels."""
    corner = points[faces].astype(np.float64)
    u, v = corner[..., 0], corner[..., 1]
    twice = (u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (u[:, 2] - u[:, 0]) * (v[:, 1] - v[:, 0])
    flat = ~(np.abs(twice) > 1e-12) | ~np.isfinite(key[faces]).all(1)
    twice = np.where(flat, 1.0, twice)
    plane = np.empty((len(faces), 4, 3))
    for i, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        plane[:, i, 0] = (v[:, j] - v[:, k]) / twice
        plane[:, i, 1] = (u[:, k] - u[:, j]) / twice
        plane[:, i, 2] = (u[:, j] * v[:, k] - u[:, k] * v[:, j]) / twice
    plane[:, 3] = np.einsum("fij,fi->fj", plane[:, :3], np.nan_to_num(key)[faces])
    size = np.array([width, height])
    bounded = np.nan_to_num(corner).clip(-1e6, 1e6)
    low = np.ceil(bounded.min(1) - 0.5 - 1e-6).astype(np.int64).clip(0, None)
    high = np.floor(bounded.max(1) - 0.5 + 1e-6).astype(np.int64).clip(None, size - 1)
    span = (high - low + 1).clip(0, None)
    span[flat] = 0
    return plane, low, span


@compiled
def _nearest(plane, low, span, height, width):
    """The face with the smallest key at each pixel centre, int64 [height * width], -1 where there is none."""
    best = np.full(height * width, np.inf)
    face = np.full(height * width, -1, np.int64)
    for f in range(len(plane)):
        a, b, c, key = plane[f, 0], plane[f, 1], plane[f, 2], plane[f, 3]
        for row in range(low[f, 1], low[f, 1] + span[f, 1]):
            v = row + 0.5
            for column in range(low[f, 0], low[f, 0] + span[f, 0]):
                u = column + 0.5
                if a[0] * u + a[1] * v + a[2] < -INCLUSIVE:
                    continue
                if b[0] * u + b[1] * v + b[2] < -INCLUSIVE or c[0] * u + c[1] * v + c[2] < -INCLUSIVE:
                    continue
                value = key[0] * u + key[1] * v + key[2]
                pixel = row * width + column
                if value < best[pixel]:  # of equal ones the first stays
                    best[pixel] = value
                    face[pixel] = f
    return face


@compiled
def _shares(plane, face, width):
    """Weights of the corners at each pixel centre, float64 [P, 3], 0 where there is no face."""
    bary = np.zeros((len(face), 3))
    for pixel in range(len(face)):
        if face[pixel] < 0:
            continue
        u, v = pixel % width + 0.5, pixel // width + 0.5
        total = 0.0
        for k in range(3):
            a = plane[face[pixel], k]
            share = min(max(a[0] * u + a[1] * v + a[2], 0.0), 1.0)
            bary[pixel, k] = share
            total += share
        for k in range(3):
            bary[pixel, k] /= total
    return bary


@compiled
def _bilinear(image, uv):
    """Values of the image [H, W, C] at each place, float32 [P, C]."""
    height, width, channels = image.shape
    values = np.empty((len(uv), channels), np.float32)
    for p in range(len(uv)):
        u, v = min(max(uv[p, 0] - 0.5, 0.0), width - 1.0), min(max(uv[p, 1] - 0.5, 0.0), height - 1.0)
        left, top = int(u), int(v)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        a, b = u - left, v - top
        for c in range(channels):
            upper = image[top, left, c] * (1 - a) + image[top, right, c] * a
            lower = image[bottom, left, c] * (1 - a) + image[bottom, right, c] * a
            values[p, c] = upper * (1 - b) + lower * b
    return values


@compiled
def _covered(plane, low, span):
    """How many pixel centres lie inside of each face, int64 [F]."""
    count = np.zeros(len(plane), np.int64)
    for f in range(len(plane)):
        a, b, c = plane[f, 0], plane[f, 1], plane[f, 2]
        for row in range(low[f, 1], low[f, 1] + span[f, 1]):
            v = row + 0.5
            for column in range(low[f, 0], low[f, 0] + span[f, 0]):
                u = column + 0.5
                if a[0] * u + a[1] * v + a[2] < -INCLUSIVE or b[0] * u + b[1] * v + b[2] < -INCLUSIVE:
                    continue
                if c[0] * u + c[1] * v + c[2] >= -INCLUSIVE:
                    count[f] += 1
    return count

"""Pictures as texture sources: the colours that one picture gives to surface points, and their weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int

from img2mv3d.geometry.cameras import Camera, project, rays
from img2mv3d.mesh.raster import rasterise

SHADOW_SIZE = 512  # px a side of the z-buffers: half a pixel of a view, so that a rim is not wider than the view's own
SHADOW_BIAS = 0.004  # world units, about a px of the z-buffer: a surface does not hide itself
SLOPE_BIAS = 0.003  # world units for each unit of tan(angle to the ray): what a px covers on a tilted surface
GRAZING = 0.12  # cosine to the ray below which a picture knows nothing
RIM_PX = 3.0  # px of 256: closer to a silhouette or to an edge of depth than this the weight falls
PHOTO_RIM_PX = 1.6  # px of 256: the photo itself is what stands at its rims, up to what the fit errs by
PHOTO_FADE = (0.12, 0.32)  # cosines between which the photo comes in: drawn out eight and three times
LOW_PX = 6.0  # px of 256: what is larger belongs to the low band, where pictures fade into each other softly


@dataclass(frozen=True, eq=False)
class Source:
    """One picture.

    camera: whose `project` gives px of a square frame.
    color: float32 [H, W, 3], sRGB in [0, 1], straight (not mixed with a background).
    alpha: float32 [H, W].
    scale, offset: frame px * scale + offset = px of `color`, per axis.
    priority: factor on the weight.
    is_photo: whether it is the user's photo.
    shown: whether its colours are a photo's or somebody's own: they have the grain that made-up ones lack.
    exact: its colours stay as they are, whatever its neighbours show.
    """

    camera: Camera
    color: np.ndarray
    alpha: np.ndarray
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    priority: float = 1.0
    is_photo: bool = False
    exact: bool = False
    shown: bool = False


class Projection(NamedTuple):
    """What one source says about those points it sees.

    index: int64 [K], which points.
    low, high: float32 [K, 3], colour below and above `LOW_PX` (they add up).
    weight: float32 [K], priority times trust, > 0.
    """

    index: np.ndarray
    low: np.ndarray
    high: np.ndarray
    weight: np.ndarray


class TextureSource:
    """A source made ready for one mesh: z-buffer, distances to rims, bands. `project` may then be called with any
    points.

    density: samples per world unit on the surface; a finer picture is averaged down to it, or it would flicker.
    """

    def __init__(
        self, source: Source, vertices: Float[np.ndarray, "N 3"], faces: Int[np.ndarray, "F 3"], density: float
    ) -> None:
        self.source = source = _averaged(source, density)
        camera = source.camera
        self.shadow = camera.resized(SHADOW_SIZE, SHADOW_SIZE * camera.height // camera.width)
        self.z = rasterise(vertices, faces, self.shadow).z
        unit = 256 / camera.width  # px of 256 in one px of the frame
        frame_px = float(np.sqrt(source.scale[0] * source.scale[1]))  # px of the picture in one px of the frame
        inside = _distance(source.alpha > 0.5) * unit / frame_px
        self.rim = np.minimum(inside, 2 * RIM_PX).astype(np.float32)
        self.edge = _edge_distance(self.z) * np.float32(256 / SHADOW_SIZE)
        weight = source.alpha[..., None]
        sigma = LOW_PX / unit * frame_px
        share = _blur(weight, sigma)
        self.low = (_blur(source.color * weight, sigma) / np.maximum(share, 1e-4)).astype(np.float32)
        self.premultiplied = np.concatenate([source.color * weight, weight], axis=-1).astype(np.float32)

    def project(self, points: Float[np.ndarray, "P 3"], normals: Float[np.ndarray, "P 3"]) -> Projection:
        """Colours and weights at surface points (world units) with unit normals."""
        source = self.source
        camera = source.camera
        uv, z = project(camera, points)
        _, direction = rays(camera, uv)
        cosine = -(normals * direction).sum(1) / np.linalg.norm(direction, axis=1)
        size = np.array([camera.width, camera.height])
        index = np.flatnonzero((cosine > GRAZING) & (uv > 0).all(1) & (uv < size).all(1) & (z > camera_near(camera)))
        uv, z, cosine = uv[index], z[index], cosine[index]
        fine = uv * (SHADOW_SIZE / camera.width)
        tan = np.sqrt(1 - np.minimum(cosine, 1) ** 2) / cosine
        seen = z <= _farthest(self.z, fine) + SHADOW_BIAS + SLOPE_BIAS * tan
        px = uv * np.array(source.scale) + np.array(source.offset)
        inside = ((px > 0) & (px < np.array(source.alpha.shape[::-1]))).all(1)
        index, px, fine, cosine = (a[seen & inside] for a in (index, px, fine, cosine))
        taken = _sample(self.premultiplied, px)
        alpha = taken[:, 3]
        color = taken[:, :3] / np.maximum(alpha, 1e-3)[:, None]
        low = _sample(self.low, px)
        wide = PHOTO_RIM_PX if source.is_photo else RIM_PX
        rim = np.minimum(_sample(self.rim, px), _sample(self.edge, fine)) / wide
        ramp = (cosine - GRAZING) / (1 - GRAZING)
        trust = ramp**2 * _smooth(rim.clip(0.02, 1)) * (alpha > 0.5)
        if source.is_photo:  # it wins wherever it is sharp, and fades out where it is drawn out three times and more
            begin, end = PHOTO_FADE
            trust = trust * source.priority * _smooth(((cosine - begin) / (end - begin)).clip(0, 1))
        else:
            trust = trust * source.priority
        kept = trust > 1e-6
        return Projection(index[kept], low[kept], (color - low)[kept], trust[kept].astype(np.float32))


def camera_near(camera: Camera) -> float:
    """The smallest z (world units) that a camera sees: everything for an orthographic one."""
    return -np.inf if camera.kind == "orthographic" else 1e-3


def _averaged(source: Source, density: float) -> Source:
    """The source with at most about `density` px per world unit."""
    camera = source.camera
    unit = camera.width / (2 * camera.half_width) if camera.kind == "orthographic" else camera.width / 2
    factor = min(1.0, density / (unit * max(source.scale)))
    if factor > 0.8:
        return source
    height, width = source.alpha.shape
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    weight = source.alpha[..., None]
    both = np.concatenate([source.color * weight, weight], axis=-1).astype(np.float32)
    both = cv2.resize(both, size, interpolation=cv2.INTER_AREA)
    across, down = size[0] / width, size[1] / height
    return replace(
        source,
        color=both[..., :3] / np.maximum(both[..., 3:], 1e-3),
        alpha=both[..., 3],
        scale=(source.scale[0] * across, source.scale[1] * down),
        offset=(source.offset[0] * across, source.offset[1] * down),
    )


def _distance(inside: np.ndarray) -> np.ndarray:
    """px from each pixel centre inside to the nearest outside, less half a pixel; the picture's border is no rim."""
    if inside.all():
        return np.full(inside.shape, np.inf, np.float32)
    return (cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5) - 0.5).clip(0, None)


def _edge_distance(z: np.ndarray) -> np.ndarray:
    """px to the nearest jump of the z-buffer; the jump's own pixels lie on its far side, which is half hidden."""
    filled = np.where(np.isfinite(z), z, 1e3).astype(np.float32)
    nearest = cv2.erode(filled, np.ones((3, 3), np.uint8))
    jump = 12 * SHADOW_BIAS  # a slope of 12 px a px is an edge, too
    return np.minimum(_distance(~(filled - nearest > jump)), 4 * RIM_PX).astype(np.float32)


def _farthest(z: np.ndarray, px: np.ndarray) -> np.ndarray:
    """The largest finite z among the four pixels round px; -inf where none is finite."""
    height, width = z.shape
    left = np.floor(px[:, 0] - 0.5).astype(np.int64)
    top = np.floor(px[:, 1] - 0.5).astype(np.int64)
    finite = np.where(np.isfinite(z), z, -np.inf)
    best = np.full(len(px), -np.inf)
    for down in (0, 1):
        for across in (0, 1):
            best = np.maximum(best, finite[(top + down).clip(0, height - 1), (left + across).clip(0, width - 1)])
    return best


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; strong ones on a reduced picture, since a low band has nothing to lose."""
    height, width = image.shape[:2]
    step = max(1, int(sigma / 3))
    small = image.astype(np.float32)
    if step > 1:
        size = max(width // step, 1), max(height // step, 1)
        small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step, borderType=cv2.BORDER_REPLICATE)
    if step > 1:
        small = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return small.reshape(height, width, -1)


def _sample(image: np.ndarray, px: np.ndarray) -> np.ndarray:
    """Bilinear, pixel centres at half integers; float32 [P, C] ([P] of a plane)."""
    if len(px) == 0:
        return np.zeros((0, *image.shape[2:]), np.float32)
    row = 4096  # cv2 wants maps with sides below 32768
    padded = np.zeros((-(-len(px) // row) * row, 2), np.float32)
    padded[: len(px)] = px - 0.5
    grid = padded.reshape(-1, row, 2)
    out = cv2.remap(image, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return out.reshape(-1, *image.shape[2:])[: len(px)]


def _smooth(x: np.ndarray) -> np.ndarray:
    return x * x * (3 - 2 * x)

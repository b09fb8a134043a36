"""Cameras and rigs as values, and the one path between pixels and points for both projections.

Functions take numpy arrays or torch tensors and return the same kind; no torch is imported, so a cached run stays
light.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from img2mv3d.conventions import IMAGE_SIZE, VIEW_AZIMUTH_DEG, VIEW_NAMES, WORLD_WIDTH

ORTHOGRAPHIC = "orthographic"
PERSPECTIVE = "perspective"


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera in the world. Axes of the camera are OpenGL's (right, up, back); see `conventions`.

    kind: "orthographic" or "perspective".
    world_from_cam: float64 [4, 4], rotation columns right, up, back and the camera's centre in world units. For an
        orthographic camera only the centre's part in the image plane matters.
    half_width: orthographic: half of the image's width in world units; perspective: tangent of half the horizontal
        field of view.
    height, width: image size in px.
    Raises ValueError on an unknown kind, a rotation that is not orthonormal and right-handed, or sizes below 1.
    """

    kind: str
    world_from_cam: np.ndarray
    half_width: float
    height: int = IMAGE_SIZE
    width: int = IMAGE_SIZE

    def __post_init__(self) -> None:
        matrix = np.asarray(self.world_from_cam, dtype=np.float64)
        if self.kind not in (ORTHOGRAPHIC, PERSPECTIVE):
            raise ValueError(f"camera kind {self.kind!r}: expected {ORTHOGRAPHIC!r} or {PERSPECTIVE!r}")
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError(f"world_from_cam: expected a finite 4 x 4 matrix, found shape {matrix.shape}")
        rotation = matrix[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-5 or np.linalg.det(rotation) < 0:
            raise ValueError("world_from_cam: the rotation is not orthonormal and right-handed")
        if not self.half_width > 0 or self.height < 1 or self.width < 1:
            raise ValueError(
                f"camera: half_width {self.half_width}, size {self.height} x {self.width} px must be positive"
            )
        matrix.flags.writeable = False
        object.__setattr__(self, "world_from_cam", matrix)

    @property
    def cam_from_world(self) -> np.ndarray:
        """float64 [4, 4], the inverse of `world_from_cam` (rigid, so it is exact up to rounding)."""
        rotation, centre = self.world_from_cam[:3, :3], self.world_from_cam[:3, 3]
        inverse = np.eye(4)
        inverse[:3, :3] = rotation.T
        inverse[:3, 3] = -rotation.T @ centre
        return inverse

    @property
    def forward(self) -> np.ndarray:
        """float64 [3], unit viewing direction in world axes."""
        return -self.world_from_cam[:3, 2]

    def resized(self, height: int, width: int | None = None) -> Camera:
        """The same camera with another pixel count (px); the field of view stays."""
        return replace(self, height=height, width=height if width is None else width)

    @classmethod
    def orbit(
        cls,
        azimuth_deg: float,
        elevation_deg: float = 0.0,
        *,
        half_width: float = WORLD_WIDTH / 2,
        distance: float | None = None,
        size: int = IMAGE_SIZE,
    ) -> Camera:
        """A camera that looks at the world's origin from the given angles (degrees).

        distance: None for an orthographic camera with `half_width` in world units; else a perspective camera that far
            from the origin (world units), whose image is 2 * half_width wide at the origin.
        size: px.
        """
        azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
        right = np.array([math.cos(azimuth), 0.0, -math.sin(azimuth)])
        back = np.array(
            [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
        )
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
        if distance is None:
            return cls(ORTHOGRAPHIC, matrix, half_width, size, size)
        matrix[:3, 3] = back * distance
        return cls(PERSPECTIVE, matrix, half_width / distance, size, size)


@dataclass(frozen=True)
class Rig:
    """An ordered set of cameras round the origin, in plain numbers (it travels in JSON and in latents.pt).

    Raises ValueError when the lists differ in length, are empty, or numbers are not finite.

    kind: as `Camera.kind`.
    names: one per view.
    azimuth_deg, elevation_deg: degrees, one per view.
    width: of the image, in world units (perspective: at the origin).
    distance: perspective only, from the origin, world units.
    """

    names: tuple[str, ...] = VIEW_NAMES
    azimuth_deg: tuple[float, ...] = VIEW_AZIMUTH_DEG
    elevation_deg: tuple[float, ...] = (0.0,) * len(VIEW_AZIMUTH_DEG)
    kind: str = ORTHOGRAPHIC
    width: float = WORLD_WIDTH
    distance: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(str(n) for n in self.names))
        object.__setattr__(self, "azimuth_deg", tuple(float(a) for a in self.azimuth_deg))
        object.__setattr__(self, "elevation_deg", tuple(float(e) for e in self.elevation_deg))
        if not len(self.names) == len(self.azimuth_deg) == len(self.elevation_deg) > 0:
            raise ValueError(
                f"rig: {len(self.names)} names, {len(self.azimuth_deg)} azimuths, {len(self.elevation_deg)} elevations"
            )
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"rig: view names repeat: {', '.join(self.names)}")
        if self.kind not in (ORTHOGRAPHIC, PERSPECTIVE):
            raise ValueError(f"rig kind {self.kind!r}: expected {ORTHOGRAPHIC!r} or {PERSPECTIVE!r}")
        if (self.kind == PERSPECTIVE) != (self.distance is not None):
            raise ValueError("rig: a distance belongs to perspective rigs, and only to them")
        numbers = (*self.azimuth_deg, *self.elevation_deg, self.width, self.distance or 1.0)
        if not all(math.isfinite(n) for n in numbers) or not self.width > 0 or not (self.distance or 1.0) > 0:
            raise ValueError("rig: angles and sizes must be finite, sizes positive")

    def __len__(self) -> int:
        return len(self.names)

    def cameras(self, size: int = IMAGE_SIZE) -> tuple[Camera, ...]:
        """One `Camera` per view, square images of `size` px."""
        return tuple(
            Camera.orbit(a, e, half_width=self.width / 2, distance=self.distance, size=size)
            for a, e in zip(self.azimuth_deg, self.elevation_deg, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON; `from_dict` undoes it."""
        return {
            "kind": self.kind,
            "names": list(self.names),
            "azimuth_deg": list(self.azimuth_deg),
            "elevation_deg": list(self.elevation_deg),
            "width": self.width,
            "distance": self.distance,
        }

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> Rig:
        """A rig out of `to_dict`'s numbers; missing names are numbered. Raises ValueError on unknown or missing
        keys.
        """
        known = {"kind", "names", "azimuth_deg", "elevation_deg", "width", "distance"}
        if (
            not isinstance(numbers, dict)
            or set(numbers) - known
            or not {"azimuth_deg", "elevation_deg"} <= set(numbers)
        ):
            raise ValueError(f"rig: expected the keys {', '.join(sorted(known))}")
        azimuth = list(numbers["azimuth_deg"])
        names = numbers.get("names") or (
            VIEW_NAMES if tuple(azimuth) == VIEW_AZIMUTH_DEG else [f"view_{i}" for i in range(len(azimuth))]
        )
        distance = numbers.get("distance")
        return cls(
            names=tuple(names),
            azimuth_deg=tuple(azimuth),
            elevation_deg=tuple(numbers["elevation_deg"]),
            kind=str(numbers.get("kind", ORTHOGRAPHIC)),
            width=float(numbers.get("width", WORLD_WIDTH)),
            distance=None if distance is None else float(distance),
        )


SIX_VIEWS = Rig()  # the rig of Wonder3D and of this project


def _like(constant: np.ndarray, array: Any) -> Any:
    """`constant` as the same kind (numpy or torch), dtype and device as `array`."""
    if isinstance(array, np.ndarray):
        return constant.astype(array.dtype, copy=False)
    return array.new_tensor(constant)


def pixel_centres(height: int, width: int | None = None) -> np.ndarray:
    """float32 [H, W, 2] of (u, v) in px: the centres of all pixels, at half integers."""
    width = height if width is None else width
    v, u = np.meshgrid(np.arange(height) + 0.5, np.arange(width) + 0.5, indexing="ij")
    return np.stack([u, v], axis=-1).astype(np.float32)


def rays(camera: Camera, uv: Any) -> tuple[Any, Any]:
    """The rays through pixels, scaled so that **point = origin + z * direction** for both projections.

    Returns (origin [..., 3], direction [..., 3]) in world axes and units. Orthographic: origins lie on the plane
    through the world's origin, directions are unit. Perspective: every origin is the camera's centre and directions
    have length 1 / cos (their part along the axis is 1). Divide by the norm for a unit ray.

    uv: [..., 2] px.
    """
    rotation = _like(camera.world_from_cam[:3, :3], uv)
    centre = _like(camera.world_from_cam[:3, 3], uv)
    right, up, back = rotation[:, 0], rotation[:, 1], rotation[:, 2]
    x = (uv[..., :1] * (2.0 / camera.width) - 1.0) * camera.half_width
    y = (1.0 - uv[..., 1:2] * (2.0 / camera.height)) * (camera.half_width * camera.height / camera.width)
    across = x * right + y * up
    if camera.kind == ORTHOGRAPHIC:
        in_plane = centre - back * (centre * back).sum()
        return across + in_plane, 0 * across - back
    return 0 * across + centre, across - back


def unproject(camera: Camera, uv: Any, z: Any) -> Any:
    """Points [..., 3] (world units) at depth z [...] (world units, see `conventions`) behind pixels uv [..., 2]
    (px).
    """
    origin, direction = rays(camera, uv)
    return origin + z[..., None] * direction


def project(camera: Camera, points: Any) -> tuple[Any, Any]:
    """Points [..., 3] (world units) -> (uv [..., 2] in px, z [...] in world units). `unproject` undoes it.

    Pixels may lie outside of the image. Perspective: points at or behind the camera plane give z <= 0 and uv without
    meaning (z is clamped to 1e-6 before the division, so they stay finite).
    """
    rotation = _like(camera.world_from_cam[:3, :3], points)
    centre = _like(camera.world_from_cam[:3, 3], points)
    aspect = camera.height / camera.width
    if camera.kind == ORTHOGRAPHIC:
        back = rotation[:, 2]
        cam = (points - (centre - back * (centre * back).sum())) @ rotation
        z, scale = -cam[..., 2], camera.half_width
    else:
        cam = (points - centre) @ rotation
        z = -cam[..., 2]
        scale = z.clip(1e-6, None) * camera.half_width
    u = (cam[..., 0] / scale + 1.0) * (camera.width / 2)
    v = (1.0 - cam[..., 1] / (scale * aspect)) * (camera.height / 2)
    if isinstance(points, np.ndarray):
        return np.stack([u, v], axis=-1), z
    import torch  # late: only those who pass tensors pay for it

    return torch.stack([u, v], dim=-1), z

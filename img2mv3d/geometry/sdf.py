"""Solids with exact distances, and renderings of them from any rig: known truth for tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from img2mv3d.geometry.cameras import Camera, Rig, pixel_centres, rays

REACH = 2.0  # rays start and end this far from the origin: the seen cube's corners lie at sqrt(3)
HIT = 1e-5  # world units: closer than this to a surface is on it; a hundredth of a 1024 px pixel
STEPS = 160  # of sphere tracing; grazing rays want about 60
SUB = 4  # silhouette pixels are covered by SUB x SUB rays

Number = float | int
Point = tuple[Number, Number, Number]


class Solid:
    """A closed shape. `distance` is negative inside, a lower bound of the true distance in size, and exact next to the
    surface, edges of differences apart; so sphere tracing is safe.
    """

    def distance(self, points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """Signed distance in world units at points [..., 3] in world axes."""
        raise NotImplementedError

    def __or__(self, other: Solid) -> Solid:
        return Union((self, other))

    def __sub__(self, other: Solid) -> Solid:
        return Difference(self, other)


@dataclass(frozen=True)
class Sphere(Solid):
    """centre [3], radius: world units."""

    centre: Point = (0.0, 0.0, 0.0)
    radius: Number = 0.5

    def distance(self, points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """As `Solid.distance`; exact everywhere."""
        return np.linalg.norm(points - np.asarray(self.centre, points.dtype), axis=-1) - self.radius


@dataclass(frozen=True)
class Box(Solid):
    """centre [3], half side lengths [3]: world units; turned about the vertical axis by yaw_deg."""

    centre: Point = (0.0, 0.0, 0.0)
    half: Point = (0.4, 0.4, 0.4)
    yaw_deg: Number = 0.0

    def distance(self, points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """As `Solid.distance`; exact everywhere."""
        local = points - np.asarray(self.centre, points.dtype)
        if self.yaw_deg:
            cos, sin = np.cos(np.radians(self.yaw_deg)), np.sin(np.radians(self.yaw_deg))
            turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], points.dtype)
            local = local @ turn.T
        excess = np.abs(local) - np.asarray(self.half, points.dtype)
        outside = np.linalg.norm(np.maximum(excess, 0), axis=-1)
        return outside + np.minimum(excess.max(axis=-1), 0)


@dataclass(frozen=True)
class Torus(Solid):
    """centre [3], ring radius, tube radius: world units.

    axis: 0, 1 or 2, the axis of turning (1: lies flat).
    """

    centre: Point = (0.0, 0.0, 0.0)
    ring: Number = 0.45
    tube: Number = 0.15
    axis: int = 1

    def distance(self, points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """As `Solid.distance`; exact everywhere."""
        local = points - np.asarray(self.centre, points.dtype)
        along = local[..., self.axis]
        across = np.linalg.norm(np.delete(local, self.axis, axis=-1), axis=-1)
        return np.hypot(across - self.ring, along) - self.tube


@dataclass(frozen=True)
class Capsule(Solid):
    """start [3], end [3], radius: world units."""

    start: Point = (0.0, -0.4, 0.0)
    end: Point = (0.0, 0.4, 0.0)
    radius: Number = 0.2

    def distance(self, points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """As `Solid.distance`; exact everywhere."""
        start = np.asarray(self.start, points.dtype)
        axis = np.asarray(self.end, points.dtype) - start
        share = np.clip((points - start) @ axis / max(float(axis @ axis), 1e-12), 0, 1)
        return np.linalg.norm(points - start - share[..., None] * axis, axis=-1) - self.radius


@dataclass(frozen=True)
class Union(Solid):
    """Everything that any part covers."""

    parts: tuple[Solid, ...]

    def distance(self, points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """As `Solid.distance`; exact outside."""
        return np.minimum.reduce([part.distance(points) for part in self.parts])


@dataclass(frozen=True)
class Difference(Solid):
    """`solid` without `removed`."""

    solid: Solid
    removed: Solid

    def distance(self, points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N"]:
        """As `Solid.distance`; a lower bound near the edges of the cut."""
        return np.maximum(self.solid.distance(points), -self.removed.distance(points))


def sample_grid(solid: Solid, nodes: int) -> Float[np.ndarray, "N N N"]:
    """float32 [N, N, N] distances (world units) at the nodes of a grid, linspace(-1, 1, nodes) along x, y, z."""
    line = np.linspace(-1, 1, nodes)
    return solid.distance(np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)).astype(np.float32)


def surface_color(points: Float[np.ndarray, "*N 3"]) -> Float[np.ndarray, "*N 3"]:
    """sRGB in [0, 1] of surface points [..., 3] (world units): a hue per place and soft stripes, the same from every
    view, so that colours can be matched between views.
    """
    stripes = 0.12 * np.sin(17.0 * points[..., :1] + 23.0 * points[..., 1:2] - 13.0 * points[..., 2:])
    return np.clip(0.45 + 0.35 * points + stripes, 0, 1)


def render_world(
    solid: Solid, rig: Rig, size: int
) -> tuple[
    Float[np.ndarray, "V H W 3"], Float[np.ndarray, "V H W 3"], Float[np.ndarray, "V H W"], Float[np.ndarray, "V H W"]
]:
    """Exact views of a solid: (color, normal, mask, z), float32, [V, size, size, ...].

    color: [0, 1] over white. normal: unit vectors in world axes, (0, 0, 0) where the mask is below 1/2. mask: the share
    of a pixel that is covered, in steps of 1 / 16 along silhouettes. z: as `conventions`, of the pixel's centre (where
    only a part of a pixel is covered: the mean of that part), 0 where the mask is below 1/2.
    """
    views = [_render_view(solid, camera) for camera in rig.cameras(size)]
    color, normal, mask, z = (np.stack(part).astype(np.float32) for part in zip(*views, strict=True))
    return color, normal, mask, z


def _render_view(solid: Solid, camera: Camera) -> tuple[np.ndarray, ...]:
    """(color, normal, mask, z) of one view: one ray a pixel, SUB x SUB along silhouettes."""
    centres = pixel_centres(camera.height, camera.width).astype(np.float64)
    z, hit = _trace(solid, camera, centres)
    mask = hit.astype(np.float64)
    points, normal = _surface(solid, camera, centres, z)
    color = surface_color(points)
    rim = _rim(hit)
    if rim.any():
        steps = (np.arange(SUB) + 0.5) / SUB - 0.5
        fine = (centres[rim][:, None, None] + np.stack(np.meshgrid(steps, steps), axis=-1)).reshape(-1, SUB * SUB, 2)
        fine_z, fine_hit = _trace(solid, camera, fine)
        fine_points, fine_normal = _surface(solid, camera, fine, fine_z)
        share = fine_hit.mean(axis=1)
        count = np.maximum(fine_hit.sum(axis=1), 1)[:, None]
        mask[rim] = share
        color[rim] = (surface_color(fine_points) * fine_hit[..., None]).sum(axis=1) / count
        mean_z = (fine_z * fine_hit).sum(axis=1) / count[:, 0]
        z[rim] = np.where(hit[rim], z[rim], mean_z)
        mean_normal = (fine_normal * fine_hit[..., None]).sum(axis=1)
        normal[rim] = mean_normal / np.maximum(np.linalg.norm(mean_normal, axis=-1, keepdims=True), 1e-9)
    inside = mask >= 0.5
    color = color * mask[..., None] + (1 - mask[..., None])
    return color, normal * inside[..., None], mask, z * inside


def _trace(solid: Solid, camera: Camera, uv: Float[np.ndarray, "*N 2"]) -> tuple[np.ndarray, np.ndarray]:
    """First hits by sphere tracing: (z [...], hit [...] bool) for pixels [..., 2] (px)."""
    origin, direction = rays(camera, uv.reshape(-1, 2))
    speed = np.linalg.norm(direction, axis=-1)  # z times speed is the length along the ray
    middle = -(origin * direction).sum(axis=-1) / speed**2
    z = np.maximum(middle - REACH / speed, 1e-6 if camera.kind == "perspective" else -np.inf)
    end = middle + REACH / speed
    hit = np.zeros(len(z), bool)
    live = np.arange(len(z))
    for _ in range(STEPS):
        gap = solid.distance(origin[live] + z[live, None] * direction[live])
        hit[live] |= gap < HIT
        z[live] += np.where(gap < HIT, 0, gap / speed[live])
        live = live[(gap >= HIT) & (z[live] < end[live])]
        if len(live) == 0:
            break
    return (z * hit).reshape(uv.shape[:-1]), hit.reshape(uv.shape[:-1])


def _surface(
    solid: Solid, camera: Camera, uv: Float[np.ndarray, "*N 2"], z: Float[np.ndarray, "*N"]
) -> tuple[np.ndarray, np.ndarray]:
    """Points [..., 3] at depth z and unit normals [..., 3] by central differences of the distance."""
    origin, direction = rays(camera, uv)
    points = origin + z[..., None] * direction
    eps = 1e-4  # world units: far below a pixel, far above float64's noise
    steps = np.eye(3) * eps
    normal = np.stack([solid.distance(points + s) - solid.distance(points - s) for s in steps], axis=-1)
    return points, normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)


def _rim(hit: Bool[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels with a neighbour (of eight) on the other side of the silhouette."""
    padded = np.pad(hit, 1)
    height, width = hit.shape
    near = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.logical_or.reduce(near) & ~np.logical_and.reduce(near)

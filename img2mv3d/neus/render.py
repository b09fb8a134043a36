"""NeuS rendered along rays, for any camera: opacity, depth and normals of a distance grid, composited by nerfacc.

Samples are dense [rays, samples]: nerfacc's packed layouts need CUDA.
"""

from __future__ import annotations

from dataclasses import dataclass

import nerfacc
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from img2mv3d.geometry.cameras import PERSPECTIVE, Camera, Rig, pixel_centres, project, rays

SHARPNESS = 8.0  # S, 1 / cells: the sigmoid is half a cell wide, a pixel of a 128^3 grid seen at 256
EPS = 1e-5  # of NeuS: keeps deep sections opaque and 0 / 0 away
WINDOW = (2.0, 4.0)  # cells before and behind the place where a ray comes near the surface
SPACING = 0.5  # cells between samples of a window
NEAR = 1.0  # cells: here a window starts; sigmoid(8 * 1) leaves 0.03 % outside
WINDOWS = 4  # thin parts that a ray may pass before it ends
LEFT = 0.02  # transmittance below which a ray has ended
MARCH = 96  # steps between two windows, at most
RELAX = 0.8  # of the distance is stepped: fitted fields are steeper than 1 in places
TILE_PX = 4


@dataclass(frozen=True, eq=False)
class Rendering:
    """opacity: float32 [..., H, W] in [0, 1].
    z: float32 [..., H, W] as `conventions`, 0 where opacity is 0.
    normal: float32 [..., H, W, 3], unit vectors in world axes, (0, 0, 0) where opacity is 0.
    """

    opacity: np.ndarray
    z: np.ndarray
    normal: np.ndarray


def render(
    sdf: Float[np.ndarray, "N N N"], camera: Camera, size: int | None = None, sharpness: float = SHARPNESS
) -> Rendering:
    """One view of a field: world units, axes x, y, z on [-1, 1]^3, negative inside; exact distances are not asked for,
    but slopes near 1 are.

    z is that of the point where half of the ray's light is gone (no mixture of front and back at edges), on rays that
    keep more than half the mean over sections. Opacity below 1 % counts as none.

    size: px, instead of the camera's own.
    sharpness: S in 1 / cells.
    """
    if size is not None:
        camera = camera.resized(size)
    field = torch.from_numpy(np.ascontiguousarray(sdf, dtype=np.float32))
    cell = 2 / (field.shape[0] - 1)
    pixel, start = _candidates(sdf, camera, cell)
    count = camera.height * camera.width
    opacity, z, normal = torch.zeros(count), torch.zeros(count), torch.zeros(count, 3)
    if len(pixel):
        uv = torch.from_numpy(pixel_centres(camera.height, camera.width).reshape(-1, 2)[pixel])
        with torch.no_grad():
            parts = _trace(field, cell, camera, uv, torch.from_numpy(start), sharpness)
        for whole, part in zip((opacity, z, normal), parts, strict=True):
            whole[torch.from_numpy(pixel)] = part
    shape = (camera.height, camera.width)
    return Rendering(opacity.view(shape).numpy(), z.view(shape).numpy(), normal.view(*shape, 3).numpy())


def render_views(sdf: Float[np.ndarray, "N N N"], rig: Rig, size: int, sharpness: float = SHARPNESS) -> Rendering:
    """All views of a rig at `size` px: arrays [V, H, W, ...]."""
    views = [render(sdf, camera, sharpness=sharpness) for camera in rig.cameras(size)]
    return Rendering(
        np.stack([s.opacity for s in views]), np.stack([s.z for s in views]), np.stack([s.normal for s in views])
    )


def section_alpha(before: Float[Tensor, "*S"], behind: Float[Tensor, "*S"], sharpness: float) -> Float[Tensor, "*S"]:
    """NeuS's discrete opacity of sections, eq. 13 of the NeuS paper: from the field at both ends and S (1 / its unit).

    clip((Phi(before) - Phi(behind) + EPS) / (Phi(before) + EPS), 0, 1) with Phi the sigmoid of S times the field.
    """
    entry, leave = torch.sigmoid(before * sharpness), torch.sigmoid(behind * sharpness)
    return ((entry - leave + EPS) / (entry + EPS)).clamp(0, 1)


def crossing(before: Float[Tensor, "*S"], behind: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Where in a section the field is zero, 0 (front) to 1; clamped where it is not."""
    return (before / (before - behind).clamp(min=1e-9)).clamp(0, 1)


def sample(grid: Float[Tensor, "D N N N"], points: Float[Tensor, "*P 3"]) -> Float[Tensor, "*P D"]:
    """Trilinear values [..., D] of D grids (axes x, y, z on [-1, 1]^3) at points [..., 3]; held constant outside."""
    flat = points.reshape(1, 1, 1, -1, 3).flip(-1)
    values = F.grid_sample(grid[None], flat, mode="bilinear", padding_mode="border", align_corners=True)
    return values.reshape(grid.shape[0], -1).T.reshape(*points.shape[:-1], grid.shape[0])


def _candidates(
    sdf: Float[np.ndarray, "N N N"], camera: Camera, cell: float
) -> tuple[Int[np.ndarray, " R"], Float[np.ndarray, " R"]]:
    """Pixels whose rays may come near the surface, and the z to start from: the surface's nodes are thrown onto tiles
    of the image, and each tile looks at its neighbours.
    """
    nodes = np.argwhere(np.abs(sdf) < 1.5 * cell)
    count = sdf.shape[0]
    uv, z = project(camera, nodes * cell - 1)
    lowest = z.min() if len(z) else 0
    unit = camera.half_width * 2 / camera.width * (lowest if camera.kind == PERSPECTIVE else 1)
    if len(nodes) == 0 or (camera.kind == PERSPECTIVE and lowest < cell) or count < 8:
        every = np.arange(camera.height * camera.width)  # a camera inside of the object: no short cut
        return every, np.full(len(every), 1e-3 if camera.kind == PERSPECTIVE else -2.0, np.float32)
    tile = max(TILE_PX, int(np.ceil(2 * cell / unit)))
    rows, columns = -(-camera.height // tile) + 2, -(-camera.width // tile) + 2
    row, column = (np.floor(uv[:, i] / tile).astype(int) + 1 for i in (1, 0))
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    nearest = np.full((rows, columns), np.inf, np.float32)
    np.minimum.at(nearest, (row[inside], column[inside]), z[inside])
    padded = np.pad(nearest, 1, constant_values=np.inf)
    around = np.minimum.reduce([padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)])
    v, u = np.divmod(np.arange(camera.height * camera.width), camera.width)
    start = around[v // tile + 1, u // tile + 1]
    pixel = np.flatnonzero(np.isfinite(start))
    return pixel, start[pixel] - np.float32(3 * cell)


def _trace(
    field: Float[Tensor, "N N N"],
    cell: float,
    camera: Camera,
    uv: Float[Tensor, "R 2"],
    z: Float[Tensor, " R"],
    sharpness: float,
) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"], Float[Tensor, "R 3"]]:
    """(opacity, z, normal) of rays that start at depth z: march to the surface, composite a window there, go on."""
    origin, direction = rays(camera, uv)
    speed = direction.norm(dim=-1)
    grid = field[None]
    count = len(z)
    through, mean_z, half_z = torch.ones(count), torch.zeros(count), torch.full((count,), torch.nan)
    normal = torch.zeros(count, 3)
    live = torch.arange(count)
    z = z.clone()
    steps = torch.arange(-WINDOW[0], WINDOW[1] + SPACING / 2, SPACING) * cell
    for turn in range(WINDOWS):
        live = _march(grid, cell, origin, direction, speed, z, live)
        if len(live) == 0:
            break
        # the first window reaches back; a later one begins where the one before it ended
        offset = steps if turn == 0 else steps + WINDOW[0] * cell
        places = z[live, None] + offset / speed[live, None]
        points = origin[live, None] + places[..., None] * direction[live, None]
        values = sample(grid, points)[..., 0] / cell
        before, behind = values[:, :-1], values[:, 1:]
        alpha = section_alpha(before, behind, sharpness)
        weight, clear = nerfacc.render_weight_from_alpha(alpha)
        share = crossing(before, behind)
        middle = torch.lerp(places[:, :-1], places[:, 1:], share)
        light = through[live]
        mean_z[live] += light * nerfacc.accumulate_along_rays(weight, middle[..., None])[:, 0]
        normal[live] += light[:, None] * _normals(grid, cell, origin[live], direction[live], middle, weight)
        _half_light(half_z, live, light[:, None] * clear, alpha, middle)
        through[live] = light * (1 - nerfacc.accumulate_along_rays(weight, None)[:, 0])
        z[live] = places[:, -1]
        live = live[through[live] > LEFT]
    opacity = 1 - through
    opacity = torch.where(opacity < 0.01, 0.0, opacity)
    seen = opacity > 0
    z = torch.where(half_z.isnan(), mean_z / opacity.clamp(min=1e-6), half_z)
    return opacity, torch.where(seen, z, 0.0), F.normalize(normal, dim=-1) * seen[:, None]


def _march(
    grid: Float[Tensor, "1 N N N"],
    cell: float,
    origin: Float[Tensor, "R 3"],
    direction: Float[Tensor, "R 3"],
    speed: Float[Tensor, " R"],
    z: Float[Tensor, " R"],
    live: Int[Tensor, " L"],
) -> Int[Tensor, " L2"]:
    """Step the rays `live` on (z is changed in place) until the field is below NEAR cells; returns those that got
    there. Rays that leave the cube are dropped.
    """
    arrived = []
    leaving = 1 + 2 * cell
    for _ in range(MARCH):
        if len(live) == 0:
            break
        points = origin[live] + z[live, None] * direction[live]
        value = sample(grid, points)[:, 0]
        outward = (points.abs() > leaving) & (points * direction[live] > 0)
        gone, here = outward.any(dim=1), value < NEAR * cell
        arrived.append(live[here & ~gone])
        going = ~(here | gone)
        live = live[going]
        z[live] += (value[going] * RELAX).clamp(min=0.3 * cell) / speed[live]
    return torch.cat(arrived).sort().values if arrived else live


def _normals(
    grid: Float[Tensor, "1 N N N"],
    cell: float,
    origin: Float[Tensor, "R 3"],
    direction: Float[Tensor, "R 3"],
    z: Float[Tensor, "R S"],
    weight: Float[Tensor, "R S"],
) -> Float[Tensor, "R 3"]:
    """Sums of weight times normalised gradients (central differences over a cell) along rays."""
    ray, place = torch.nonzero(weight > 0.02, as_tuple=True)
    points = origin[ray] + z[ray, place][:, None] * direction[ray]
    shifts = torch.eye(3) * cell
    around = sample(grid, points[:, None, None] + torch.stack([shifts, -shifts]))[..., 0]  # [P, 2, 3]
    gradient = F.normalize(around[:, 0] - around[:, 1], dim=-1)
    dense = torch.zeros(*z.shape, 3).index_put_((ray, place), gradient)
    return nerfacc.accumulate_along_rays(weight, dense)


def _half_light(
    half_z: Float[Tensor, " R"],
    live: Int[Tensor, " L"],
    clear: Float[Tensor, "L S"],
    alpha: Float[Tensor, "L S"],
    middle: Float[Tensor, "L S"],
) -> None:
    """Write into half_z, where it is not known, the z of the section in which the transmittance falls below a half."""
    dark = clear * (1 - alpha) < 0.5
    first = dark.float().argmax(dim=1)
    found = dark.any(dim=1) & half_z[live].isnan()
    half_z[live[found]] = middle[found, first[found]]

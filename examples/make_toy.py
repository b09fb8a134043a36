"""Makes examples/toy.png: a toy tugboat of exact solids, seen by one camera, cut out (RGBA). Own code, own object: CC0.

    python examples/make_toy.py [toy.png]

Every part is a solid of `img2mv3d.geometry.sdf` with a paint; a pixel shows the paint of the part that is nearest to
its surface point, lit by a lamp and the sky.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from img2mv3d.geometry.cameras import Camera, Rig, pixel_centres, unproject
from img2mv3d.geometry.sdf import Box, Capsule, Solid, Sphere, Torus, Union, render_world

SIZE = 512  # px of the picture; painted at twice that
AZIMUTH_DEG, ELEVATION_DEG = 32.0, 14.0  # of the camera; the boat's bow points to +Z
HULL = (0.78, 0.16, 0.12)
DECK = (0.86, 0.66, 0.40)
CABIN = (0.96, 0.93, 0.86)
ROOF = (0.13, 0.33, 0.62)
FUNNEL = (0.95, 0.76, 0.14)
DARK = (0.13, 0.13, 0.16)

PARTS: tuple[tuple[Solid, tuple[float, float, float]], ...] = (
    (Capsule((0, -0.30, -0.42), (0, -0.30, 0.30), 0.24), HULL),
    (Capsule((0, -0.30, 0.28), (0, -0.25, 0.38), 0.23), HULL),
    (Box((0, -0.10, -0.08), (0.20, 0.03, 0.46)), DECK),
    (Box((0, 0.03, -0.02), (0.15, 0.15, 0.20)), CABIN),
    (Box((0, 0.20, -0.02), (0.18, 0.025, 0.23)), ROOF),
    (Capsule((0, 0.22, -0.12), (0, 0.44, -0.12), 0.075), FUNNEL),
    (Torus((0, 0.47, -0.12), 0.062, 0.026), DARK),
    (Sphere((0.155, 0.06, 0.02), 0.058), DARK),
    (Sphere((-0.155, 0.06, 0.02), 0.058), DARK),
    (Sphere((0.07, 0.06, 0.185), 0.05), DARK),
    (Sphere((-0.07, 0.06, 0.185), 0.05), DARK),
    (Torus((0.225, -0.25, 0.05), 0.07, 0.032, axis=0), DARK),
    (Torus((0.225, -0.25, -0.28), 0.07, 0.032, axis=0), DARK),
    (Capsule((0, -0.12, -0.50), (0, 0.02, -0.50), 0.03), DARK),
    (Capsule((0, -0.05, 0.46), (0, 0.16, 0.46), 0.018), DARK),
    (Sphere((0, 0.17, 0.46), 0.04), FUNNEL),
)


def main() -> None:
    """Render and write."""
    rig = Rig(("camera",), (AZIMUTH_DEG,), (ELEVATION_DEG,))
    solid = Union(tuple(part for part, _ in PARTS))
    _, normal, mask, z = (view[0].astype(np.float64) for view in render_world(solid, rig, 2 * SIZE))
    camera = rig.cameras(2 * SIZE)[0]
    points = unproject(camera, pixel_centres(2 * SIZE).astype(np.float64), z)
    rgba = np.dstack([lit(paint(points), normal, camera), mask])
    rgba[..., :3] *= rgba[..., 3:]  # premultiplied while averaging
    rgba = rgba.reshape(SIZE, 2, SIZE, 2, 4).mean((1, 3))
    rgba[..., :3] /= np.maximum(rgba[..., 3:], 1e-6)
    picture = Image.fromarray((rgba.clip(0, 1) * 255 + 0.5).astype(np.uint8))
    to = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("toy.png")
    picture.save(to, optimize=True)


def paint(points: np.ndarray) -> np.ndarray:
    """sRGB [..., 3] of points [..., 3]: the nearest part's."""
    distances = np.stack([part.distance(points) for part, _ in PARTS])
    return np.array([color for _, color in PARTS])[distances.argmin(axis=0)]


def lit(color: np.ndarray, normal: np.ndarray, camera: Camera) -> np.ndarray:
    """Soft light: sky from above, a lamp over the camera's left shoulder."""
    right, up, back = (camera.world_from_cam[:3, axis] for axis in range(3))
    lamp = -0.5 * right + 0.6 * up + 0.8 * back
    facing = (normal @ (lamp / np.linalg.norm(lamp))).clip(0, 1)
    light = 0.55 + 0.12 * normal[..., 1] + 0.45 * facing
    return ((color**2.2) * light[..., None]) ** (1 / 2.2)


if __name__ == "__main__":
    main()

"""Normal maps: the relief that was predicted and photographed comes back out of the file, and nothing where the photo
does not see."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS, Camera
from img2mv3d.geometry.columns import CROP
from img2mv3d.geometry.sdf import Sphere, sample_grid
from img2mv3d.mesh.arrays import shading_normals, tangents
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.normal_map import bake_relief, relief_of, shading_tilt
from img2mv3d.mesh.raster import rasterise, sample_bilinear
from img2mv3d.mesh.sources import Source
from img2mv3d.mesh.unwrap import Chart, unwrap

SIDE = 128
BALL = extract(sample_grid(Sphere(radius=0.5), 48), faces=2_000)
CHART = unwrap(BALL.vertices, BALL.faces, 512)
PLACE = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * CROP
X, Y = np.meshgrid(PLACE, -PLACE)
INSIDE = X**2 + Y**2 < 0.48**2


def of_a_ball() -> np.ndarray:
    """Normals of the near side, [S, S, 3]."""
    z = np.sqrt(np.maximum(0.25 - X**2 - Y**2, 1e-4))
    normal = np.stack([X, Y, z], axis=-1)
    return (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)


def photo(shade: np.ndarray | float = 0.5) -> Source:
    """Grey, with a shade for each px of +-CROP; the frame is +-1."""
    camera = SIX_VIEWS.cameras(256)[0]
    scale = SIDE / (2 * CROP) / 128
    offset = SIDE / 2 - 128 * scale
    color = np.broadcast_to(np.asarray(shade, np.float32)[..., None], (SIDE, SIDE, 3)).copy()
    return Source(camera, color, INSIDE.astype(np.float32), (scale, scale), (offset, offset), 60.0, is_photo=True)


def shown(relief: np.ndarray, chart: Chart, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(normals [P, 3] as a renderer makes them of the map, places [P, 2] in world units) that a camera sees."""
    vertices = BALL.vertices[chart.original]
    seen = rasterise(vertices, chart.faces, camera)
    hit = seen.face >= 0
    corner, weight = chart.faces[seen.face[hit]], seen.bary[hit]
    base = shading_normals(vertices, chart.faces)
    frame = tangents(vertices, chart.faces, chart.uv, base)
    normal, along, uv, place = (
        np.einsum("pk,pkc->pc", weight, values[corner]) for values in (base, frame, chart.uv, vertices)
    )
    size = len(relief)
    texel = sample_bilinear(relief, np.stack([uv[:, 0] * size, (1 - uv[:, 1]) * size], axis=1)) / 127.5 - 1
    across = np.sign(along[:, 3:]) * np.cross(normal, along[:, :3])
    made = texel[:, :1] * along[:, :3] + texel[:, 1:2] * across + texel[:, 2:] * normal
    return made / np.linalg.norm(made, axis=1, keepdims=True), place


def test_without_any_detail_the_map_is_flat() -> None:
    relief = bake_relief(CHART, BALL.vertices, BALL.faces, photo(), of_a_ball())
    assert np.abs(relief.astype(int) - (128, 128, 255)).max() <= 12 and relief.shape == (512, 512, 3)


def test_waves_of_the_predicted_normals_come_out_of_the_map_in_front_and_not_behind() -> None:
    wave = 0.3 * np.sin(2 * np.pi * X / 0.12)
    waved = of_a_ball() + np.stack([wave, 0 * wave, 0 * wave], axis=-1).astype(np.float32)
    relief = bake_relief(CHART, BALL.vertices, BALL.faces, photo(), waved)
    for azimuth in (0.0, 180.0):
        normal, place = shown(relief, CHART, Camera.orbit(azimuth))
        near = np.linalg.norm(place[:, :2], axis=1) < 0.25
        extra = normal[near, 0] - place[near, 0] / 0.5
        wanted = 0.3 * np.sin(2 * np.pi * place[near, 0] / 0.12)
        if azimuth == 0:
            assert np.corrcoef(extra, wanted)[0, 1] > 0.9 and 0.5 < np.ptp(extra) / 0.6 < 1.2
        else:
            assert np.abs(extra).max() < 0.12 and np.std(extra) < 0.03


@pytest.mark.parametrize("towards", [(-0.6, 0.3), (0.6, 0.3)])
def test_what_is_brighter_leans_to_the_light(towards: tuple[float, float]) -> None:
    low = of_a_ball()
    light = np.array([*towards, np.sqrt(1 - towards[0] ** 2 - towards[1] ** 2)], np.float32)
    lit = 0.1 + 0.6 * (low @ light).clip(0)
    spot = (np.abs(X) < 0.03) & (np.abs(Y) < 0.03)
    bright, dark = (np.where(spot, lit * factor, lit) for factor in (1.3, 1 / 1.3))
    alpha = INSIDE.astype(np.float32)
    for shade, sign in ((bright, 1), (dark, -1)):
        srgb = np.repeat((shade[..., None] ** (1 / 2.2)).astype(np.float32), 3, axis=2)
        tilt = shading_tilt(srgb, alpha, low, sigma=6.0)[spot].mean(0)
        assert sign * (tilt @ light) > 0.05 and np.linalg.norm(tilt) < 0.5


def test_light_from_the_camera_explains_nothing() -> None:
    low = np.broadcast_to(np.array([0, 0, 1], np.float32), (SIDE, SIDE, 3)).copy()
    noise = np.random.default_rng(0).uniform(0.3, 0.8, (SIDE, SIDE, 1)).astype(np.float32)
    tilt = shading_tilt(np.repeat(noise, 3, axis=2), INSIDE.astype(np.float32), low, sigma=6.0)
    assert np.abs(tilt).max() < 0.05
    nothing = shading_tilt(np.repeat(noise, 3, axis=2), np.zeros((SIDE, SIDE), np.float32), low, sigma=6.0)
    assert not nothing.any()


def test_what_the_mesh_has_already_is_not_added_again() -> None:
    """A mesh whose own bumps are those that the network sees stays as it is."""
    bumpy = Sphere(radius=0.5) | Sphere((0.1, 0.1, 0.47), 0.08)
    body = extract(sample_grid(bumpy, 96), faces=8_000)
    camera = replace(SIX_VIEWS.cameras(256)[0], half_width=CROP).resized(SIDE)
    seen = rasterise(body.vertices, body.faces, camera)
    hit = seen.face >= 0
    predicted = np.tile(np.array([0, 0, 1], np.float32), (SIDE, SIDE, 1))
    own = shading_normals(body.vertices, body.faces)
    predicted[hit] = np.einsum("pk,pkc->pc", seen.bary[hit], own[body.faces[seen.face[hit]]])
    bump = (np.abs(X - 0.1) < 0.1) & (np.abs(Y - 0.1) < 0.1)
    bare, again = (
        np.abs(relief_of(photo(), predicted, solid.vertices, solid.faces, 100.0).color[bump]).mean()
        for solid in (BALL, body)
    )
    assert bare > 0.05 and again < 0.3 * bare

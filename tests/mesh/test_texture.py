"""Painting: the truth where it is seen, one picture's details only, levelled seams, everything filled."""

from dataclasses import replace

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.sdf import Sphere, Torus, render_world, sample_grid, surface_color
from img2mv3d.mesh.arrays import vertex_normals
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.preview import render_mesh
from img2mv3d.mesh.sources import Source
from img2mv3d.mesh.texture import paint

SIZE = 96


def sources_of(solid: object, rig: Rig = SIX_VIEWS) -> list[Source]:
    color, _, mask, _ = render_world(solid, rig, SIZE)
    straight = (color - (1 - mask[..., None])) / np.maximum(mask, 0.05)[..., None]
    return [Source(c, s, m) for c, s, m in zip(rig.cameras(SIZE), straight.clip(0, 1), mask, strict=True)]


@pytest.fixture(scope="module")
def ball() -> tuple:
    solid = Sphere(radius=0.6)
    body = extract(sample_grid(solid, 40), faces=2_000)
    return body.vertices, body.faces, sources_of(solid)


def seen(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Vertices of the ball that some camera sees at less than 65 degrees."""
    normals = vertex_normals(vertices, faces)
    return np.max([-normals @ camera.forward for camera in SIX_VIEWS.cameras()], axis=0) > 0.45


def test_vertices_have_the_surface_s_own_colour(ball: tuple) -> None:
    vertices, faces, sources = ball
    painting = paint(vertices, faces, sources, texture_size=0)
    error = np.abs(painting.mesh.colors / 255 - surface_color(vertices))[seen(vertices, faces)]
    assert error.mean() < 0.01 and np.quantile(error, 0.99) < 0.06
    assert np.abs(painting.shifts).max() < 0.01
    assert painting.mesh.uv is None and painting.mesh.texture is None and painting.coverage == 0


def test_the_texture_has_the_surface_s_own_colour(ball: tuple) -> None:
    vertices, faces, sources = ball
    painting = paint(vertices, faces, sources, texture_size=256)
    mesh = painting.mesh
    assert mesh.texture.shape == (256, 256, 3) and 0.3 < painting.coverage <= 1
    assert mesh.uv.min() >= 0 and mesh.uv.max() <= 1 and mesh.faces.shape == faces.shape
    np.testing.assert_allclose(mesh.vertices[mesh.faces], vertices[faces])
    for camera, source in zip(SIX_VIEWS.cameras(), sources, strict=True):
        picture = render_mesh(mesh, camera, SIZE, style="unlit", samples=1) / 255
        inside = (picture[..., 3] > 0.5) & (source.alpha > 0.99)
        error = np.abs(picture[..., :3] - source.color)[inside]
        assert error.mean() < 0.015 and np.quantile(error, 0.99) < 0.1


def test_a_perspective_rig_paints_as_well() -> None:
    solid, rig = Sphere(radius=0.6), replace(SIX_VIEWS, kind="perspective", distance=3.0)
    body = extract(sample_grid(solid, 40), faces=2_000)
    painting = paint(body.vertices, body.faces, sources_of(solid, rig), texture_size=0)
    error = np.abs(painting.mesh.colors / 255 - surface_color(body.vertices))[seen(body.vertices, body.faces)]
    assert error.mean() < 0.01


def test_a_picture_that_is_too_bright_is_levelled(ball: tuple) -> None:
    vertices, faces, sources = ball
    bright = [replace(s, color=s.color + np.float32(0.06)) if i == 3 else s for i, s in enumerate(sources)]
    shifts = paint(vertices, faces, bright, texture_size=0).shifts
    others = np.delete(shifts, 3, axis=0).mean(0)
    np.testing.assert_allclose(others - shifts[3], 0.06, atol=0.015)
    anchored = [replace(s, is_photo=i == 0) for i, s in enumerate(bright)]
    np.testing.assert_allclose(paint(vertices, faces, anchored, texture_size=0).shifts[0], 0, atol=1e-4)


def test_what_stands_behind_takes_no_colour_from_what_stands_in_front() -> None:
    """A small red ball before a big one: the front picture's red stays off the big one, which others fill."""
    front, big = Sphere((0.0, 0.0, 0.7), 0.15), Sphere(radius=0.45)
    body = extract(sample_grid(front | big, 56), faces=3_000)
    _, _, _, z = render_world(front, SIX_VIEWS, SIZE)
    _, _, mask, depth = render_world(front | big, SIX_VIEWS, SIZE)
    red = (z != 0) & (np.abs(z - depth) < 1e-4)
    color = np.where(red[..., None], [1.0, 0, 0], [0, 0, 1.0]).astype(np.float32)
    sources = [Source(*parts) for parts in zip(SIX_VIEWS.cameras(SIZE), color, mask, strict=True)]
    colors = paint(body.vertices, body.faces, sources, texture_size=0).mesh.colors.astype(int)
    on_big = np.linalg.norm(body.vertices, axis=1) < 0.5
    redness = colors[:, 0] - colors[:, 2]
    assert (redness[on_big] > 0).mean() < 0.01 and (redness[~on_big] < 0).mean() < 0.02


def test_one_picture_alone_paints_its_side_and_the_rest_is_filled_smoothly(ball: tuple) -> None:
    vertices, faces, sources = ball
    plain = replace(sources[0], color=np.full_like(sources[0].color, 0.25))
    painting = paint(vertices, faces, [plain], texture_size=64)
    assert set(np.unique(painting.mesh.colors)) <= {63, 64, 65}
    assert np.abs(painting.mesh.texture.astype(int) - 64).max() <= 1
    assert painting.shares["photo"] == 0 and 0.35 < painting.shares["views"] < 0.5
    assert sum(painting.shares.values()) == pytest.approx(1)
    photo = paint(vertices, faces, [replace(plain, is_photo=True)], texture_size=0)
    assert photo.shares["views"] == 0 and 0.25 < photo.shares["photo"] < 0.5


def test_no_picture_sees_anything_and_still_every_colour_is_a_number() -> None:
    body = extract(sample_grid(Torus(), 32), faces=500)
    blank = Source(SIX_VIEWS.cameras(16)[0], np.zeros((16, 16, 3), np.float32), np.zeros((16, 16), np.float32))
    painting = paint(body.vertices, body.faces, [blank], texture_size=32)
    assert painting.shares == {"photo": 0.0, "views": 0.0, "none": 1.0}
    assert (np.abs(painting.mesh.texture.astype(int) - 128) <= 1).all()


def test_the_texture_has_no_hard_seam_inside_of_a_filled_gutter(ball: tuple) -> None:
    vertices, faces, sources = ball
    texture = paint(vertices, faces, sources, texture_size=128).mesh.texture
    assert (texture.reshape(-1, 3).sum(1) > 0).all()  # black gutters would bleed into the surface

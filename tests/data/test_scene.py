"""Renders of exact shapes: depth, normals, colours and masks are where geometry says, from either side of a face."""

from itertools import pairwise

import numpy as np
import pytest
import trimesh

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.data.corpus import Solid
from img2mv3d.data.scene import Light, place, random_framing, random_light, random_pose, render
from img2mv3d.files.contents import encode_normals
from img2mv3d.geometry.cameras import SIX_VIEWS, pixel_centres, project, unproject

FLAT = Light(ambient=1.0, sky=0.0, key=0.0, fill=0.0, occlusion=0.0)
FRONT, RIGHT, BACK, LEFT = (VIEW_NAMES.index(n) for n in ("front", "right", "back", "left"))


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _ball() -> Solid:
    """A sphere whose colour tells the place: red grows with x, green with y, blue with z."""
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=0.5)
    rgb = np.round((mesh.triangles_center + 0.5) * 255).astype(np.uint8)
    return Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=rgb)


@pytest.fixture(scope="module")
def ball():
    return render(_ball(), np.eye(3), 128, FLAT, _rng())


def test_a_sphere_has_its_exact_depth_normals_and_masks(ball):
    radius = 0.5  # 128 of 256 px across, world 2 wide
    uv = pixel_centres(256).astype(np.float64)
    x, y = uv[..., 0] / 128 - 1, 1 - uv[..., 1] / 128
    inside = np.hypot(x, y) < radius - 0.02
    depth = -np.sqrt(np.maximum(radius**2 - x**2 - y**2, 0))
    assert ball.framing_px == 128
    for view, camera in enumerate(SIX_VIEWS.cameras()):
        assert np.abs(ball.z[view] - depth)[inside].max() < 0.01
        points = unproject(camera, uv, depth)
        cosine = (ball.normal[view] * points / radius).sum(-1)[inside]
        assert cosine.min() > 0.995
        assert (ball.mask[view][inside] == 1).all() and (ball.mask[view][np.hypot(x, y) > radius + 0.01] == 0).all()
        assert ball.mask[view].sum() == pytest.approx(np.pi * 64**2, rel=0.01)
    assert (ball.z[ball.mask == 0] == 0).all() and (ball.color[ball.mask == 0] == 1).all()


def test_front_normals_are_blue_and_every_view_shows_its_own_side(ball):
    centre = np.s_[126:130, 126:130]
    code = encode_normals(ball.normal[FRONT], ball.mask[FRONT])[centre].reshape(-1, 3)
    assert np.abs(code.mean(0) - [127.5, 127.5, 255]).max() < 4
    assert ball.color[RIGHT][centre][..., 0].mean() > 0.95 and ball.color[LEFT][centre][..., 0].mean() < 0.05
    assert ball.color[FRONT][centre][..., 2].mean() > 0.95 and ball.color[BACK][centre][..., 2].mean() < 0.05
    row = ball.color[FRONT, 128]  # +x is at the right of the front view, +y at the top
    assert row[180, 0] > row[76, 0] + 0.5
    assert ball.color[FRONT, 76, 128, 1] > ball.color[FRONT, 180, 128, 1] + 0.5


def test_points_carried_to_the_next_view_find_their_colour(ball):
    cameras, ring = SIX_VIEWS.cameras(), [0, 1, 2, 3, 4, 5, 0]
    for i, j in pairwise(ring):
        use = ball.mask[i] == 1
        points = unproject(cameras[i], pixel_centres(256)[use].astype(np.float64), ball.z[i][use].astype(np.float64))
        uv, z = project(cameras[j], points)
        column, row = uv.T.astype(int)
        seen = np.abs(ball.z[j][row, column] - z) < 0.02
        assert seen.sum() > 0.2 * use.sum()
        # A nearest pixel stands for a point between pixels, and a sphere's rim is steep in one of the two views.
        assert np.abs(ball.color[j][row, column] - ball.color[i][use])[seen].mean() < 0.03


def test_winding_does_not_matter():
    solid = _ball()
    flipped = solid.faces.copy()
    flipped[::2] = flipped[::2, ::-1]
    light = Light()
    one = render(solid, np.eye(3), 128, light, _rng(), size=64)
    two = render(Solid(solid.vertices, flipped, face_rgb=solid.face_rgb), np.eye(3), 128, light, _rng(), size=64)
    assert np.abs(one.normal - two.normal).max() < 1e-3
    assert np.abs(one.color - two.color).mean() < 0.005


def test_holes_of_a_texture_show_what_is_behind():
    texture = np.full((8, 8, 4), 255, np.uint8)
    texture[:, :4] = (10, 20, 30, 0)
    square = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], np.float32)
    offset = np.array([0, 0, 0.2])
    vertices = np.concatenate([square + offset, square - offset]).astype(np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    corner = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)  # v downwards
    full = corner * [0.0, 1.0] + [0.9, 0.0]  # the square behind shows the right half only
    uv = np.stack([corner[[0, 1, 2]], corner[[0, 2, 3]], full[[0, 1, 2]], full[[0, 2, 3]]]).astype(np.float32)
    renders = render(Solid(vertices, faces, uv=uv, texture=texture), np.eye(3), 128, FLAT, _rng())
    z = renders.z[FRONT, 128]
    assert z[96] == pytest.approx(0.2, abs=1e-3) and z[160] == pytest.approx(-0.2, abs=1e-3)
    assert renders.mask[FRONT, 128, 96] == 1


def test_framing_is_met_unless_another_view_would_leave_its_frame():
    long_board = trimesh.creation.box((0.1, 0.2, 1.0)).vertices.astype(np.float32)
    placed, reached = place(long_board, np.eye(3), 144)
    assert reached < 144 and np.abs(placed).max() == pytest.approx(1 - 3 / 128, abs=1e-5)
    placed, reached = place(trimesh.creation.box((1.0, 0.2, 0.3)).vertices.astype(np.float32), np.eye(3), 144)
    assert reached == 144 and np.ptp(placed[:, 0]) * 128 == pytest.approx(144, abs=1e-3)
    assert np.abs(placed.min(0) + placed.max(0)).max() < 1e-6


def test_a_positive_pitch_shows_the_top():
    tops = [(random_pose(rng) @ [0, 1, 0]) for rng in (np.random.default_rng(i) for i in range(200))]
    pitch = np.degrees([np.arctan2(top[2], top[1]) for top in tops])
    assert -15 <= pitch.min() < -10 and 25 < pitch.max() <= 30
    assert all(abs(top[0]) < 1e-9 for top in tops)


def test_draws_depend_on_the_generator_alone():
    one, two = _rng(), _rng()
    assert random_light(one) == random_light(two) and random_framing(one) == random_framing(two)
    sizes = [random_framing(one) for _ in range(400)]
    assert 112 <= min(sizes) and max(sizes) <= 176 and 0.35 < np.mean([s == 144 for s in sizes]) < 0.55


def test_a_corner_is_darker_than_an_open_face():
    floor = trimesh.creation.box((1, 0.05, 1))
    wall = trimesh.creation.box((1, 0.6, 0.05))
    wall.apply_translation((0, 0.325, -0.45))
    mesh = trimesh.util.concatenate([floor, wall])
    rgb = np.full((len(mesh.faces), 3), 200, np.uint8)
    solid = Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=rgb)
    light = Light(ambient=1.0, sky=0.0, key=0.0, fill=0.0, occlusion=1.0)
    renders = render(solid, np.eye(3), 144, light, _rng())
    gray = renders.color[FRONT, :, 128].mean(-1)
    rows = np.flatnonzero(renders.mask[FRONT, :, 128] == 1)
    assert gray[rows[3]] > gray[rows[int(0.85 * len(rows))]] + 0.03  # top of the wall against its foot

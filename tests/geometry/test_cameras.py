"""Cameras: one path for both projections, the original's rays, the conventions page as numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from img2mv3d.conventions import OBJECT_FROM_WORLD, VIEW_NAMES
from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, Rig, pixel_centres, project, rays, unproject

GOLDEN = Path(__file__).parents[1] / "golden" / "cameras"
HOUSE_FROM_WONDER3D = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) -> (x, z, -y)

cameras = st.builds(
    Camera.orbit,
    st.floats(-180, 180),
    st.floats(-89, 89),
    half_width=st.floats(0.2, 2),
    distance=st.none() | st.floats(2, 6),
    size=st.integers(1, 300),
)


@settings(max_examples=60, deadline=None)
@given(camera=cameras, u=st.floats(-3, 400), v=st.floats(-3, 400), z=st.floats(0.1, 8))
def test_project_undoes_unproject(camera: Camera, u: float, v: float, z: float) -> None:
    uv, depth = project(camera, unproject(camera, np.array([u, v]), np.array(z)))
    np.testing.assert_allclose(uv, [u, v], atol=1e-6)
    np.testing.assert_allclose(depth, z, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 2)])
def test_tensors_and_arrays_give_the_same(shape: tuple[int, ...]) -> None:
    camera = Camera.orbit(30.0, 20.0, distance=3.0)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (*shape, 3))
    uv, z = project(camera, points)
    uv_t, z_t = project(camera, torch.from_numpy(points))
    assert uv.shape == (*shape, 2) and z.shape == shape
    np.testing.assert_allclose(uv_t.numpy(), uv, atol=1e-12)
    np.testing.assert_allclose(z_t.numpy(), z, atol=1e-12)


@pytest.mark.parametrize("size", [256, 1024])
@pytest.mark.parametrize("view", range(6), ids=VIEW_NAMES)
def test_rays_are_those_of_the_original_loader(view: int, size: int) -> None:
    golden = np.load(GOLDEN / "poses_rays.npz")
    camera = SIX_VIEWS.cameras(size)[view]
    origin, direction = rays(camera, golden[f"pix_{size}"].astype(float) + 0.5)
    their_direction = golden[f"rays_d_{size}"][view] @ HOUSE_FROM_WONDER3D.T
    their_origin = golden[f"rays_o_{size}"][view] @ HOUSE_FROM_WONDER3D.T
    their_origin -= their_direction * (their_origin * their_direction).sum(-1, keepdims=True)  # to our plane z = 0
    np.testing.assert_allclose(direction, their_direction, atol=1e-6)
    np.testing.assert_allclose(origin, their_origin, atol=1e-6)


def test_points_land_on_the_pixels_of_the_original() -> None:
    golden = np.load(GOLDEN / "poses_rays.npz")
    points = golden["points"] @ HOUSE_FROM_WONDER3D.T
    for camera, uv in zip(SIX_VIEWS.cameras(256), golden["points_uv_256"], strict=True):
        np.testing.assert_allclose(project(camera, points)[0] - 0.5, uv, atol=1e-3)


def test_a_decoded_normal_is_already_a_world_normal() -> None:
    golden = np.load(GOLDEN / "normals_ellipsoid.npz")
    hit = golden["masks"] > 0.5
    code = golden["normals_rgba"][..., :3].astype(np.float64) / 255 * 2 - 1
    theirs = golden["normals_world"] @ HOUSE_FROM_WONDER3D.T
    np.testing.assert_allclose(code[hit.reshape(code.shape[:-1])], theirs[hit.reshape(theirs.shape[:-1])], atol=1e-6)


def test_the_six_cameras_stand_where_the_conventions_say() -> None:
    assert SIX_VIEWS.names == VIEW_NAMES
    for azimuth, camera in zip(SIX_VIEWS.azimuth_deg, SIX_VIEWS.cameras(), strict=True):
        a = math.radians(azimuth)
        np.testing.assert_allclose(camera.forward, [-math.sin(a), 0, -math.cos(a)], atol=1e-12)
    right = SIX_VIEWS.cameras()[2]
    uv, z = project(right, np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.5]]))
    np.testing.assert_allclose(uv, [[128, 128], [64, 128]], atol=1e-9)  # +Z lies to the left in the right view
    np.testing.assert_allclose(z, [-1, 0], atol=1e-12)


def test_a_pixel_centre_is_at_a_half() -> None:
    camera = SIX_VIEWS.cameras(4)[0]
    corner = unproject(camera, pixel_centres(4)[0, 0], np.float32(0))
    np.testing.assert_allclose(corner, [-0.75, 0.75, 0], atol=1e-6)


def test_a_perspective_camera_sees_the_orthographic_width_at_the_origin() -> None:
    camera = Camera.orbit(0.0, half_width=1.0, distance=3.0, size=100)
    uv, z = project(camera, np.array([1.0, 0.0, 0.0]))
    np.testing.assert_allclose([*uv, z], [100, 50, 3], atol=1e-9)


def test_the_camera_embedding_constants_are_not_the_nominal_angles() -> None:
    table = np.load(GOLDEN / "camera_embeddings.npz")
    degrees = next(table[k] for k in table if "deg" in k)
    assert degrees.shape[0] == 6 and OBJECT_FROM_WORLD == 0.675


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"azimuth_deg": (0.0,)}, "names"),
        ({"kind": "fisheye"}, "fisheye"),
        ({"width": 0.0}, "positive"),
        ({"distance": 2.0}, "perspective"),
        ({"elevation_deg": (float("nan"),) * 6}, "finite"),
        ({"names": ("a",) * 6}, "repeat"),
    ],
)
def test_a_rig_that_makes_no_sense_is_refused(change: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rig(**change)


def test_a_mirrored_camera_is_refused() -> None:
    with pytest.raises(ValueError, match="right-handed"):
        Camera("orthographic", np.diag([-1.0, 1, 1, 1]), 1.0)


def test_a_rig_survives_its_plain_numbers() -> None:
    rig = Rig(("a", "b"), (0.0, 30.0), (10.0, 20.0), "perspective", 2.0, 3.0)
    assert Rig.from_dict(rig.to_dict()) == rig

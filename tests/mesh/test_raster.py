"""The rasteriser against rays, areas and a brute-force loop."""

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS, Camera, pixel_centres, project, unproject
from img2mv3d.mesh.raster import cover, rasterise, sample_bilinear

SQUARE = np.array([[-0.5, -0.25, 0.1], [0.5, -0.25, 0.1], [0.5, 0.75, 0.1], [-0.5, 0.75, 0.1]])
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def ellipsoid(steps: int = 40) -> tuple[np.ndarray, np.ndarray]:
    import trimesh

    ball = trimesh.creation.uv_sphere(count=[steps, steps])
    return np.asarray(ball.vertices) * [0.7, 0.5, 0.6], np.asarray(ball.faces, np.int64)


def test_two_triangles_of_a_square_leave_no_seam_and_cover_its_pixels_exactly() -> None:
    seen = rasterise(SQUARE, TWO, Camera.orbit(0.0, size=64))
    hit = seen.face >= 0
    assert hit[8:40, 16:48].all() and hit.sum() == 32 * 32
    np.testing.assert_allclose(seen.z[hit], -0.1)
    np.testing.assert_allclose(seen.bary[hit].sum(-1), 1)


@pytest.mark.parametrize("distance", [None, 2.5])
@pytest.mark.parametrize("azimuth", [0.0, 45.0, -90.0, 170.0])
def test_the_seen_point_projects_onto_its_pixel(azimuth: float, distance: float | None) -> None:
    vertices, faces = ellipsoid()
    camera = Camera.orbit(azimuth, 20.0, distance=distance, size=50)
    seen = rasterise(vertices, faces, camera)
    hit = seen.face >= 0
    points = (seen.bary[hit][..., None] * vertices[faces[seen.face[hit]]]).sum(1)
    uv, z = project(camera, points)
    np.testing.assert_allclose(uv, pixel_centres(50)[hit], atol=1e-4)
    np.testing.assert_allclose(z, seen.z[hit], atol=1e-9)
    np.testing.assert_allclose(unproject(camera, uv, z), points, atol=1e-9)


@pytest.mark.parametrize("distance", [None, 2.5])
def test_pixels_agree_with_a_loop_over_rays(distance: float | None) -> None:
    vertices, faces = ellipsoid(6)
    camera = Camera.orbit(-30.0, 10.0, distance=distance, size=9)
    seen = rasterise(vertices, faces, camera)
    uv, z = project(camera, vertices)
    for row in range(9):
        for column in range(9):
            best = np.inf
            for corner in faces:
                a, b, c = uv[corner]
                m = np.stack([b - a, c - a], 1)
                if abs(np.linalg.det(m)) < 1e-9:
                    continue
                s, t = np.linalg.solve(m, np.array([column + 0.5, row + 0.5]) - a)
                if min(s, t, 1 - s - t) > 1e-7:
                    w = np.array([1 - s - t, s, t])
                    depth = w @ z[corner] if distance is None else 1 / (w @ (1 / z[corner]))
                    best = min(best, depth)
            if np.isfinite(best) or np.isfinite(seen.z[row, column]):
                assert seen.z[row, column] == pytest.approx(best, abs=1e-6)


def test_the_nearer_square_hides_the_farther_in_either_order() -> None:
    both = np.concatenate([SQUARE, SQUARE + np.array([0, 0, 0.3])])
    faces = np.concatenate([TWO, TWO + 4])
    camera = Camera.orbit(0.0, size=16)
    for order in (faces, faces[::-1]):
        seen = rasterise(both, order, camera)
        np.testing.assert_allclose(seen.z[seen.face >= 0], -0.4)


def test_degenerate_missing_and_outside_faces_cover_nothing() -> None:
    flat = np.zeros((3, 3))
    one = np.array([[0, 1, 2]])
    for vertices in (flat, SQUARE[:3] + 10, np.array([[0.0, 0, 0], [1, 1, 0], [-1, -1, 0]])):
        for camera in (Camera.orbit(0.0, size=8), Camera.orbit(0.0, distance=2.0, size=8)):
            assert (rasterise(vertices, one, camera).face == -1).all()
    assert (rasterise(SQUARE, TWO[:0], Camera.orbit(0.0, size=8)).face == -1).all()
    behind = SQUARE + np.array([0, 0, 5])
    assert (rasterise(behind, TWO, Camera.orbit(0.0, distance=2.0, size=8)).face == -1).all()


def test_cover_takes_the_lower_index_on_a_tie() -> None:
    points = np.array([[0.0, 0], [8, 0], [8, 8], [0, 8]])
    face, _ = cover(points, np.zeros(4), np.array([[0, 1, 2], [0, 1, 2], [0, 2, 3]]), 8, 8)
    assert set(np.unique(face)) == {0, 2}


def test_bilinear_values_are_the_pixels_at_their_centres_and_the_mean_between() -> None:
    image = np.arange(24, dtype=np.float64).reshape(4, 6, 1)
    np.testing.assert_array_equal(sample_bilinear(image, np.array([[2.5, 1.5]])), [[8.0]])
    np.testing.assert_array_equal(sample_bilinear(image, np.array([[3.0, 2.0]])), [[11.5]])
    np.testing.assert_array_equal(sample_bilinear(image, np.array([[-5.0, 99.0]])), [[18.0]])


def test_six_views_of_an_ellipsoid_have_its_shadow_s_area() -> None:
    vertices, faces = ellipsoid(80)
    for camera, azimuth in zip(SIX_VIEWS.cameras(128), SIX_VIEWS.azimuth_deg, strict=True):
        half = np.hypot(0.7 * np.cos(np.radians(azimuth)), 0.6 * np.sin(np.radians(azimuth)))
        area = (rasterise(vertices, faces, camera).face >= 0).mean() * 4
        assert area == pytest.approx(np.pi * half * 0.5, rel=0.01)

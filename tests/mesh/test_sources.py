"""One picture and a mesh: what is seen, what is hidden, where the picture says it is."""

import numpy as np
import pytest

from img2mv3d.geometry.cameras import Camera, pixel_centres, project, unproject
from img2mv3d.geometry.sdf import Sphere, sample_grid
from img2mv3d.mesh.arrays import vertex_normals
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.sources import Source, TextureSource


def ball(*centres: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    solid = Sphere(radius=0.3)
    for centre in centres:
        solid = solid | Sphere(centre, 0.3)
    body = extract(sample_grid(solid, 40), faces=2_000)
    return body.vertices, body.faces


def ramps(height: int, width: int) -> np.ndarray:
    """Red is u, green is v, both 0..1 over the picture."""
    uv = pixel_centres(height, width) / [width, height]
    return np.concatenate([uv, np.zeros((height, width, 1))], axis=-1).astype(np.float32)


@pytest.mark.parametrize("distance", [None, 2.5])
def test_the_picture_is_read_where_the_camera_projects(distance: float | None) -> None:
    vertices, faces = ball()
    camera = Camera.orbit(30.0, 10.0, distance=distance, size=64)
    source = Source(camera, ramps(64, 64), np.ones((64, 64), np.float32))
    projection = TextureSource(source, vertices, faces, 1000.0).project(vertices, vertex_normals(vertices, faces))
    uv, _ = project(camera, vertices[projection.index])
    np.testing.assert_allclose((projection.low + projection.high)[:, :2], uv / 64, atol=1e-3)
    assert (projection.weight > 0).all() and 0.3 < len(projection.index) / len(vertices) < 0.55


def test_a_photo_in_a_frame_of_its_own_is_read_through_scale_and_offset() -> None:
    vertices, faces = ball()
    camera = Camera.orbit(0.0, size=64)
    source = Source(camera, ramps(90, 150), np.ones((90, 150), np.float32), (2.0, 2.0), (10.0, -20.0), is_photo=True)
    projection = TextureSource(source, vertices, faces, 1000.0).project(vertices, vertex_normals(vertices, faces))
    uv, _ = project(camera, vertices[projection.index])
    np.testing.assert_allclose((projection.low + projection.high)[:, :2], (uv * 2 + [10, -20]) / [150, 90], atol=1e-3)


def test_what_is_behind_is_not_seen() -> None:
    vertices, faces = ball((0.0, 0.0, -0.65))
    camera = Camera.orbit(0.0, size=64)
    source = Source(camera, ramps(64, 64), np.ones((64, 64), np.float32))
    projection = TextureSource(source, vertices, faces, 1000.0).project(vertices, vertex_normals(vertices, faces))
    assert vertices[projection.index, 2].min() > -0.05


def test_trust_falls_towards_rims_and_grazing_angles_and_ends_with_the_mask() -> None:
    vertices, faces = ball()
    camera = Camera.orbit(0.0, size=128)
    alpha = np.zeros((128, 128), np.float32)
    alpha[:, 64:] = 1
    projection = TextureSource(Source(camera, ramps(128, 128), alpha), vertices, faces, 1000.0)
    points = unproject(camera, np.array([[63.0, 64], [64.6, 64], [68, 64], [76, 64], [82, 64]]), np.zeros(5))
    points[:, 2] = np.sqrt(0.09 - points[:, 0] ** 2 - points[:, 1] ** 2)
    seen = projection.project(points, points / 0.3)
    assert seen.index.tolist() == [1, 2, 3, 4]
    assert seen.weight[0] < 0.5 * seen.weight[1] and seen.weight[1] > seen.weight[2] > seen.weight[3]


def test_a_finer_picture_is_averaged_not_skipped() -> None:
    """A chessboard finer than the samples becomes grey: no flicker."""
    vertices, faces = ball()
    board = (np.indices((1024, 1024)).sum(0) % 2).astype(np.float32)[..., None].repeat(3, -1)
    camera = Camera.orbit(0.0)
    photo = Source(camera, board, np.ones((1024, 1024), np.float32), (4.0, 4.0), (0.0, 0.0))
    projection = TextureSource(photo, vertices, faces, 64.0).project(vertices, vertex_normals(vertices, faces))
    np.testing.assert_allclose(projection.low + projection.high, 0.5, atol=0.02)

"""Charts: every face has its own texels, nothing is mirrored or torn, equal input gives equal charts."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from img2mv3d.geometry.sdf import Box, Capsule, Solid, Sphere, Torus, sample_grid
from img2mv3d.mesh.arrays import face_normals
from img2mv3d.mesh.extract import extract
from img2mv3d.mesh.raster import claims
from img2mv3d.mesh.unwrap import STEEPEST, unwrap

SIZE = 256
SOLIDS: dict[str, Solid] = {
    "sphere": Sphere(),
    "torus": Torus(axis=2),
    "box": Box(half=(0.5, 0.3, 0.2), yaw_deg=20),
    "fork": Box((0, 0, -0.3), (0.4, 0.4, 0.05)) | Box((0, 0, 0.3), (0.4, 0.4, 0.05)) | Capsule(),
}


def body_of(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "noise":
        noise = gaussian_filter(np.random.default_rng(3).normal(size=(32, 32, 32)).astype(np.float32), 3)
        body = extract(0.05 * (noise / noise.std() + np.float32(1)), faces=3_000)
    else:
        body = extract(sample_grid(SOLIDS[name], 40), faces=3_000)
    return body.vertices, body.faces


@pytest.mark.parametrize("name", [*SOLIDS, "noise"])
def test_no_texel_belongs_to_two_faces(name: str) -> None:
    vertices, faces = body_of(name)
    chart = unwrap(vertices, faces, SIZE)
    px = np.stack([chart.uv[:, 0], 1 - chart.uv[:, 1]], axis=1) * SIZE
    both = claims(px, chart.faces, SIZE, SIZE) - np.bincount(chart.face[chart.face >= 0], minlength=len(faces))
    assert both.sum() <= 0.001 * (chart.face >= 0).sum()
    assert px.min() >= 1 and px.max() <= SIZE - 1
    np.testing.assert_array_equal(chart.original[chart.faces], faces)


@pytest.mark.parametrize("name", [*SOLIDS, "noise"])
def test_faces_keep_their_side_and_most_of_their_size(name: str) -> None:
    vertices, faces = body_of(name)
    chart = unwrap(vertices, faces, SIZE)
    corner = chart.uv[chart.faces] * SIZE
    side, other = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    flat = (side[:, 0] * other[:, 1] - side[:, 1] * other[:, 0]) / chart.density**2
    true = np.linalg.norm(face_normals(vertices, faces), axis=1)
    large = true > 1e-8
    assert (flat[large] > 0).mean() > 0.999  # counter-clockwise with v upwards: not mirrored
    assert np.median(flat[large] / true[large]) > 0.7
    assert (flat[large] / true[large] > STEEPEST - 0.01).mean() > 0.999
    assert flat.max() <= true.max() * 1.001


def test_charts_are_few_and_the_square_is_used() -> None:
    chart = unwrap(*body_of("sphere"), SIZE)
    assert chart.charts == 6 and (chart.face >= 0).mean() > 0.4


def test_gaps_between_charts_are_wide_enough_for_filters() -> None:
    """Two charts never touch: round every chart's texels lies a ring that belongs to it or to nobody."""
    vertices, faces = body_of("fork")
    chart = unwrap(vertices, faces, SIZE)
    label = np.zeros(len(faces), np.int64)
    for _ in range(200):  # the smallest vertex number spreads over a chart
        lowest = np.full(len(chart.original), len(chart.original))
        np.minimum.at(lowest, chart.faces.ravel(), np.repeat(label if label.any() else chart.faces.min(1), 3))
        spread = lowest[chart.faces].min(1)
        if (spread == label).all():
            break
        label = spread
    owner = np.where(chart.face >= 0, label[chart.face], -1)
    for one, two in ((owner[:, 1:], owner[:, :-1]), (owner[1:], owner[:-1]), (owner[:, 2:], owner[:, :-2])):
        assert ((one == two) | (one < 0) | (two < 0)).all()


def test_equal_meshes_have_equal_charts() -> None:
    vertices, faces = body_of("torus")
    one, two = unwrap(vertices, faces, 128), unwrap(vertices.copy(), faces.copy(), 128)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_texture_without_room_says_so_by_density_zero() -> None:
    assert unwrap(*body_of("noise"), 8).density == 0

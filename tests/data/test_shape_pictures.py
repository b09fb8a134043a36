"""Pictures to learn shape from: depths, normals and columns are where geometry says; deformations can be undone."""

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from img2mv3d.data.corpus import Solid
from img2mv3d.data.scene import Light
from img2mv3d.data.shape_pictures import picture, placed, turned_by
from img2mv3d.data.shape_samples import clean_sample, random_sample
from img2mv3d.data.solids import carve, inside
from img2mv3d.data.variation import Deformation, Part, beside
from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.columns import BINS, COLUMNS, CROP, SIZE

FLAT = Light(ambient=1.0, sky=0.0, key=0.0, fill=0.0, occlusion=0.0)


def _part(mesh: trimesh.Trimesh, deformation: Deformation | None = None) -> Part:
    rgb = np.round((mesh.triangles_center.clip(-0.5, 0.5) + 0.5) * 255).astype(np.uint8)
    solid = Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=rgb)
    return Part(solid, carve(solid.vertices, solid.faces), deformation or Deformation())


@pytest.fixture(scope="module")
def ball() -> Part:
    return _part(trimesh.creation.icosphere(subdivisions=4, radius=0.5))


@pytest.fixture(scope="module")
def box() -> Part:
    return _part(trimesh.creation.box((0.2, 0.4, 0.8)))


def test_a_carved_ball_is_a_ball(ball):
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.6, 0.6, (2000, 3))
    radius = np.linalg.norm(points, axis=1)
    clear = np.abs(radius - 0.5) > 0.03
    assert ((inside(ball.solid, points) > 0.5) == (radius < 0.5))[clear].all()


def test_an_open_sheet_keeps_a_cell_of_thickness():
    sheet = trimesh.Trimesh([[-0.3, -0.3, 0], [0.3, -0.3, 0], [0, 0.4, 0]], [[0, 1, 2]], process=False)
    solid = carve(np.asarray(sheet.vertices, np.float32), np.asarray(sheet.faces))
    assert inside(solid, np.array([[0.0, 0.0, 0.0]]))[0] > 0.4
    assert inside(solid, np.array([[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]])).max() == 0


def test_a_ball_has_its_exact_layers_normals_and_columns(ball):
    record = picture("ball", [ball], (30.0, 10.0, 0.0), 1.0, np.inf, FLAT, None)
    ticks = (np.arange(SIZE) + 0.5) * (2 * CROP / SIZE) - CROP
    x, y = np.meshgrid(ticks, -ticks)
    within = np.hypot(x, y) < 0.45
    half = np.sqrt(np.maximum(0.25 - x**2 - y**2, 0))
    assert np.abs(record["front"].astype(float) + half)[within].max() < 0.02
    assert np.abs(record["back"].astype(float) - half)[within].max() < 0.02
    normal = np.stack([x, y, half], axis=-1) / 0.5
    assert (record["normal"] / 127 * normal).sum(-1)[within].min() > 0.98
    solid = np.unpackbits(record["solid"], axis=-1)
    assert solid.shape == (COLUMNS, COLUMNS, BINS)
    assert solid[32, 32].sum() * 0.04 == pytest.approx(1.0, abs=0.08)
    assert record["ratio"] == pytest.approx(1.0, abs=0.01) and record["pitch_deg"] == 10


def test_a_camera_above_sees_the_top_and_azimuth_turns_the_front_to_the_right(box):
    vertices = np.array([[0, 0, 0.5], [0, 0.5, 0]])
    front, top = (vertices @ turned_by(0.0, 90.0).T).round(6)
    assert top[2] > 0.4 and front[1] < -0.4
    assert (vertices @ turned_by(90.0, 0.0).T)[0].round(6)[0] == 0.5


def test_what_is_seen_far_too_deep_is_refused(box):
    with pytest.raises(NothingFoundError, match="deep"):
        picture("box", [box], (0.0, 0.0, 0.0), 1.0, np.inf, FLAT, None)  # 0.8 deep, 0.4 high


@given(
    st.floats(0, 360),
    st.floats(-15, 30),
    st.sampled_from([2.5, 6.0, np.inf]),
    st.floats(0.7, 1.4),
    st.floats(-0.3, 0.3),
)
def test_places_and_deformations_can_be_undone(yaw, pitch, distance, stretch, taper):
    rng = np.random.default_rng(1)
    points = rng.uniform(-0.4, 0.4, (50, 3))
    deformation = Deformation(stretch, taper, 0.7, (0.1, -0.2, 0.05))
    assert np.allclose(deformation.backward(deformation.forward(points)), points, atol=1e-9)
    placement, there = placed(points, turned_by(float(yaw), float(pitch), 3.0), 1.1, distance)
    assert np.ptp(there[:, :2], axis=0).max() == pytest.approx(1.1)
    assert np.allclose(placement.forward(points), there)
    assert np.allclose(placement.backward(there), points, atol=1e-9)


def test_a_near_camera_sees_what_is_near_larger():
    points = np.array([[-0.2, 0, 0.4], [0.2, 0, 0.4], [-0.2, 0, -0.4], [0.2, 0, -0.4], [0, 0.3, 0], [0, -0.3, 0]])
    _, there = placed(points, np.eye(3), 1.0, 2.5)
    assert np.ptp(there[:2, 0]) > 1.3 * np.ptp(there[2:4, 0])


def test_joined_objects_touch_and_stay_apart(ball, box):
    rng = np.random.default_rng(0)
    for _ in range(10):
        second = beside(ball, box, rng)
        vertices = second.vertices()
        assert np.linalg.norm(vertices, axis=1).min() < 0.75  # of a ball of 0.5
        assert ball.inside(vertices).mean() < 0.6


def test_a_mirrored_sample_is_the_mirror_image(ball):
    record = picture("ball", [ball], (20.0, 0.0, 0.0), 1.1, np.inf, FLAT, None)
    plain, turned = clean_sample(record), None
    for seed in range(20):
        sample = random_sample(record, np.random.default_rng(seed))
        if np.allclose(sample.far, plain.far[:, :, ::-1]) and not np.allclose(sample.far, plain.far):
            turned = sample
            break
    assert turned is not None
    assert np.allclose(turned.front, plain.front[:, ::-1])
    assert np.allclose(turned.normal[0], -plain.normal[0, :, ::-1]) and np.allclose(
        turned.normal[1:], plain.normal[1:, :, ::-1]
    )
    assert np.allclose(turned.solid, plain.solid[:, ::-1])


def test_equal_numbers_give_equal_pictures(ball, box):
    one, two = (picture("ball", [ball], (20.0, 5.0, 1.0), 1.1, 4.0, FLAT, np.random.default_rng(3)) for _ in range(2))
    assert one.tobytes() == two.tobytes()

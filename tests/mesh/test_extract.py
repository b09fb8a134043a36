"""Isosurfaces of exact solids: closed, the right way out, of the right size, and honest about what was dropped."""

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from img2mv3d.errors import NothingFoundError, SurfaceError
from img2mv3d.geometry.sdf import Box, Capsule, Solid, Sphere, Torus, sample_grid
from img2mv3d.mesh import extract as extract_module
from img2mv3d.mesh.extract import _mend, extract, is_closed, isosurface, volume

SOLIDS: dict[str, tuple[Solid, float]] = {
    "sphere": (Sphere(radius=0.5), 4 / 3 * np.pi * 0.125),
    "box": (Box(half=(0.5, 0.3, 0.2)), 8 * 0.5 * 0.3 * 0.2),
    "torus": (Torus(ring=0.45, tube=0.15), 2 * np.pi**2 * 0.45 * 0.15**2),
}


@pytest.mark.parametrize("name", SOLIDS)
@pytest.mark.parametrize("faces", [2_000, 50_000])
def test_a_solid_keeps_its_volume_and_is_closed(name: str, faces: int) -> None:
    solid, truth = SOLIDS[name]
    body = extract(sample_grid(solid, 64), faces=faces)
    assert len(body.faces) <= faces and body.notes["faces"] == len(body.faces)
    assert body.notes["watertight"] and body.notes["warnings"] == []
    assert volume(body.vertices, body.faces) == pytest.approx(truth, rel=0.03)
    witness = trimesh.Trimesh(body.vertices, body.faces, process=False)
    assert witness.is_volume and witness.volume == pytest.approx(body.notes["volume"])
    assert body.faces.dtype == np.int64 and set(np.unique(body.faces)) == set(range(len(body.vertices)))


def test_vertices_lie_on_the_surface_along_their_own_axes() -> None:
    solid = Box(centre=(0.2, -0.1, 0.05), half=(0.5, 0.3, 0.2))
    vertices, _ = isosurface(sample_grid(solid, 65))
    assert np.abs(solid.distance(vertices)).max() < 0.02
    np.testing.assert_allclose(vertices.min(0), [-0.3, -0.4, -0.15], atol=1e-3)
    np.testing.assert_allclose(vertices.max(0), [0.7, 0.2, 0.25], atol=1e-3)


def test_smoothing_does_not_eat_what_is_thin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rod and a plate of 1.4 cells, which the blur alone makes a good deal thinner."""
    cell = 2 / 95
    thin = Box((0, 0, 0.4), (0.5, 0.5, 0.7 * cell)) | Capsule((-0.5, 0, -0.4), (0.5, 0, -0.4), 0.9 * cell)
    field = sample_grid(thin, 96)
    raw = volume(*isosurface(field))
    assert extract(field, faces=100_000).notes["volume"] > 0.95 * raw
    monkeypatch.setattr(extract_module, "THIN", 0.0)
    assert extract(field, faces=100_000).notes["volume"] < 0.85 * raw


def test_smoothing_still_takes_ripple_off_a_thick_body() -> None:
    field = sample_grid(Sphere(radius=0.5), 64)
    ripple = field + 0.2 * 2 / 63 * (np.indices(field.shape).sum(0) % 2 * 2 - 1)
    off = [np.abs(np.linalg.norm(isosurface(ripple, smoothing=s)[0], axis=1) - 0.5).mean() for s in (0.0, 0.5)]
    assert off[1] < 0.6 * off[0]


def test_floaters_are_dropped_and_counted_parts_are_kept() -> None:
    solid = Sphere(radius=0.4) | Sphere((0.7, 0.7, 0.7), 0.035) | Sphere((0.7, -0.7, 0.7), 0.035)  # each 0.8 % of it
    solid = solid | Sphere((-0.7, 0.0, 0.0), 0.15)
    notes = extract(sample_grid(solid, 96)).notes
    assert (notes["pieces"], notes["pieces_dropped"], notes["voids_dropped"]) == (2, 2, 0)
    assert any("2 loose pieces" in sentence for sentence in notes["warnings"])


@pytest.mark.parametrize(("place", "radius"), [((0.7, 0.7, 0.0), 0.015), ((0.0, 0.0, 0.0), 0.04)])
def test_crumbs_that_no_one_sees_go_without_a_word(place: tuple[float, float, float], radius: float) -> None:
    """A speck beside the body, and a piece in the hollow of a shell."""
    shell = Sphere(radius=0.5) - Sphere(radius=0.3)
    notes = extract(sample_grid(shell | Sphere(place, radius), 160)).notes
    assert notes["pieces_dropped"] == 1 and notes["warnings"] == []


def test_a_bubble_inside_is_filled() -> None:
    body = extract(sample_grid(Sphere(radius=0.6) - Sphere(radius=0.3), 64))
    assert body.notes["voids_dropped"] == 1 and body.notes["pieces"] == 1
    assert body.notes["volume"] == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.02)


def test_a_body_that_leaves_the_grid_is_capped() -> None:
    body = extract(sample_grid(Capsule((0, -2, 0), (0, 2, 0), 0.4), 48))
    assert body.notes["watertight"] and body.vertices[:, 1].max() == pytest.approx(1, abs=0.05)
    assert extract(np.full((8, 8, 8), -1, np.float32)).notes["watertight"]


def test_nothing_and_nan_are_errors_with_words() -> None:
    for sdf in (np.ones((8, 8, 8), np.float32), np.zeros((8, 8, 8), np.float32)):
        with pytest.raises(NothingFoundError, match="empty"):
            extract(sdf)
    broken = sample_grid(Sphere(), 16)
    broken[3, 3, 3] = np.nan
    with pytest.raises(SurfaceError, match="not numbers"):
        extract(broken)
    with pytest.raises(ValueError, match="at least 12"):
        extract(sample_grid(Sphere(), 16), faces=3)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.5, 2.0, 3.0]), st.floats(-0.5, 2.0), st.sampled_from([300, 2000]))
def test_rough_fields_become_closed_meshes_too(seed: int, sigma: float, level: float, faces: int) -> None:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(28, 28, 28)).astype(np.float32), sigma)
    sdf = 0.05 * (noise / noise.std() + np.float32(level))
    body = extract(sdf, faces=faces)
    assert body.notes["watertight"] and is_closed(body.faces) and volume(body.vertices, body.faces) > 0
    assert len(body.faces) <= faces or body.notes["warnings"]


def test_equal_fields_give_equal_meshes() -> None:
    sdf = sample_grid(Torus(), 64)
    one, two = extract(sdf, faces=1000), extract(sdf.copy(), faces=1000)
    assert np.array_equal(one.vertices, two.vertices) and np.array_equal(one.faces, two.faces)


def test_closed_means_two_faces_on_every_edge_in_opposite_directions() -> None:
    tetrahedron = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    assert is_closed(tetrahedron)
    assert not is_closed(tetrahedron[:3])
    assert not is_closed(np.concatenate([tetrahedron[:3], tetrahedron[3:, ::-1]]))
    assert not is_closed(np.concatenate([tetrahedron, tetrahedron]))
    assert not is_closed(tetrahedron[:0])


def test_two_bodies_that_share_an_edge_are_mended_in_place() -> None:
    """Two tetrahedra on one edge: four faces there, as after a collapse that closes a tunnel."""
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, -1, 0], [0, 0, -1]])
    one = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    two = np.array([[0, 4, 1], [0, 1, 5], [1, 4, 5], [4, 0, 5]])
    folded = np.array([[2, 3, 4], [2, 4, 3], [1, 1, 2]])
    faces = np.concatenate([one, two, folded])
    assert not is_closed(faces)
    vertices, mended = _mend(points, faces)
    assert is_closed(mended) and len(mended) == 10
    assert volume(vertices, mended) == pytest.approx(volume(points, np.concatenate([one, two])))

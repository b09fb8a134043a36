"""Fairing takes the steps of a coarse grid away and leaves flat flat, sharp sharp, thin parts and closed surfaces."""

import numpy as np
import pytest

from img2mv3d.geometry.sdf import Box, Solid, Sphere
from img2mv3d.mesh.arrays import face_normals
from img2mv3d.mesh.extract import extract, is_closed, isosurface
from img2mv3d.mesh.fairing import MOST, faired

NODES = 64
CELL = 2 / (NODES - 1)
CUBE = Box((0, 0, 0), (0.5, 0.4, 0.45), 20)


def field(solid: Solid, steps: float = 0.0) -> np.ndarray:
    """Distances; steps: of a staircase in z, as columns leave one, world units."""
    line = np.linspace(-1, 1, NODES)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    if steps:
        points = points + np.array([0, 0, 1]) * (steps * np.sin(points[:, :1] * 40) * np.sin(points[:, 1:2] * 40))
    return solid.distance(points).reshape((NODES,) * 3).astype(np.float32)


def roughness(vertices: np.ndarray, faces: np.ndarray, solid: Solid) -> float:
    return float(np.abs(solid.distance(vertices)).mean() / CELL)


@pytest.mark.parametrize("solid", [CUBE, Sphere(radius=0.55)])
def test_steps_become_less_and_nothing_moves_far(solid: Solid) -> None:
    vertices, faces = isosurface(field(solid, 0.3 * CELL))
    after = faired(vertices, faces, CELL)
    assert roughness(after, faces, solid) < 0.75 * roughness(vertices, faces, solid)
    assert np.linalg.norm(after - vertices, axis=1).max() <= MOST * CELL + 1e-12
    assert is_closed(faces)


def test_edges_stay_sharp() -> None:
    """Nine tenths of a cube's faces look along one of its six directions afterwards, no fewer than before."""
    vertices, faces = isosurface(field(CUBE))
    turn = np.radians(20)
    axes = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])

    def flat(points: np.ndarray) -> float:
        normal = face_normals(points, faces)
        area = np.linalg.norm(normal, axis=1)
        along = np.abs(normal @ axes.T).max(1) / np.maximum(area, 1e-20)
        return float(area[along > np.cos(np.radians(8))].sum() / area.sum())

    assert flat(faired(vertices, faces, CELL)) > max(0.88, flat(vertices) - 0.02)


def test_it_is_asked_for_and_makes_equal_meshes() -> None:
    solid = field(CUBE, 0.3 * CELL)
    plain, first, second = extract(solid), extract(solid, fair=True), extract(solid, fair=True)
    assert np.array_equal(first.vertices, second.vertices) and first.notes["watertight"]
    assert roughness(first.vertices, first.faces, CUBE) < roughness(plain.vertices, plain.faces, CUBE)


def test_what_lies_on_the_photos_outline_stays_there_and_the_rest_is_faired_as_before() -> None:
    ball = Sphere(radius=0.08)
    ticks = (np.arange(256) + 0.5) / 128 - 1
    outline = np.hypot(ticks[None, :], ticks[:, None]) - 0.08
    vertices, faces = isosurface(field(ball))
    free, held = faired(vertices, faces, CELL), faired(vertices, faces, CELL, outline)
    rim = np.abs(np.hypot(*vertices[:, :2].T) - 0.08) < 0.1 * CELL
    before, apart, together = (np.hypot(*points[rim, :2].T).mean() for points in (vertices, free, held))
    assert abs(together - before) < 0.02 * CELL and apart < before - 0.1 * CELL
    assert np.array_equal(held[:, 2], free[:, 2])  # along the line of sight the photo says nothing
    wide = np.full((256, 256), -1.0)  # nothing lies on such an outline
    assert np.array_equal(faired(vertices, faces, CELL, wide), free)

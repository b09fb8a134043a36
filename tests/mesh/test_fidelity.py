"""The two figures about the photo on the mesh: right on made-up cases, and they fall when something is spoilt."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from img2mv3d.geometry.cameras import SIX_VIEWS, Camera
from img2mv3d.geometry.sdf import Sphere, render_world
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.fidelity import front_psnr, seam_contrast, silhouette_iou
from img2mv3d.mesh.preview import render_mesh
from tests.balls import ball

FRONT = Camera.orbit(0.0)


def painted(color: np.ndarray) -> MeshArrays:
    """A ball of about 0.6, the given colour (0..255) at each vertex or everywhere."""
    mesh = ball()
    return replace(mesh, colors=np.broadcast_to(color, mesh.colors.shape).astype(np.uint8))


def test_a_sphere_covers_its_own_outlines() -> None:
    _, _, mask, _ = render_world(Sphere(radius=0.5), SIX_VIEWS, 64)
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    assert silhouette_iou(sphere.vertices, sphere.faces, mask, SIX_VIEWS).mean() > 0.97
    assert not silhouette_iou(np.zeros((0, 3)), np.zeros((0, 3), np.int64), mask, SIX_VIEWS).any()


def test_a_mesh_against_its_own_picture_has_no_error() -> None:
    mesh = ball()
    picture = render_mesh(mesh, FRONT, 128, style="unlit")
    db, covered = front_psnr(mesh, FRONT, picture)
    assert db == pytest.approx(100.0) and covered == 1


def test_the_psnr_is_the_one_of_a_known_error() -> None:
    picture = render_mesh(painted(np.array([100, 100, 100])), FRONT, 128, style="unlit")
    db, _ = front_psnr(painted(np.array([125, 100, 75])), FRONT, picture)
    assert db == pytest.approx(-10 * np.log10((25 / 255) ** 2 * 2 / 3), abs=0.05)


def test_what_the_mesh_does_not_cover_is_counted_apart() -> None:
    picture = render_mesh(painted(np.array([100, 100, 100])), FRONT, 128, style="unlit")
    small = replace(painted(np.array([100, 100, 100])), vertices=ball().vertices * np.sqrt(0.5))
    db, covered = front_psnr(small, FRONT, picture)
    assert covered == pytest.approx(0.5, abs=0.05) and db == pytest.approx(100.0)
    assert front_psnr(small, FRONT, np.zeros((128, 128, 4), np.uint8)) == (0.0, 0.0)


def halves(step: float) -> tuple[MeshArrays, np.ndarray]:
    """A fine ball: the photo has the +z half; the other one is lighter by `step`."""
    body = trimesh.creation.icosphere(subdivisions=5, radius=0.6)
    by_photo = (body.vertices[:, 2] > 0).astype(float)
    colors = np.repeat(np.where(by_photo[:, None] > 0, 100, 100 + 255 * step), 3, axis=1).astype(np.uint8)
    return MeshArrays(np.array(body.vertices), np.array(body.faces, np.int64), colors), by_photo


def test_a_step_is_found_at_the_border_and_nowhere_else() -> None:
    mesh, by_photo = halves(0.4)
    found = seam_contrast(mesh, mesh.vertices, mesh.faces, by_photo)
    assert found.pairs > 200 and found.jump > 4 * found.usual
    assert seam_contrast(*_unpainted(halves(0.0))) == (0.0, 0.0, found.pairs)
    assert seam_contrast(*_unpainted(halves(0.2))).jump == pytest.approx(found.jump / 2, rel=0.05)


def test_without_a_border_there_is_no_step() -> None:
    mesh = ball()
    found = seam_contrast(mesh, mesh.vertices, mesh.faces, np.ones(len(mesh.vertices)))
    assert (found.jump, found.pairs) == (0.0, 0)


def test_a_rim_in_front_of_something_far_is_no_seam() -> None:
    """Two balls, one behind the other from 45 degrees: their colours meet in the picture, not on a surface."""
    near, far = painted(np.array([0, 0, 0])), painted(np.array([255, 255, 255]))
    way = np.array([np.sin(np.pi / 4), 0, np.cos(np.pi / 4)])
    vertices = np.concatenate([near.vertices * 0.4 + 0.5 * way, far.vertices * 0.9 - 0.5 * way])
    faces = np.concatenate([near.faces, far.faces + len(near.vertices)])
    both = MeshArrays(vertices, faces, np.concatenate([near.colors, far.colors]))
    by_photo = np.repeat([1.0, 0.0], len(near.vertices))
    assert seam_contrast(both, vertices, faces, by_photo, (45.0,)).jump == 0


def _unpainted(case: tuple[MeshArrays, np.ndarray]) -> tuple[MeshArrays, np.ndarray, np.ndarray, np.ndarray]:
    mesh, by_photo = case
    return mesh, mesh.vertices, mesh.faces, by_photo

"""The shape of a mesh, and its normals."""

import numpy as np
import pytest
import trimesh

from img2mv3d.mesh.arrays import MeshArrays, MeshLike, face_normals, vertex_normals
from img2mv3d.values import Mesh


def ball() -> MeshArrays:
    body = trimesh.creation.icosphere(subdivisions=3, radius=0.6)
    vertices = np.array(body.vertices)
    return MeshArrays(vertices, np.array(body.faces, np.int64), np.zeros(vertices.shape, np.uint8))


def test_values_mesh_is_mesh_like() -> None:
    mesh = ball()
    assert isinstance(Mesh(mesh.vertices, mesh.faces, mesh.colors), MeshLike)


def test_vertex_normals_of_a_ball_are_its_directions() -> None:
    mesh = ball()
    normal = vertex_normals(mesh.vertices, mesh.faces)
    np.testing.assert_allclose(normal, mesh.vertices / 0.6, atol=0.03)


def test_face_normals_are_twice_the_area_long_and_look_outwards() -> None:
    mesh = ball()
    normal = face_normals(mesh.vertices, mesh.faces)
    assert (np.einsum("fc,fc->f", normal, mesh.vertices[mesh.faces].mean(1)) > 0).all()
    assert np.linalg.norm(normal, axis=1).sum() / 2 == pytest.approx(4 * np.pi * 0.36, rel=0.01)


def test_faces_that_cancel_out_leave_a_unit_normal() -> None:
    corner = np.eye(3)
    normal = vertex_normals(corner, np.array([[0, 1, 2], [0, 2, 1]]))
    np.testing.assert_array_equal(normal, [[0, 0, 1]] * 3)

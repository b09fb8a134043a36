"""What cameras see of a true surface, and what is thin."""

import numpy as np
import pytest
import trimesh

from experiments.fit.truth import SPHERE, THIN, exact_views, seen_by, truth_of
from img2mv3d.data.corpus import Solid
from img2mv3d.eval.surface import visible_surface
from img2mv3d.geometry.cameras import Rig


def solid_of(*parts: trimesh.Trimesh) -> Solid:
    mesh = trimesh.util.concatenate(list(parts))
    gray = np.full((len(mesh.faces), 3), 90, np.uint8)
    return Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=gray)


def test_six_cameras_see_the_sides_of_a_box_and_not_its_top() -> None:
    truth = truth_of(solid_of(trimesh.creation.box((0.6, 0.6, 0.6))))
    upright = np.abs(truth.surface.normals[:, 1]) < 0.5
    assert truth.seen[upright].mean() > 0.999 and not truth.seen[~upright].any()
    assert not truth.thin.any()


def test_a_table_top_is_thin_and_its_legs_are_not() -> None:
    width = 2 * SPHERE * 0.8  # of the world; placed, the table's widest side
    top = trimesh.creation.box((0.8, 0.8 * 0.8 * THIN / width, 0.6))
    leg = trimesh.creation.box((0.1, 0.3, 0.1))
    leg.apply_translation((0, -0.2, 0))
    truth = truth_of(solid_of(top, leg))
    lying = np.abs(truth.surface.normals[:, 1]) > 0.9
    of_top = lying & (truth.surface.points[:, 1] > truth.surface.points[:, 1].max() - 0.1)
    assert truth.thin[of_top].mean() > 0.9 and not truth.thin[~lying].any()
    thick = trimesh.creation.box((0.8, 0.12, 0.6))
    assert not truth_of(solid_of(thick)).thin.any()


def test_a_house_without_a_floor_has_no_thin_roof() -> None:
    box = trimesh.creation.box((0.6, 0.6, 0.6))
    open_below = box.copy()
    open_below.update_faces(box.face_normals[:, 1] > -0.5)
    assert truth_of(solid_of(open_below)).thin.mean() < 0.01


def test_views_are_large_and_inside_of_the_frame() -> None:
    views, z, vertices = exact_views(solid_of(trimesh.creation.box((0.4, 0.6, 0.2))))
    assert np.ptp(vertices[:, 1]) * 128 == pytest.approx((views.mask[0] > 0.5).any(1).sum(), abs=2)
    assert not views.mask[:, [0, -1]].any() and not views.mask[:, :, [0, -1]].any()
    assert (z[views.mask < 0.01] == 0).all()


def test_a_camera_sees_its_own_side_only():
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    vertices, faces = mesh.vertices.copy(), mesh.faces.copy()
    surface = visible_surface(vertices, faces, np.random.default_rng(0), samples=2000)
    front = Rig(("front",), (0.0,), (0.0,))
    seen = seen_by(surface, vertices, faces, front)
    assert (seen == (surface.normals[:, 2] > 0.05)).mean() > 0.99
    with pytest.raises(ValueError, match="orthographic"):
        seen_by(surface, vertices, faces, Rig(("one",), (0.0,), (0.0,), "perspective", 2.0, 3.0))

"""Mirror planes of meshes: where they are, and that a picture of one counts them as photos are looked at."""

import numpy as np
import pytest
import trimesh

from img2mv3d.data.corpus import Solid
from img2mv3d.data.mirrors import mirror_shares, seen_shares
from img2mv3d.data.scene import EVEN_LIGHT
from img2mv3d.data.shape_pictures import picture, turned_by
from img2mv3d.data.shape_samples import clean_sample, random_sample
from img2mv3d.data.solids import carve
from img2mv3d.data.variation import Deformation, Part
from img2mv3d.geometry.hull import mask_distance
from img2mv3d.geometry.solid import body_field
from img2mv3d.geometry.symmetry import TURNS, flipped, mirror_plane


def _wedge() -> tuple[np.ndarray, np.ndarray]:
    """Long along x, higher at one end: x = 0 is no mirror, z = 0 is one."""
    mesh = trimesh.creation.box((0.8, 0.4, 0.25)).subdivide_to_size(0.05)
    vertices = np.asarray(mesh.vertices, np.float32).copy()
    vertices[:, 1] *= 1 + 1.2 * vertices[:, 0]
    return vertices, np.asarray(mesh.faces, np.int32)


def test_a_wedge_is_its_mirror_image_across_its_thickness_alone() -> None:
    shares = mirror_shares(*_wedge())
    assert TURNS[shares.argmax()] == 90 and shares.max() > 0.97
    assert shares[np.abs(TURNS - 90) > 25].max() < 0.75


def test_a_turned_thing_is_its_mirror_image_in_every_plane() -> None:
    vase = trimesh.creation.cylinder(
        0.2,
        0.8,
        transform=trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]),
    )
    assert mirror_shares(np.asarray(vase.vertices), np.asarray(vase.faces)).min() > 0.9


def test_nothing_has_no_plane() -> None:
    assert not mirror_shares(np.zeros((3, 3)), np.array([[0, 1, 2]])).any()


@pytest.mark.parametrize("yaw", [0.0, 33.0, 90.0, 200.0])
def test_turned_shares_are_those_of_the_turned_mesh(yaw: float) -> None:
    vertices, faces = _wedge()
    turned = mirror_shares(vertices @ turned_by(yaw, 0.0).T, faces)
    assert np.abs(seen_shares(mirror_shares(vertices, faces), yaw) - turned).mean() < 0.05


@pytest.mark.parametrize("yaw", [20.0, 70.0, 130.0])
def test_a_picture_counts_turns_as_bodies_do(yaw: float) -> None:
    """What a network learns to say is what `mirror_plane` finds on the true body."""
    vertices, faces = _wedge()
    solid = Solid(vertices, faces, face_rgb=np.full((len(faces), 3), 150, np.uint8))
    part = Part(solid, carve(vertices, faces), Deformation(), mirror_shares(vertices, faces))
    record = picture("wedge", [part], (yaw, 20.0, 0.0), 1.1, np.inf, EVEN_LIGHT, None)
    learnt = TURNS[record["mirror"].argmax()]
    front, back = record["front"].astype(float), record["back"].astype(float)
    alpha = np.zeros((200, 200), np.float32)  # +-1, where the picture shows +-0.64
    alpha[36:164, 36:164] = record["mask"] / 255
    field = body_field(front, back, record["mask"] > 127, None, alpha, 64, 0.64)
    plane = mirror_plane(field, mask_distance(alpha) * 0.01, 20.0)
    assert plane is not None
    assert abs((plane.turn_deg - learnt + 90) % 180 - 90) <= 6
    sample = clean_sample(record)
    assert TURNS[sample.mirror.argmax()] == learnt
    rng = np.random.default_rng(0)
    mirrored = {float(TURNS[random_sample(record, rng).mirror.argmax()]) for _ in range(12)}
    assert mirrored == {learnt, 180 - learnt}


def test_flipping_twice_changes_nothing() -> None:
    values = np.arange(60.0).reshape(2, 30)
    assert (flipped(flipped(values)) == values).all() and (flipped(values)[:, 0] == values[:, 0]).all()

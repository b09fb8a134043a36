"""Shapes that are alike: turned, scaled or painted anew a shape is itself, another one is not."""

import numpy as np
import trimesh

from img2mv3d.data.corpus import Solid
from img2mv3d.data.likeness import alike, groups, signature


def _solid(mesh: trimesh.Trimesh, turn: float = 0.0, size: float = 1.0) -> Solid:
    turned = trimesh.transformations.rotation_matrix(turn, [0, 1, 0])[:3, :3]
    return Solid((mesh.vertices @ turned.T * size).astype(np.float32), mesh.faces.astype(np.int32))


def test_a_turned_and_scaled_copy_is_found_and_another_shape_is_not():
    torus = trimesh.creation.torus(0.35, 0.1, major_sections=64, minor_sections=32)
    finer = trimesh.creation.torus(0.35, 0.1, major_sections=96, minor_sections=40)
    box = trimesh.creation.box((0.5, 0.3, 0.7))
    found = np.stack([signature(s) for s in (_solid(torus), _solid(finer, 1.0, 0.6), _solid(box), _solid(box, 2.0))])
    assert alike(found) == [(0, 1), (2, 3)]


def test_groups_follow_pairs():
    numbers = groups(5, [(0, 1), (1, 4)])
    assert numbers[0] == numbers[1] == numbers[4] and len(set(numbers)) == 3

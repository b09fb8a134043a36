"""Pictures of meshes: sizes, alpha, sides, styles."""

import numpy as np
import pytest
import trimesh

from img2mv3d.geometry.cameras import Camera
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.mesh.preview import STYLES, render_mesh


def ball() -> MeshArrays:
    body = trimesh.creation.icosphere(subdivisions=3, radius=0.6)
    vertices = np.array(body.vertices)
    red = np.where(vertices[:, :1] > 0, [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)  # +x red, -x blue
    return MeshArrays(vertices, np.array(body.faces, np.int64), red)


@pytest.mark.parametrize("azimuth, right_is_red", [(0.0, True), (180.0, False)])
def test_red_side_lies_on_the_right_in_front_and_on_the_left_from_behind(azimuth: float, right_is_red: bool) -> None:
    picture = render_mesh(ball(), Camera.orbit(azimuth), 32, style="unlit")
    right, left = picture[16, 22], picture[16, 9]
    red, blue = (right, left) if right_is_red else (left, right)
    assert tuple(red) == (255, 0, 0, 255) and tuple(blue) == (0, 0, 255, 255)


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_the_same_alpha(style: str) -> None:
    picture = render_mesh(ball(), Camera.orbit(45.0, 20.0, distance=3.0), 40, style=style)
    assert picture.shape == (40, 40, 4) and picture.dtype == np.uint8
    reference = render_mesh(ball(), Camera.orbit(45.0, 20.0, distance=3.0), 40)
    np.testing.assert_array_equal(picture[..., 3], reference[..., 3])
    with pytest.raises(ValueError, match="expected one of"):
        render_mesh(ball(), Camera.orbit(0.0), 8, style="fancy")


def test_normals_of_the_front_are_coded_blue() -> None:
    picture = render_mesh(ball(), Camera.orbit(0.0), 33, style="normal")
    assert np.abs(picture[16, 16, :3].astype(int) - [128, 128, 255]).max() <= 4

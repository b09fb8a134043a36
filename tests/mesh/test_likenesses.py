"""What a photo tells of a body's colours: of sides that look like the one that it shows, and nothing of flanks."""

import numpy as np

from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.mesh.likenesses import likenesses
from img2mv3d.mesh.photographs import ROOTS, photo_source, round_share
from img2mv3d.mesh.sources import Source
from img2mv3d.values import Body

FRONT_CAMERA = SIX_VIEWS.cameras(256)[0]


def _photo() -> Source:
    """Grey, all over."""
    return photo_source(
        np.full((200, 300, 4), (128, 128, 128, 255), np.uint8), Framing((0.6, 0.6), (30.0, 50.0), 150), FRONT_CAMERA
    )


def _body(field: np.ndarray | None = None, **known: object) -> Body:
    """A body that is grey behind."""
    far = np.full((64, 64, 3), 128 / 255, np.float32)
    numbers = np.zeros((1, 2), np.float32)
    return Body(np.ones((8, 8, 8), np.float32) if field is None else field, far, far, 0.5, numbers, 0.0, 5.0, **known)


def test_a_photo_counts_once_more_on_a_mirror_image_and_thrice_round_an_axis() -> None:
    photo, sideways = _photo(), (1.0, 0.0, 0.0, 0.0)
    assert likenesses(photo, _body())[1] == []
    assert len(likenesses(photo, _body(mirror=sideways))[1]) == 1
    assert len(likenesses(photo, _body(mirror=sideways, axis=(0.0, 0.0, 10.0)))[1]) == 3


AXIS, RADIUS = (0.1, -0.05, 20.0), 0.3  # of a jug


def _jug() -> tuple[Body, Source]:
    """A leaning cylinder with a handle at the photo's right, and its photo: all of one colour."""
    x, depth, elevation_deg = AXIS
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))
    line = np.linspace(-1, 1, 96)
    across, y, z = np.meshgrid(line, line, line, indexing="ij")
    height, away = y * cos + z * sin, z * cos - y * sin - depth
    cylinder = np.maximum(np.hypot(across - x, away) - RADIUS, np.abs(height) - 0.4)
    handle = np.max([np.abs(across - x - RADIUS) - 0.2, np.abs(height) - 0.15, np.abs(away) - 0.04], axis=0)
    field = np.minimum(cylinder, handle).astype(np.float32)
    full = np.full((256, 256, 4), 128, np.uint8)
    node = np.rint((np.arange(256) + 0.5) * 95 / 256).astype(int)
    full[..., 3] = 255 * (field < 0).any(2).T[node[::-1]][:, node]
    body = _body(field, mirror=(0.0, -sin, cos, depth), form="turned", axis=AXIS, handles=True)
    return body, photo_source(full, Framing((1.0, 1.0), (0.0, 0.0), 150), FRONT_CAMERA)


def test_the_round_part_of_a_jug_ends_where_its_cylinder_does() -> None:
    body, photo = _jug()
    share = round_share(photo, body.field, AXIS)
    x = (np.arange(256) + 0.5) / 128 - 1
    assert np.allclose(share[128], np.abs(x - AXIS[0]) / RADIUS, rtol=0.04)  # half a node of the grid
    assert (share[10] > 100).all()  # nothing is there
    assert np.isinf(round_share(photo, np.ones_like(body.field), AXIS)).all()


def test_a_photo_does_not_print_the_root_of_a_handle_on_the_flank_beside_it() -> None:
    body, photo = _jug()
    left = likenesses(photo, body)[0].alpha
    share, x = round_share(photo, body.field, AXIS), (np.arange(256) + 0.5) / 128 - 1
    root = (share > ROOTS) & (share < 1) & (x > AXIS[0])
    assert not left[120:136][root[120:136]].any()
    assert np.array_equal(left[~root], photo.alpha[~root])  # the handle itself, and the other flank
    low = slice(200, 256)  # below the handle
    assert np.array_equal(left[low], photo.alpha[low])
    assert likenesses(photo, _body())[0] is photo


def test_a_jug_goes_on_round_its_axis_and_its_handle_is_shown_once_from_behind() -> None:
    body, photo = _jug()
    left, (other, *beside) = likenesses(photo, body)
    assert len(beside) == 4
    handle = round_share(photo, body.field, AXIS) > 1.1
    assert left.alpha[handle].any() and np.array_equal(other.alpha, left.alpha[:, ::-1])
    for flank, opposite in zip(beside[:2], beside[2:], strict=True):  # mirrored once and twice
        assert np.array_equal(opposite.alpha, flank.alpha[:, ::-1])
        assert opposite.alpha.any() and not opposite.alpha[handle].any()

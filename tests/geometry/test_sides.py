"""Cameras of other sides, pictures aligned to a body, bodies carved by outlines, against boxes with known sides."""

import numpy as np
import pytest

from img2mv3d.geometry.cameras import Camera, project
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.sides import (
    aligned,
    carved,
    front_outline,
    is_behind,
    side_camera,
    side_misfit,
    side_outline,
    side_tells,
)

WIDE, HIGH, DEEP = 0.5, 0.8, 0.3  # half sides of a box
LINE = np.linspace(-1, 1, 64)


def _box(wide: float = WIDE, deep: float = DEEP) -> tuple[np.ndarray, np.ndarray]:
    """(field, corners)"""
    x, y, z = np.meshgrid(LINE, LINE, LINE, indexing="ij")
    field = np.maximum.reduce([np.abs(x) - wide, np.abs(y) - HIGH, np.abs(z) - deep]).astype(np.float32)
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), axis=-1).reshape(-1, 3)
    return field, signs * [wide, HIGH, deep]


def _picture(half_wide_px: int, half_high_px: int, left: int = 128, top: int = 128) -> np.ndarray:
    image = np.zeros((256, 256, 4), np.uint8)
    image[top - half_high_px : top + half_high_px, left - half_wide_px : left + half_wide_px] = 255
    return image


@pytest.mark.parametrize("azimuth", [0.0, 45.0, 90.0, 180.0, -90.0])
def test_without_elevation_the_cameras_are_those_of_the_rig(azimuth: float) -> None:
    found = side_camera(azimuth, 0.0)
    assert np.allclose(found.world_from_cam, Camera.orbit(azimuth).world_from_cam)


def test_the_object_is_turned_about_its_own_upright_axis() -> None:
    up = np.array([0.0, np.cos(np.radians(20)), np.sin(np.radians(20))])
    tops = [project(side_camera(azimuth, 20.0), up[None] * 0.5)[0][0] for azimuth in (0.0, 70.0, 180.0)]
    assert np.allclose(tops, tops[0])  # a point on the axis stays where it is


def test_a_picture_is_moved_and_scaled_until_it_is_as_high_as_the_body() -> None:
    _, corners = _box()
    image = _picture(20, 40, left=100, top=90)
    place = aligned(Framing((0.5, 0.5), (10.0, 20.0), 80), image, corners, side_camera(90.0, 0.0))
    # photo px of the shown rectangle's corners -> px of the camera's picture
    photo = (np.array([[80.0, 50.0], [120.0, 130.0]]) - [10.0, 20.0]) / 0.5
    found = place.framed_from_photo(photo)
    assert np.allclose(found[:, 1], 128 + np.array([-1, 1]) * HIGH * 128)
    assert np.allclose(found.mean(0), 128)


def test_the_width_of_a_side_tells_the_depth_and_the_back_does_not() -> None:
    _, corners = _box()
    right = _picture(round(DEEP * 100), round(HIGH * 100))
    assert side_misfit(right, corners, 90.0, 0.0) == pytest.approx(0.0, abs=0.02)
    assert side_misfit(right, _box(deep=2 * DEEP)[1], -90.0, 0.0) == pytest.approx(np.log(2), abs=0.02)
    assert is_behind(180.0) and is_behind(-170.0) and not is_behind(135.0)
    assert side_tells(90.0) and side_tells(-60.0) and not side_tells(180.0) and not side_tells(45.0)


def test_an_outline_carves_what_it_does_not_show_and_nothing_else() -> None:
    field, corners = _box(deep=0.6)
    right = _picture(round(DEEP * 100), round(HIGH * 100))
    front = front_outline(_picture(round(WIDE * 128), round(HIGH * 128)))
    found = carved(field, front, [side_outline(right, corners, side_camera(90.0, 0.0))])
    inside = np.argwhere(found < 0) * (2 / 63) - 1
    assert np.abs(inside[:, 2]).max() == pytest.approx(DEEP, abs=0.05)
    assert np.abs(inside[:, 0]).max() == pytest.approx(WIDE, abs=0.04)
    assert np.abs(inside[:, 1]).max() == pytest.approx(HIGH, abs=0.04)
    assert (found >= field).all()


def test_what_a_photo_shows_and_the_body_lacks_is_put_where_all_outlines_allow_it() -> None:
    """Two posts, the left one far away: the body has both near to the camera, and loses the left one."""
    x, y, z = np.meshgrid(LINE, LINE, LINE, indexing="ij")
    posts = [np.hypot(x - side, z - 0.4) - 0.12 for side in (-0.4, 0.4)]
    field = np.maximum(np.minimum(*posts), np.abs(y) - HIGH).astype(np.float32)
    points = np.argwhere(field < 0) * (2 / 63) - 1
    front, right = _picture(0, 102), _picture(0, 102)
    for middle in (-0.4, 0.4):
        for image, place in ((front, middle), (right, -middle)):  # from the right, what is near is at the left
            left = round(128 + 128 * (place - 0.12))
            image[26:230, left : left + 31] = 255
    outline = side_outline(right, np.concatenate([points, points * [1, 1, -1]]), side_camera(90.0, 0.0))
    right[:, :128] = 0  # only what is far
    only_far = outline._replace(outside=front_outline(right).outside)
    found = carved(field, front_outline(front), [only_far])
    inside = np.argwhere(found < 0) * (2 / 63) - 1
    assert len(inside) and inside[:, 2].max() < -0.2  # nothing is left where only the first photo has it
    for side in (-0.4, 0.4):  # but both posts are still to be seen from the front
        rows = inside[np.abs(inside[:, 0] - side) < 0.1]
        assert np.ptp(rows[:, 1]) > 1.4


def test_photos_that_contradict_each_other_leave_what_the_first_one_shows() -> None:
    field, corners = _box()
    outline = side_outline(_picture(30, 80), corners, side_camera(90.0, 0.0))
    nothing = outline._replace(outside=np.full((256, 256), 50.0, np.float32))
    found = carved(field, front_outline(_picture(round(WIDE * 128), round(HIGH * 128))), [nothing])
    inside = np.argwhere(found < 0) * (2 / 63) - 1
    assert np.abs(inside[:, 0]).max() > WIDE - 0.1 and np.abs(inside[:, 1]).max() > HIGH - 0.1

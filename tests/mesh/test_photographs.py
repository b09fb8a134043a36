"""The photo mirrored: it shows at a point what the photo shows at the point's mirror image."""

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS, project
from img2mv3d.geometry.framing import Framing
from img2mv3d.geometry.symmetry import Plane, mirrored
from img2mv3d.mesh.photographs import (
    FLANK_DEG,
    flanks,
    half_turned_source,
    mirrored_source,
    photo_source,
)
from img2mv3d.mesh.sources import Source

RNG = np.random.default_rng(0)
FRONT_CAMERA = SIX_VIEWS.cameras(256)[0]


def _photo() -> Source:
    """300 x 200 px, every pixel another colour, framed smaller and off the middle; a corner is missing."""
    full = np.full((200, 300, 4), 255, np.uint8)
    full[:80, :200, 3] = 0
    full[..., 0], full[..., 1] = np.linspace(0, 255, 300)[None], np.linspace(0, 255, 200)[:, None]
    return photo_source(full, Framing((0.6, 0.6), (30.0, 50.0), 150), FRONT_CAMERA)


def _seen(source: Source, points: np.ndarray) -> np.ndarray:
    """px of the source's picture under world points."""
    return project(source.camera, points)[0] * np.array(source.scale) + np.array(source.offset)


@pytest.mark.parametrize("turn_deg", [20.0, 90.0, 130.0])
def test_a_mirrored_photo_shows_at_a_point_what_the_photo_shows_at_its_mirror_image(turn_deg: float) -> None:
    turn = np.radians(turn_deg)
    plane = Plane(np.array([np.cos(turn), 0.0, np.sin(turn)]), 0.07, 1.0)
    photo = _photo()
    source = mirrored_source(photo, (*plane.normal, plane.offset))
    points = RNG.uniform(-0.4, 0.4, (40, 3))
    there, here = _seen(source, points), _seen(photo, mirrored(points, plane))
    width = photo.color.shape[1]
    assert np.allclose(width - there[:, 0], here[:, 0]) and np.allclose(there[:, 1], here[:, 1])
    assert np.array_equal(source.color, photo.color[:, ::-1]) and not source.is_photo
    assert 0 < source.priority < photo.priority


def test_a_back_that_is_predicted_to_look_otherwise_gets_no_second_face() -> None:
    photo, facing = _photo(), (0.0, 0.0, 1.0, 0.0)
    alike = mirrored_source(photo, facing, _looking_like(photo)).alpha
    other = mirrored_source(photo, facing, 1 - _looking_like(photo)).alpha
    assert alike[100:150, 90:210].mean() > 0.9
    assert other[100:130].mean() < 0.35 and other[-40:].mean() < 0.1
    assert not mirrored_source(photo, facing, _looking_like(photo), frontal=True).alpha.any()
    sideways = mirrored_source(photo, (1.0, 0.0, 0.0, 0.0), 1 - _looking_like(photo)).alpha
    assert np.array_equal(sideways, photo.alpha[:, ::-1])


def _looking_like(photo: Source) -> np.ndarray:
    """The far side's colours as they are in the photo, over +-CROP."""
    line = (np.arange(64) + 0.5) / 32 * 0.64 - 0.64
    points = np.stack([*np.meshgrid(line, -line), np.zeros((64, 64))], axis=-1).reshape(-1, 3)
    px = _seen(photo, points)
    height, width = photo.alpha.shape
    red, green = px[:, 0] / width, px[:, 1] / height
    return np.stack([red, green, np.ones(64 * 64)], axis=-1).reshape(64, 64, 3).clip(0, 1).astype(np.float32)


def test_half_a_turn_about_a_leaning_axis_shows_the_photo_as_it_is_from_behind() -> None:
    photo, (x, depth, elevation_deg) = _photo(), (0.06, -0.1, 25.0)
    source = half_turned_source(photo, (x, depth, elevation_deg))
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))
    up, towards = np.array([0, cos, sin]), np.array([0, -sin, cos])
    across, height, away = RNG.uniform(-0.3, 0.3, (3, 40, 1))
    here = (x + across) * [1, 0, 0] + height * up + (depth + away) * towards
    behind = (x - across) * [1, 0, 0] + height * up + (depth - away) * towards
    assert np.allclose(_seen(source, behind), _seen(photo, here))
    assert np.isclose(np.linalg.det(source.camera.world_from_cam[:3, :3]), 1) and not source.is_photo


def test_flanks_go_on_seamlessly_where_a_label_is_drawn_out() -> None:
    photo, (x, depth, elevation_deg) = _photo(), (0.06, -0.1, 25.0)
    sin, cos = np.sin(np.radians(elevation_deg)), np.cos(np.radians(elevation_deg))
    up, towards = np.array([0, cos, sin]), np.array([0, -sin, cos])

    def round_the_axis(angle_deg: float) -> np.ndarray:
        angle = np.radians(angle_deg)
        across = 0.3 * (np.sin(angle) * np.array([1.0, 0, 0]) + np.cos(angle) * towards)
        return x * np.array([1.0, 0, 0]) + depth * towards + across + RNG.uniform(-0.3, 0.3, (20, 1)) * up

    width = photo.color.shape[1]
    for side, source in zip((1, -1), flanks(photo, (x, depth, elevation_deg)), strict=True):
        for angle in (FLANK_DEG, 95.0):
            state = RNG.bit_generator.state
            there = _seen(source, round_the_axis(side * angle))
            RNG.bit_generator.state = state
            here = _seen(photo, round_the_axis(side * (2 * FLANK_DEG - angle)))
            assert np.allclose(width - there[:, 0], here[:, 0]) and np.allclose(there[:, 1], here[:, 1])

"""The grain of a photo: of what is rough all over, and of nothing else."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from img2mv3d.geometry.cameras import Camera
from img2mv3d.mesh.grain import DENSITY, Grain, grain_of
from img2mv3d.mesh.sources import Source
from img2mv3d.mesh.texture import paint
from tests.mesh.test_sources import ball

SIZE = 512
CAMERA = Camera.orbit(0.0, size=256)


def photo(color: np.ndarray) -> Source:
    """A disc of radius 0.5 (world units) of this picture."""
    y, x = (np.indices((SIZE, SIZE)) + 0.5) / SIZE * 2 - 1
    alpha = (np.hypot(x, y) < 0.5).astype(np.float32)
    return Source(CAMERA, color.astype(np.float32), alpha, (2.0, 2.0), priority=60.0, is_photo=True, shown=True)


def fur() -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal((SIZE, SIZE)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.repeat((0.5 + 0.08 * soft / soft.std())[..., None], 3, axis=2).clip(0, 1)


def painted() -> np.ndarray:
    """As rough as fur, every hue on its own."""
    noise = np.random.default_rng(1).standard_normal((SIZE, SIZE, 3)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return (0.5 + 0.08 * soft / soft.std()).clip(0, 1)


def lettered() -> np.ndarray:
    color = np.full((SIZE, SIZE, 3), 180, np.uint8)
    cv2.putText(color, "GRAIN", (150, 270), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (0, 0, 0), 8)
    return color / 255


def test_fur_has_a_grain_of_its_own_strength_and_no_direction() -> None:
    found = grain_of(photo(fur()))
    assert found is not None and found.density == pytest.approx(min(DENSITY, 256))
    assert 0.03 < found.pattern.std() < 0.09 and abs(found.pattern.mean()) < 1e-3
    along, across = (np.abs(np.diff(found.pattern, axis=axis)).mean() for axis in (0, 1))
    assert along == pytest.approx(across, rel=0.15)


@pytest.mark.parametrize(
    "picture", [np.full((SIZE, SIZE, 3), 0.5), lettered(), painted()], ids=["smooth", "letters", "paint"]
)
def test_smooth_lettered_and_painted_things_have_none(picture: np.ndarray) -> None:
    assert grain_of(photo(picture)) is None


def test_too_little_to_see_has_none() -> None:
    small = photo(fur())
    assert grain_of(replace(small, alpha=np.zeros_like(small.alpha))) is None
    spot = np.zeros_like(small.alpha)
    spot[250:258, 250:258] = 1
    assert grain_of(replace(small, alpha=spot)) is None


def test_it_repeats_without_a_seam_and_keeps_its_strength_on_every_side() -> None:
    found = grain_of(photo(fur()))
    assert found is not None
    period = found.pattern.shape[0] / found.density
    points = np.random.default_rng(2).uniform(-0.5, 0.5, (4000, 3))
    for direction in ([0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0], [0.6, 0, 0.8]):
        normals = np.tile(np.array(direction), (len(points), 1))
        values = found.at(points, normals)
        assert values.std() == pytest.approx(found.pattern.std(), rel=0.3)
        np.testing.assert_allclose(found.at(points + period, normals), values, atol=1e-3)


def test_only_what_no_photo_shows_gets_it() -> None:
    vertices, faces = ball()
    source, pattern = photo(np.full((SIZE, SIZE, 3), 0.5)), Grain(np.full((8, 8), 0.25, np.float32), 64.0)
    plain, grained = (paint(vertices, faces, [source], texture_size=256, grain=g).mesh for g in (None, pattern))
    assert plain.texture is not None and grained.texture is not None and grained.uv is not None
    place = (grained.uv * [256, -256] + [0, 256]).astype(int).clip(0, 255)
    more = grained.texture.astype(int) - plain.texture.astype(int)
    more = more[place[:, 1], place[:, 0], 0]
    z = np.asarray(grained.vertices)[:, 2]
    assert more[z > 0.25].max() <= 2 and more[z < -0.2].min() > 40

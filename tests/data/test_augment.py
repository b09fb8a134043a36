"""Condition photos: still the object, no longer perfect."""

import numpy as np

from img2mv3d.data.augment import photograph


def _disc() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:256, :256]
    mask = np.clip(70.5 - np.hypot(x - 127.5, y - 127.5), 0, 1).astype(np.float32)
    color = np.stack([x / 255, y / 255, 0 * x + 0.4], axis=-1) * mask[..., None] + 1 - mask[..., None]
    return color.astype(np.float32), mask


def test_a_photo_shows_the_object_where_it_was():
    color, mask = _disc()
    clean, distances = 0, []
    for seed in range(24):
        photo = photograph(color, mask, np.random.default_rng(seed))
        assert photo.shape == (256, 256, 4) and photo.dtype == np.uint8
        alpha = photo[..., 3:] / 255
        over_white = photo[..., :3] / 255 * alpha + 1 - alpha
        distances.append(np.abs(over_white - color).mean())
        clean += distances[-1] < 0.002
        assert ((alpha[..., 0] > 0.5) == (mask > 0.5)).mean() > 0.97
        assert (photo[mask.shape[0] // 2, mask.shape[1] // 2, 3]) == 255
        assert not photo[:40].any()  # nothing far from the object
    assert max(distances) < 0.08 and 2 <= clean < 20


def test_equal_random_numbers_give_equal_photos():
    color, mask = _disc()
    photos = [photograph(color, mask, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert np.array_equal(photos[0], photos[1]) and not np.array_equal(photos[0], photos[2])

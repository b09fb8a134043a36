"""Masks of views of exact solids: from exact maps, from damaged ones, with holes and dirt."""

import numpy as np
import pytest

from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.masks import view_masks
from img2mv3d.geometry.sdf import Box, Capsule, Solid, Sphere, Torus, render_world

SIZE = 96
RIG = Rig(("front", "front_right"), (0.0, 45.0), (0.0, 0.0))
MUG = (Capsule((0, -0.3, 0), (0, 0.2, 0), 0.35) | Torus((0.45, -0.05, 0), 0.2, 0.06, axis=2)) - Capsule(
    (0, -0.1, 0), (0, 0.9, 0), 0.25
)
TABLE = (
    Box((0, 0.1, 0), (0.5, 0.1, 0.4), 20) | Capsule((0.3, 0, 0.2), (0.3, -0.4, 0.2), 0.05) | Sphere((0, 0.3, 0), 0.2)
)
WORLDS = {"mug": MUG, "table": TABLE}


def maps_of(solid: Solid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(color, normal codes over white, mask) of two views."""
    color, normal, mask, _ = render_world(solid, RIG, SIZE)
    cover = mask[..., None]
    return color, (normal_or_nearest(normal, mask) / 2 + 0.5) * cover + 1 - cover, mask


def normal_or_nearest(normal: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Solids give no normal where a pixel is covered less than half; a renderer does: that of a covered neighbour."""
    from scipy import ndimage

    rows = [ndimage.distance_transform_edt(m < 0.5, return_distances=False, return_indices=True) for m in mask]
    return np.stack([n[tuple(r)] for n, r in zip(normal, rows, strict=True)])


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Soft intersection over union of every view."""
    return np.minimum(a, b).sum((1, 2)) / np.maximum(a, b).sum((1, 2))


@pytest.fixture(scope="module")
def worlds() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return {name: maps_of(solid) for name, solid in WORLDS.items()}


@pytest.mark.parametrize("name", WORLDS)
def test_exact_maps_give_the_exact_mask(worlds: dict, name: str) -> None:
    color, code, mask = worlds[name]
    found = view_masks(color, code, None)
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 1
    assert iou(found, mask).min() >= 0.98
    # a threshold away from 1/2, where pixels that are covered by half fall to either side
    assert iou(found > 0.45, mask > 0.45).mean() >= 0.99


@pytest.mark.parametrize("name", WORLDS)
def test_blurred_noisy_maps_give_nearly_the_mask(worlds: dict, name: str) -> None:
    """Damage like a decoder's: blur, coloured noise (21 dB inside of the object), a grey tinge, overshoot."""
    from scipy import ndimage

    color, code, mask = worlds[name]
    rng = np.random.default_rng(0)

    def damaged(maps: np.ndarray) -> np.ndarray:
        noise = ndimage.gaussian_filter(rng.normal(size=maps.shape), (0, 1, 1, 0)) * 0.32
        near = ndimage.maximum_filter(mask, (0, 5, 5))[..., None]
        return ndimage.gaussian_filter(maps, (0, 0.6, 0.6, 0)) + noise * (0.2 + 0.8 * near) + 0.01

    found = view_masks(damaged(color), damaged(code), None)
    assert iou(found > 0.5, mask > 0.5).min() >= 0.93
    assert iou(found > 0.5, mask > 0.5).mean() >= 0.94  # 96 px: silhouettes weigh 2.7 times what they do at 256


def test_the_front_mask_is_the_photos_alpha(worlds: dict) -> None:
    color, code, _ = worlds["mug"]
    alpha = np.random.default_rng(0).random((SIZE, SIZE)).astype(np.float32)
    found = view_masks(color, code, alpha)
    assert np.array_equal(found[0], alpha)
    assert np.array_equal(found[1:], view_masks(color, code, None)[1:])


def test_a_handle_stays_open_and_a_dim_spot_is_closed(worlds: dict) -> None:
    color, code, mask = (part[:1].copy() for part in worlds["mug"])
    row, column = 48 + int(0.05 * 48), 48 + int(0.5 * 48)  # in the middle of the handle
    assert mask[0, row, column] == 0
    code[0, 52:55, 44:47] = 0.97  # a decoder's bright spot in the middle of the body, the colour is still there
    code[0, 60, 44] = color[0, 60, 44] = 1.0  # a pixel that is white in both
    found = view_masks(color, code, None)[0]
    assert found[row, column] == 0
    assert (found[50:62, 42:49] == 1).all()


def test_dirt_away_from_the_object_is_removed_and_loose_parts_stay() -> None:
    parts = Sphere((-0.2, 0, 0), 0.4) | Sphere((0.5, 0, 0), 0.2)
    color, code, mask = maps_of(parts)
    for maps in (color, code):
        maps[:, 3:6, 3:7] = 0.3  # specks in a corner
        maps[:, 88:90, 47:49] = 0.2
    found = view_masks(color, code, None)
    assert found[:, :8, :10].max() == 0 and found[:, 86:92, 44:52].max() == 0
    assert iou(found, mask).min() >= 0.98


def test_white_objects_are_seen_by_their_normals_and_gaps_of_normals_by_colour(worlds: dict) -> None:
    color, code, mask = worlds["mug"]
    assert iou(view_masks(np.ones_like(color), code, None), mask).min() >= 0.985
    torn = code.copy()
    torn[:, 45:53, 30:45] = 1.0
    assert iou(view_masks(color * 0.5 + 0.5 * (1 - mask[..., None]), torn, None), mask).min() >= 0.97


def test_a_view_of_nothing_is_all_zero() -> None:
    white = np.ones((2, 32, 32, 3), np.float32)
    assert view_masks(white, white, None).max() == 0

"""Edges and colours of rough masks, and graph cuts that repeat themselves."""

import numpy as np

from img2mv3d.matting import edges

SIDE = 128
Y, X = np.mgrid[:SIDE, :SIDE]
BALL = np.hypot(X - 64, Y - 60) < 34
RGB = np.where(BALL[..., None], [200, 60, 40], [60, 120, 70]).astype(np.uint8)


def test_a_rough_mask_follows_the_edge() -> None:
    rough = (np.hypot(X - 66, Y - 62) < 36).astype(np.float32)
    fine = edges.follow_edges(RGB, rough, 8)
    assert ((fine > 0.5) != BALL).mean() < 0.3 * ((rough > 0.5) != BALL).mean()


def test_a_small_alpha_is_drawn_at_the_photos_size() -> None:
    fine = edges.follow_edges(RGB, BALL[::2, ::2].astype(np.float32), 4)
    assert fine.shape == BALL.shape and ((fine > 0.5) == BALL).mean() > 0.985


def test_flat_areas_keep_their_alpha() -> None:
    alpha = np.full((40, 50), 0.7, np.float32)
    assert np.abs(edges.follow_edges(np.full((40, 50, 3), 90, np.uint8), alpha) - 0.7).max() < 1e-3


def test_grab_cut_repeats_itself_and_keeps_what_is_sure() -> None:
    labels = np.full(BALL.shape, edges.MAYBE_BACKGROUND, np.uint8)
    labels[np.hypot(X - 64, Y - 60) < 20] = edges.OBJECT
    labels[:4] = labels[-4:] = edges.BACKGROUND
    noisy = (RGB + np.random.default_rng(0).normal(0, 6, RGB.shape)).clip(0, 255).astype(np.uint8)
    first, second = (edges.grab_cut(noisy, labels.copy()) for _ in range(2))
    assert np.array_equal(first, second)
    assert ((first > 0.5) == BALL).mean() > 0.98 and (first[labels == edges.OBJECT] == 1).all()


def test_grab_cut_without_a_doubt_is_the_labels() -> None:
    labels = np.full((20, 20), edges.OBJECT, np.uint8)
    assert (edges.grab_cut(np.zeros((20, 20, 3), np.uint8), labels) == 1).all()


def test_colours_at_soft_edges_are_the_objects() -> None:
    share = np.clip(34.5 - np.hypot(X - 64, Y - 60), 0, 1).astype(np.float32)[..., None]
    mixed = (share * [200.0, 60.0, 40.0] + (1 - share) * [60.0, 220.0, 70.0]).astype(np.uint8)
    clean = edges.clean_colours(mixed, share[..., 0])
    edge = (share[..., 0] > 0.05) & (share[..., 0] < 0.7)
    assert (
        np.abs(clean[edge].astype(int) - [200, 60, 40]).mean()
        < 0.25 * np.abs(mixed[edge].astype(int) - [200, 60, 40]).mean()
    )
    assert (clean[:5] == 0).all()

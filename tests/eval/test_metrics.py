"""Identical pictures score perfectly, known damage scores as computed by hand, plain twins agree."""

import numpy as np
import pytest

from img2mv3d.eval.metrics import edge_sharpness, normal_angles, sift_matches, ssim, summed
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig, pixel_centres, unproject
from img2mv3d.geometry.sdf import Sphere, render_world


@pytest.fixture(scope="module")
def ball() -> tuple[np.ndarray, ...]:
    """(color, normal, mask, z) of a coloured sphere, six views of 128 px."""
    return render_world(Sphere(radius=0.6), SIX_VIEWS, 128)


def _noise(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


def test_ssim_agrees_with_scikit_image():
    skimage_metrics = pytest.importorskip("skimage.metrics")
    truth = _noise((48, 56, 3))
    image = np.clip(truth + 0.1 * (_noise(truth.shape, 1) - 0.5), 0, 1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    assert ssim(image, truth) == pytest.approx(
        skimage_metrics.structural_similarity(image, truth, channel_axis=-1, **options), abs=1e-4
    )


def test_normals_that_were_turned_are_off_by_the_turn(ball):
    _, normal, mask, _ = ball
    angle = np.radians(7.0)
    turned = normal.copy()
    turned[..., 0] = np.cos(angle) * normal[..., 0] - np.sin(angle) * normal[..., 1]
    turned[..., 1] = np.sin(angle) * normal[..., 0] + np.cos(angle) * normal[..., 1]
    assert normal_angles(normal, normal, mask).mean() < 0.05
    # about z by 7 degrees: every normal moves by 7 degrees times the sine of its angle to z, at most 7
    found = normal_angles(turned, normal, mask)
    assert 3 < found.mean() < 7 and len(found) == ((mask >= 0.5) & (np.linalg.norm(normal, axis=-1) > 0.1)).sum()
    assert len(normal_angles(normal, 0 * normal, mask)) == 0
    assert (normal_angles(0 * normal, normal, mask) == 90).all()  # a missing normal is no gain


def test_sift_matches_of_true_views_agree_and_of_mirrored_ones_do_not():
    rig = Rig(names=tuple("abcd"), azimuth_deg=(0.0, 10.0, 20.0, 30.0), elevation_deg=(0.0,) * 4)
    _, _, mask, z = render_world(Sphere(radius=0.6), rig, 128)
    color = _speckled_ball(rig, z, mask)
    true = summed(sift_matches(color, z, mask, rig))
    assert true.total >= true.epipolar >= true.inliers > 60 and true.inliers > 0.6 * true.total
    mirrored = summed(sift_matches(color[:, :, ::-1].copy(), z, mask, rig))
    assert mirrored.inliers < 0.1 * true.inliers < mirrored.epipolar  # lines alone say little: here they are rows
    assert summed(sift_matches(np.ones_like(color), z, mask, rig)) == (0, 0, 0)


def test_blur_costs_sharpness(ball):
    color, _, mask, _ = ball
    sharp = edge_sharpness(_noise((128, 128, 3)), mask[0])
    smooth = edge_sharpness(color[0], mask[0])
    assert sharp > 3 * smooth > 0
    assert edge_sharpness(color[0], 0 * mask[0]) == 0


def _speckled_ball(rig: Rig, z: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A sphere with blobs fixed to its surface, so that every view shows the same ones."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(600, 3))
    centres *= 0.6 / np.linalg.norm(centres, axis=1, keepdims=True)
    shades = rng.uniform(0, 1, 600)
    views = []
    for camera, depth, cover in zip(rig.cameras(z.shape[-1]), z, mask, strict=True):
        gray = np.ones(depth.shape)
        use = cover > 0
        points = unproject(camera, pixel_centres(z.shape[-1])[use].astype(np.float64), depth[use].astype(np.float64))
        weight = np.exp(-((points[:, None] - centres) ** 2).sum(-1) / (2 * 0.03**2))
        gray[use] = ((weight * shades).sum(-1) + 0.05) / (weight.sum(-1) + 0.1) * cover[use] + 1 - cover[use]
        views.append(np.repeat(gray[..., None], 3, axis=-1))
    return np.stack(views).astype(np.float32)

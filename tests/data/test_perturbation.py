"""Perturbed latents disagree from view to view, resampled ones keep what the noise left; jittered masks move."""

from pathlib import Path

import torch

from img2mv3d.data.perturbation import jitter_masks, perturb_latents, resample_latents
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.train.pool import Pool
from img2mv3d.train.toy import make_toy
from tests.toys import toy_bundle


def test_perturbed_latents_disagree_from_view_to_view():
    latents = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)).expand(6, -1, -1, -1).contiguous()
    bad = perturb_latents(latents, torch.Generator().manual_seed(1))
    assert (bad[0] - bad[1]).abs().mean() > 0.1
    assert torch.equal(bad, perturb_latents(latents, torch.Generator().manual_seed(1)))


def test_resampled_latents_are_near_the_true_ones_after_little_noise_and_far_after_much(tmp_path: Path):
    generator = toy_bundle(tmp_path).generator()
    item = Pool(make_toy(tmp_path / "data"), "train", pictures=False, limit=1).items[0]
    apart = []
    for step in (5, 900):
        rng = torch.Generator().manual_seed(0)
        made = resample_latents(generator, item.latents, item.photo, item.photo_latent, item.window, step, rng)
        assert made.shape == item.latents.shape and torch.isfinite(made).all()
        apart.append(float((made - item.latents).abs().mean()))
    assert apart[0] < 0.1 * apart[1]
    assert SCHEDULES["mini"].table(torch.zeros(1))[999] == 0  # from step 999 on nothing of the truth is left


def test_jitter_masks_move_both_ways_and_have_depth_of_the_nearest_surface():
    across = torch.linspace(-1, 1, 96)
    hit = (across[:, None].square() + across.square() < 0.4).float().expand(6, -1, -1).clone()
    z = (0.1 * across[:, None] + 0.05 * across).expand(6, -1, -1) * hit
    moved_z, moved = jitter_masks(z, hit, torch.Generator().manual_seed(0))
    assert set(moved.unique().tolist()) == {0.0, 1.0} and not torch.equal(moved[0], moved[1])
    overlap = ((moved * hit).sum((1, 2)) / torch.maximum(moved, hit).sum((1, 2))).tolist()
    assert all(0.5 < iou < 1 for iou in overlap)
    assert (moved > hit).any() and (moved < hit).any()
    kept, new = (moved * hit) > 0, moved > hit
    assert torch.equal(moved_z[kept], z[kept]) and not moved_z[moved == 0].any()
    rim = hit.bool() & (torch.nn.functional.max_pool2d(1 - hit, 3, 1, 1) > 0)  # the nearest surface is on the border
    assert torch.isin(moved_z[new], z[rim]).all()
    again = jitter_masks(z, hit, torch.Generator().manual_seed(0))
    assert torch.equal(again[0], moved_z) and torch.equal(again[1], moved)


def test_what_is_not_seen_in_a_view_has_no_outlines_to_move():
    nothing = torch.zeros(2, 64, 64)
    assert not any(m.any() for m in jitter_masks(nothing, nothing, torch.Generator().manual_seed(0)))

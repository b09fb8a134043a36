"""The fit on exact worlds and on faulty input."""

import functools

import numpy as np
import pytest
import torch

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.sdf import Box, Sphere, render_world
from img2mv3d.neus import fit as module
from img2mv3d.neus.fit import FINAL, QUICK, FitOptions, Level, fit
from img2mv3d.neus.narrow_band import find_band
from img2mv3d.neus.optimise import LevelFit
from img2mv3d.neus.render import render_views
from img2mv3d.neus.targets import block_of, hull_field, view_targets

DENTED = Sphere(radius=0.6) - Sphere((0.0, 0.1, 0.55), 0.42)  # the front's dent is in no silhouette
BLOCK = Box((0, -0.3, 0), (0.5, 0.25, 0.35), 22) | Box((-0.25, 0.2, -0.1), (0.2, 0.3, 0.2), 22)
SHORT = FitOptions((Level(32, 60),))


@functools.cache
def world(solid, size=96):
    return render_world(solid, SIX_VIEWS, size)


def depth_error(sdf, mask, z):
    seen = render_views(sdf, SIX_VIEWS, mask.shape[1])
    both = (seen.opacity > 0.5) & (mask > 0.5)
    return float(np.abs(seen.z - z)[both].mean())


def hull(mask, nodes):
    """The field that a fit without a step would hand out."""
    views, block = view_targets(np.zeros((*mask.shape, 3), np.float32), mask, SIX_VIEWS, nodes), None
    block = block_of(mask, SIX_VIEWS, nodes)
    whole = torch.full((nodes,) * 3, 4.0)
    whole[block.slices] = find_band(hull_field(views, block), block)[0]
    return (whole * (2 / (nodes - 1))).permute(1, 0, 2).contiguous().numpy()


@pytest.mark.parametrize("solid", [DENTED, BLOCK])
def test_the_fit_finds_what_the_hull_cannot(solid):
    _, normal, mask, z = world(solid)
    found = fit(normal, mask, SIX_VIEWS, FitOptions((Level(32, 100), Level(64, 25, views=3, sharp=(1.5, 4.0)))))
    assert found.figures["source"] == "neus" and not found.warnings
    assert depth_error(found.sdf, mask, z) < 0.5 * depth_error(hull(mask, 64), mask, z)
    assert min(found.figures["iou"]) > 0.94


def test_a_level_lowers_its_loss_and_tells_every_step():
    _, normal, mask, _ = world(DENTED)
    views, block = view_targets(normal, mask, SIX_VIEWS, 32), block_of(mask, SIX_VIEWS, 32)
    start = hull_field(views, block)
    level = Level(32, 60, sharp=(2.0, 2.0))
    ticks = []
    losses = LevelFit(start, start, views, block, level, QUICK).run(lambda: ticks.append(1))
    assert losses[-1] < 0.6 * losses[0] and len(ticks) == len(losses) == 60


def test_equal_views_give_equal_fields_and_progress_ends_at_its_total():
    _, normal, mask, _ = world(BLOCK)
    told = []
    first = fit(normal, mask, SIX_VIEWS, SHORT, lambda done, total: told.append((done, total)))
    second = fit(normal.copy(), mask.copy(), SIX_VIEWS, SHORT)
    assert np.array_equal(first.sdf, second.sdf)
    assert told == [(i + 1, 60) for i in range(60)]


def test_the_number_of_threads_changes_no_bit_and_torch_keeps_its_own(monkeypatch):
    monkeypatch.setattr("img2mv3d.neus.kernels.SMALL", 1)
    _, normal, mask, _ = world(BLOCK)
    before, fields = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            fields.append(fit(normal, mask, SIX_VIEWS, FitOptions((Level(32, 20), Level(48, 16, views=3)))).sdf)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(fields[0], fields[1]) and np.array_equal(fields[0], fields[2])


def test_the_field_is_closed_even_when_the_object_leaves_the_frame():
    _, normal, mask, _ = world(Sphere(radius=1.2), 48)
    found = fit(normal, mask, SIX_VIEWS, FitOptions((Level(32, 15),)))
    for axis in range(3):
        for end in (0, -1):
            assert (np.take(found.sdf, end, axis) > 0).all()
    assert (found.sdf < 0).any()


def test_views_that_show_nothing_are_left_out_with_a_warning():
    _, normal, mask, _ = world(BLOCK)
    mask = mask.copy()
    mask[2] = 0
    found = fit(normal, mask, SIX_VIEWS, SHORT)
    assert "right" in found.warnings[0] and len(found.figures["iou"]) == 5


def test_nothing_at_all_is_said():
    empty = np.zeros((6, 32, 32), np.float32)
    with pytest.raises(NothingFoundError, match="mask is empty"):
        fit(np.zeros((6, 32, 32, 3), np.float32), empty, SIX_VIEWS, SHORT)


def test_one_wrong_mask_does_not_kill_the_object():
    _, normal, mask, _ = world(BLOCK)
    mask = mask.copy()
    mask[2] = np.roll(mask[2], -40, axis=0)
    found = fit(normal, mask, SIX_VIEWS, SHORT)
    assert any("overrules" in w for w in found.warnings)
    assert np.mean([v for i, v in enumerate(found.figures["iou"]) if i != 2]) > 0.8


def test_gaps_of_some_pixels_in_masks_leave_the_object_whole():
    _, normal, mask, z = world(DENTED)
    torn = mask.copy()
    torn[1, 30:34, 20:70] = 0
    torn[3, 40:70, 50:53] = 0.2
    found = fit(normal * (torn[..., None] >= 0.5), torn, SIX_VIEWS, SHORT)
    assert np.mean(found.figures["iou"]) > 0.85
    assert depth_error(found.sdf, mask, z) < 0.06


@pytest.mark.parametrize("fault", ["noise", "not a number", "none"])
def test_bad_normals_end_in_a_finite_closed_surface(fault):
    _, normal, mask, _ = world(BLOCK)
    rng = np.random.default_rng(0)
    bad = {
        "noise": rng.normal(size=normal.shape).astype(np.float32),
        "not a number": np.full_like(normal, np.nan),
        "none": np.zeros_like(normal),
    }[fault]
    found = fit(bad, mask, SIX_VIEWS, SHORT)
    assert np.isfinite(found.sdf).all() and (found.sdf < 0).any()
    assert np.mean(found.figures["iou"]) > 0.85 or found.figures["source"] == "hull"


def test_a_fit_worse_than_the_hull_hands_out_the_hull_and_says_so(monkeypatch):
    _, normal, mask, _ = world(BLOCK)
    monkeypatch.setattr(module.LevelFit, "run", lambda self, tick: [self._values.__iadd__(2.0).sum()])
    found = fit(normal, mask, SIX_VIEWS, SHORT)
    assert found.figures["source"] == "hull" and "hull is used instead" in found.warnings[0]
    assert (found.sdf < 0).any()


@pytest.mark.parametrize("kind", ["turned", "perspective"])
def test_rigs_without_rays_through_nodes_are_served_more_slowly(kind):
    azimuth = (0.0, 70.0, 140.0, 220.0, 290.0)
    rig = Rig(tuple("abcde"), azimuth, (10.0, 0.0, 20.0, 0.0, -10.0))
    if kind == "perspective":
        rig = Rig(tuple("abcde"), azimuth, rig.elevation_deg, "perspective", 2.0, 4.0)
    _, normal, mask, _ = render_world(DENTED, rig, 48)
    found = fit(normal, mask, rig, FitOptions((Level(32, 25),)))
    assert found.figures["source"] == "neus" and np.mean(found.figures["iou"]) > 0.9


def test_plates_thinner_than_two_cells_are_not_eaten_from_inside():
    table = Box((0, 0.2, 0), (0.5, 0.025, 0.5)) | Box((0, -0.2, 0), (0.06, 0.4, 0.06))
    _, normal, mask, _ = world(table, 128)
    found = fit(normal, mask, SIX_VIEWS, FitOptions((Level(32, 60), Level(64, 60))))
    middle = found.sdf[:, round((0.2 + 1) * 31.5), :]
    plate = np.abs(np.linspace(-1, 1, 64)) < 0.4
    assert (middle[np.ix_(plate, plate)] < 0).mean() > 0.95  # the top is 1.6 cells thick
    assert found.figures["source"] == "neus" and min(found.figures["iou"]) > 0.93


@pytest.mark.parametrize("solid", [Sphere(radius=0.6), Box((0, 0, 0), (0.4, 0.5, 0.3), 22)])
def test_the_surface_is_neither_shrunk_nor_grown(solid):
    _, normal, mask, _ = world(solid)
    found = fit(normal, mask, SIX_VIEWS, FitOptions((Level(32, 60), Level(64, 60))))
    seen = render_views(found.sdf, SIX_VIEWS, 96).opacity
    assert np.abs(seen.sum(axis=(1, 2)) / mask.sum(axis=(1, 2)) - 1).max() < 0.02


def test_views_that_contradict_each_other_get_a_calm_surface():
    _, normal, mask, _ = world(BLOCK)
    rng = np.random.default_rng(0)
    noise = np.repeat(np.repeat(rng.normal(size=(6, 12, 12, 3)), 8, axis=1), 8, axis=2)
    torn = normal + 0.8 * noise * (mask[..., None] > 0)
    torn = (torn / np.maximum(np.linalg.norm(torn, axis=-1, keepdims=True), 1e-6)).astype(np.float32)
    options = FitOptions((Level(32, 100), Level(64, 40)))
    exact, calm = fit(normal, mask, SIX_VIEWS, options), fit(torn, mask, SIX_VIEWS, options)
    assert exact.figures["disagreement"] < module.DISAGREE[0] < module.DISAGREE[1] < calm.figures["disagreement"]

    def area(sdf):
        return sum((np.diff(np.sign(sdf), axis=axis) != 0).sum() for axis in range(3))

    assert area(calm.sdf) < 1.1 * area(exact.sdf)


def test_a_ladder_is_cut_or_grown_to_the_grid_that_is_asked_for():
    assert [level.nodes for level in QUICK.scaled(64).levels] == [32, 64]
    assert [level.nodes for level in FINAL.scaled(256, 0.5).levels] == [32, 64, 128, 192, 256]
    assert [level.nodes for level in FINAL.scaled(100).levels] == [32, 64, 100]
    assert FINAL.scaled(192, 0.5).levels[0].steps == 200

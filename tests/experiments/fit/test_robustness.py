"""The table tells damages apart, and what each remedy brings; the first remedy is what a run does."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.fit import perturbations, robustness
from img2mv3d.data.corpus import Solid
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Box, Sphere, render_world
from img2mv3d.values import Views

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * np.float32(0.28)
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([f for a, b, c, d in QUADS for f in ((a, b, c), (a, c, d))], np.int32)
CUBE = Solid(CORNERS, FACES, face_rgb=np.full((12, 3), 128, np.uint8))


@pytest.fixture(scope="module")
def views():
    color, normal, mask, _ = render_world(Sphere(radius=0.6) | Box((0, 0.6, 0), (0.1, 0.3, 0.1)), SIX_VIEWS, 128)
    return Views(color.astype(np.float32), normal, mask, SIX_VIEWS)


def _row(name, harm, remedy, f_02, z_mean=0.01):
    return robustness.Row(name, harm, remedy, 0.0, f_02, 1.0, z_mean, 0.0, 1.0)


def test_the_table_has_a_line_a_damage_and_a_column_a_remedy():
    rows = [_row("a", "none", "all", 0.9), _row("b", "none", "all", 0.8), _row("a", "turned", "all", 0.5)]
    rows += [_row("a", "none", "with outliers dropped", 0.1), _row("a", "turned", "with outliers dropped", 0.2, 0.02)]
    lines = robustness.table(rows).splitlines()
    assert "0.850, 0.0100" in lines[2] and lines[3].startswith("| turned | 0.500")


def test_an_effect_is_the_figure_with_the_remedy_minus_without_it():
    rows = [_row(i, "none", "all", f) for i, f in (("a", 0.9), ("b", 0.7))]
    rows += [_row(i, "none", "without hull prior", f) for i, f in (("a", 0.8), ("b", 0.6))]
    rows += [_row(i, "none", "with outliers dropped", f) for i, f in (("b", 0.5), ("a", 0.7))]
    lines = robustness.effects(rows).splitlines()
    assert lines[0] == "| f_02 | hull prior | with outliers dropped |"
    assert lines[2] == "| none | +0.100 +- 0.000 | -0.200 +- 0.000 |"


def test_the_first_remedy_does_to_the_masks_what_a_run_does(views):
    wrong = perturbations.holed(views, np.random.default_rng(0))
    mended = next(iter(robustness.VARIANTS.values())).masks(wrong)
    assert (mended.mask[3] == wrong.mask[0][:, ::-1]).all()
    assert (robustness.VARIANTS["without completion"].masks(wrong).mask[3] == mended.mask[3]).all()
    assert not (robustness.VARIANTS["without symmetry"].masks(wrong).mask[3] == mended.mask[3]).all()


def test_alignment_brings_a_moved_view_back(views):
    moved = replace(views, mask=views.mask.copy())
    moved.mask[3] = np.roll(views.mask[3], 4, 0)
    assert np.array_equal(robustness.aligning(moved).mask, robustness.completed(views).mask)


def test_a_fit_of_nothing_is_nothing(views):
    empty = replace(views, mask=np.zeros_like(views.mask))
    assert robustness._fit(empty, robustness.VARIANTS["all"], 32) is None


def test_exact_views_of_a_cube_are_fitted_and_scored(views):
    other = replace(views, **{n: getattr(views, n).repeat(2, 1).repeat(2, 2) for n in ("color", "normal", "mask")})
    exact, swapped = robustness.measure("cube", CUBE, other, ["all"], ["none", "swapped"], 32)
    assert (exact.id, exact.perturbation, exact.variant) == ("cube", "none", "all")
    assert exact.f_02 > 0.9 and exact.z_mean < 0.02 and swapped.perturbation == "swapped"

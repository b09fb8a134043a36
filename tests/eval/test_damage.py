"""The damages do what they say, and the table tells them apart."""

import numpy as np
import pytest

from img2mv3d.eval import damage
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Box, Sphere, render_world
from img2mv3d.values import Views


@pytest.fixture(scope="module")
def views():
    color, normal, mask, _ = render_world(Sphere(radius=0.6) | Box((0, 0.6, 0), (0.1, 0.3, 0.1)), SIX_VIEWS, 128)
    return Views(color.astype(np.float32), normal, mask, SIX_VIEWS)


@pytest.mark.parametrize("name", damage.DAMAGES)
def test_damaged_views_are_views_and_the_same_ones_each_time(views, name):
    first, again = (damage.DAMAGES[name](views, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first.mask, again.mask) and np.array_equal(first.normal, again.normal)
    length = np.linalg.norm(first.normal, axis=-1)
    assert np.all((np.abs(length - 1) < 1e-4) | (length == 0)) and first.mask.min() >= 0 and first.mask.max() <= 1
    changed = not (np.array_equal(first.mask, views.mask) and np.allclose(first.normal, views.normal, atol=1e-6))
    assert changed == (name != "none")


def test_normals_are_turned_by_what_is_said(views):
    worse = damage.turned(views, np.random.default_rng(0))
    inside = views.mask > 0.99
    angle = np.degrees(np.arccos((worse.normal * views.normal).sum(-1)[inside].clip(-1, 1)))
    low, high = damage.TURN_DEG
    assert low - 1 < np.median(angle) < high + 1


def test_the_front_stays_where_it_is(views):
    worse = damage.shifted(views, np.random.default_rng(0))
    assert np.array_equal(worse.mask[0], views.mask[0]) and not np.array_equal(worse.mask[1], views.mask[1])


def test_the_table_has_a_line_a_damage_and_a_column_a_remedy():
    rows = [
        {"damage": d, "remedy": r, "f_02": f, "z_mean": 0.01}
        for d, r, f in [("none", "all", 0.9), ("none", "all", 0.8), ("turned", "all", 0.5), ("none", "with drop", 0.1)]
    ]
    rows.append({"damage": "turned", "remedy": "with drop", "f_02": 0.2, "z_mean": 0.02})
    lines = damage.table(rows).splitlines()
    assert "0.850, 0.0100" in lines[2] and lines[3].startswith("| turned | 0.500")


def test_the_first_remedy_does_to_the_masks_what_a_run_does(views):
    wrong = damage.holed(views, np.random.default_rng(0))
    mended = next(iter(damage.REMEDIES.values())).masks(wrong)
    assert (mended.mask[3] == wrong.mask[0][:, ::-1]).all()
    assert (damage.REMEDIES["without agreement"].masks(wrong).mask == wrong.mask).all()


def test_a_fit_of_nothing_is_nothing(views):
    from dataclasses import replace

    empty = replace(views, mask=np.zeros_like(views.mask))
    assert damage._fit(empty, damage.REMEDIES["all"], 32) is None


def test_exact_views_of_a_cube_are_fitted_and_scored(monkeypatch):
    from tests.eval.test_generated import CUBE

    monkeypatch.setattr(damage, "DAMAGES", {"none": damage.DAMAGES["none"]})
    (row,) = damage.measure(CUBE, ["all"], 32)
    assert (row["damage"], row["remedy"]) == ("none", "all") and row["f_02"] > 0.9 and row["z_mean"] < 0.02

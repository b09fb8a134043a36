"""The damages do what they say, the same every time."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.fit import perturbations
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Box, Sphere, render_world
from img2mv3d.values import Views


@pytest.fixture(scope="module")
def views():
    color, normal, mask, _ = render_world(Sphere(radius=0.6) | Box((0, 0.6, 0), (0.1, 0.3, 0.1)), SIX_VIEWS, 128)
    return Views(color.astype(np.float32), normal, mask, SIX_VIEWS)


@pytest.mark.parametrize("name", perturbations.PERTURBATIONS)
def test_damaged_views_are_views_and_the_same_ones_each_time(views, name):
    first, again = (perturbations.PERTURBATIONS[name](views, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first.mask, again.mask) and np.array_equal(first.normal, again.normal)
    length = np.linalg.norm(first.normal, axis=-1)
    assert np.all((np.abs(length - 1) < 1e-4) | (length == 0)) and first.mask.min() >= 0 and first.mask.max() <= 1
    changed = not (np.array_equal(first.mask, views.mask) and np.allclose(first.normal, views.normal, atol=1e-6))
    assert changed == (name != "none")


def test_normals_are_turned_by_what_is_said(views):
    worse = perturbations.turned(views, np.random.default_rng(0))
    inside = views.mask > 0.99
    angle = np.degrees(np.arccos((worse.normal * views.normal).sum(-1)[inside].clip(-1, 1)))
    low, high = perturbations.TURN_DEG
    assert low - 1 < np.median(angle) < high + 1


def test_the_front_stays_where_it_is(views):
    worse = perturbations.shifted(views, np.random.default_rng(0))
    assert np.array_equal(worse.mask[0], views.mask[0]) and not np.array_equal(worse.mask[1], views.mask[1])


def test_a_scaled_view_is_larger_or_smaller_and_still_in_the_middle(views):
    worse = perturbations.scaled(views, np.random.default_rng(0))
    for view, before in zip(worse.mask[1:], views.mask[1:], strict=True):
        rows, old = (np.flatnonzero((m > 0.5).any(1)) for m in (view, before))
        assert abs((rows[0] + rows[-1]) / (old[0] + old[-1]) - 1) < 2 * perturbations.SCALE
        assert abs(view.sum() / before.sum() - 1) < 2 * perturbations.SCALE + 0.01
    assert not np.array_equal(worse.mask[1:], views.mask[1:])


def test_a_swapped_view_is_the_other_objects_and_the_rest_stays(views):
    other = replace(views, mask=views.mask[:, ::-1], normal=views.normal[:, ::-1], color=views.color[:, ::-1])
    mixed = perturbations.swapped(views, other)
    for i in range(len(views.mask)):
        source = other if i == perturbations.SWAPPED else views
        assert all(np.array_equal(getattr(mixed, n)[i], getattr(source, n)[i]) for n in ("color", "normal", "mask"))

"""A body as the beginning of a fit: kept where no view speaks, given up where one speaks against it."""

import functools

import numpy as np
import pytest

from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.sdf import Box, Solid, Sphere, render_world
from img2mv3d.neus.fit import Fit, FitOptions, Level, fit
from img2mv3d.neus.prior import Prior, agreement

NODES = 64
OPTIONS = FitOptions((Level(32, 200), Level(NODES, 60, sharp=(1.5, 4.0))))
BALL = Sphere(radius=0.6)
BOWL = Sphere(radius=0.6) - Sphere((0.0, 0.45, 0.0), 0.4)  # its hollow opens upwards, where no camera of the six looks
PLATE = Box((0, -0.3, 0), (0.6, 0.02, 0.5))  # thinner than two cells, seen at its rims only


@functools.cache
def world(solid: Solid) -> tuple[np.ndarray, np.ndarray]:
    """(normals, masks)"""
    _, normal, mask, _ = render_world(solid, SIX_VIEWS, 96)
    return normal, mask


def field(solid: Solid) -> np.ndarray:
    line = np.linspace(-1, 1, NODES)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    return solid.distance(points).reshape((NODES,) * 3).astype(np.float32)


def fitted(solid: Solid, begin: Solid, shown: Solid | None = None) -> Fit:
    """The fit to views of one solid that begins with another; shown: what the prior's agreement is measured against."""
    (normal, mask), (own_normal, own_mask) = world(solid), world(shown or begin)
    return fit(
        normal, mask, SIX_VIEWS, OPTIONS, prior=Prior(field(begin), agreement(mask, normal, own_mask, own_normal))
    )


def inside(sdf: np.ndarray, point: tuple[float, float, float]) -> bool:
    at = tuple(round((c + 1) / 2 * (sdf.shape[0] - 1)) for c in point)
    return bool(sdf[at] < 0)


def test_views_that_agree_leave_the_body_as_it_is() -> None:
    found = fitted(BALL, BALL)
    near = np.abs(field(BALL)) < 0.05
    assert np.abs(found.sdf - field(BALL))[near].max() < 0.5 * 2 / NODES
    assert found.figures["source"] == "neus" and not found.warnings


def test_a_hollow_that_no_view_shows_is_kept() -> None:
    hollow = (0.0, 0.3, 0.0)
    assert not inside(fitted(BOWL, BOWL).sdf, hollow)
    normal, mask = world(BOWL)
    assert inside(fit(normal, mask, SIX_VIEWS, OPTIONS).sdf, hollow)  # the silhouettes alone fill it


def test_a_plate_that_is_seen_edge_on_is_kept_whole() -> None:
    found = fitted(PLATE, PLATE)
    line = np.linspace(-0.5, 0.5, 9)
    assert all(inside(found.sdf, (x, -0.3, z)) for x in line for z in 0.8 * line)


def test_views_that_contradict_the_body_win() -> None:
    """A dent that somebody painted on the normals, and a bump on the outlines."""
    dented = BALL - Sphere((0.0, 0.1, 0.62), 0.3)
    found = fitted(dented, BALL)
    assert not inside(found.sdf, (0.0, 0.1, 0.5)) and inside(found.sdf, (0.0, 0.1, 0.2))
    bumped = BALL | Box((0, 0.62, 0), (0.12, 0.12, 0.12))
    assert inside(fitted(bumped, BALL).sdf, (0.0, 0.68, 0.0))


def test_a_view_without_normals_says_nothing_against_a_body() -> None:
    normal, mask = world(BALL)
    assert agreement(mask, np.zeros_like(normal), mask, normal).min() == 1
    assert agreement(mask, normal, mask, normal).min() == 1
    turned = normal[..., [0, 2, 1]]
    assert agreement(mask, turned, mask, normal)[0, 48, 48] == pytest.approx(0)


def test_equal_inputs_give_equal_fields() -> None:
    assert np.array_equal(fitted(BOWL, BOWL).sdf, fitted(BOWL, BOWL).sdf)

"""Enlargements of corresponding points: the same thing twice in true views, found on what both views see."""

from dataclasses import replace

import numpy as np
import pytest

from experiments.decoder.zoom_sheets import zoom_sheet
from img2mv3d.eval.comparison import Case
from img2mv3d.eval.sheets import HALF, TILE, spots
from img2mv3d.geometry.cameras import SIX_VIEWS
from tests.patterned import ball_points, patterned_ball


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def test_a_spot_is_one_surface_point_in_two_views(ball: Case):
    found = spots(ball)
    assert len(found) == 2 and 0 in (found[0].view, found[0].other) and 0 not in (found[1].view, found[1].other)
    for spot in found:
        assert spot.here[1] == pytest.approx(spot.there[1], abs=1e-4)  # rows are epipolar
        turn = SIX_VIEWS.azimuth_deg[spot.other] - SIX_VIEWS.azimuth_deg[spot.view]
        x = spot.here[0] * 2 / 128 - 1
        y = 1 - spot.here[1] * 2 / 128
        z = float(np.sqrt(0.25 - x * x - y * y))
        expected = np.cos(np.radians(turn)) * x + np.sin(np.radians(turn)) * z
        assert spot.there[0] == pytest.approx((expected + 1) * 64, abs=0.05)


def test_detail_on_the_object_is_found_and_its_outline_against_white_is_not(ball: Case):
    black = np.where(ball.truth.mask[..., None] >= 0.5, 0.0, 1.0).astype(np.float32).repeat(3, axis=-1)
    black[:, 62:66, 62:66] = 0.1  # in the middle of every view, where its neighbours see it, too
    narrow = ball.truth.mask * (np.abs(np.arange(128) - 63.5) < 5)[:, None]  # too low for a place well inside
    for mask in (ball.truth.mask, narrow):
        for spot in spots(replace(ball, truth=replace(ball.truth, color=black, mask=mask.astype(np.float32)))):
            assert np.hypot(spot.here[0] - 64, spot.here[1] - 64) < 12


def test_the_middles_of_the_two_enlargements_are_alike_where_views_show_one_thing_and_not_in_noise(ball: Case):
    places = 0.5 + 0.5 * ball_points()[2].movedim(1, -1).numpy()
    noise = np.random.default_rng(0).random(ball.truth.color.shape, np.float32)
    sheet = zoom_sheet(ball, {"places": places, "noise": noise}).astype(float)
    assert sheet.shape == (2 * (TILE + 2) - 2, 6 * (TILE + 2) - 2, 3)

    def middle(row: int, column: int) -> np.ndarray:
        y, x = ((TILE + 2) * i + TILE // 2 for i in (row, column))
        return sheet[y - 6 : y + 6, x - 6 : x + 6].mean((0, 1))

    for column in (1, 4):
        assert np.abs(middle(0, column) - middle(0, column + 1)).max() < 4
    assert max(np.abs(middle(1, c) - middle(1, c + 1)).max() for c in (1, 4)) > 25


def test_views_that_share_nothing_make_a_sheet_without_enlargements(ball: Case):
    nothing = np.zeros_like(ball.z)
    empty = replace(ball, truth=replace(ball.truth, mask=nothing), z=nothing)
    assert spots(empty) == []
    assert zoom_sheet(empty, {"true views": ball.truth.color}).shape == (TILE, TILE, 3)
    assert HALF * 2 < TILE

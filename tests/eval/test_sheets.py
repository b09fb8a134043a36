"""Comparison sheets: a row for every method and one for the truth, with lines where views agree."""

from pathlib import Path

import numpy as np
import pytest

from img2mv3d.eval.comparison import Case, Method, Planned, Result
from img2mv3d.eval.sheets import GAP, OFF, ON, TILE, comparison_sheet, tiled, write_comparisons
from tests.patterned import noisy, patterned_ball

COLUMNS = 1 + 6 + 2 + 2  # the photo, the views, two enlargements, two views with the matches between them


@pytest.fixture(scope="module")
def ball() -> Case:
    return patterned_ball()


def rows_of(sheet: np.ndarray) -> list[np.ndarray]:
    return [sheet[i : i + TILE] for i in range(0, len(sheet), TILE + GAP)]


def test_a_row_for_every_method_and_the_truth_comes_last(ball: Case) -> None:
    sheet = comparison_sheet(
        ball, {"noise": noisy(ball), "a mesh": Result(mesh=(np.zeros((0, 3)), np.zeros((0, 3), int)))}
    )
    noise, truth = rows_of(sheet)
    assert sheet.shape[1] == COLUMNS * TILE + (COLUMNS - 2) * GAP
    assert np.array_equal(noise[20:, :TILE], truth[20:, :TILE])  # the photo
    assert not np.array_equal(noise[20:, TILE + GAP : 2 * TILE], truth[20:, TILE + GAP : 2 * TILE])


def test_true_views_agree_on_the_line_and_noise_does_not(ball: Case) -> None:
    noise, truth = (row[:, -2 * TILE :] for row in rows_of(comparison_sheet(ball, {"noise": noisy(ball)})))

    def painted(picture: np.ndarray, color: tuple[int, int, int]) -> int:
        return int((picture == color).all(-1).sum())

    assert painted(truth, ON) > 500 and painted(truth, ON) > 2 * painted(noise, ON)
    assert painted(truth, OFF) < painted(truth, ON)


def test_rows_of_different_lengths_stand_on_white() -> None:
    one = np.zeros((4, 4, 3), np.uint8)
    sheet = tiled([[one, one], [one]])
    assert sheet.shape == (8 + GAP, 8 + GAP, 3) and (sheet[4 + GAP :, 4:] == 255).all() and not sheet[:4, :4].any()


def test_a_file_for_every_case(ball: Case, tmp_path: Path) -> None:
    told: list[str] = []
    methods = {"noise": Method(noisy), "nothing": Method(lambda case: None)}
    write_comparisons([Planned("ball", "x", "", lambda: ball)], methods, tmp_path / "new", told.append)
    assert told == [str(tmp_path / "new" / "ball.png")] and Path(told[0]).exists()

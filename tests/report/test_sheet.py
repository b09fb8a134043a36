"""Sheets: pictures of a run, each tile where it belongs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2mv3d.errors import InputError
from img2mv3d.report.sheet import depth_pictures, grid, main, runs_sheet, sheet
from tests.finished import finished_run


def test_a_grid_holds_every_tile_in_its_row_and_column() -> None:
    red, blue = Image.new("RGB", (20, 20), "red"), Image.new("RGB", (20, 20), "blue")
    picture = grid([[("a", red)], [("b", red), ("c", blue)]], 20)
    assert picture.size == (40, 2 * 34)
    assert picture.getpixel((10, 24)) == (255, 0, 0) and picture.getpixel((30, 58)) == (0, 0, 255)
    assert picture.getpixel((30, 24)) == (255, 255, 255)


def test_near_is_lighter_than_far_and_nothing_is_white() -> None:
    z = np.array([[[-0.5, 0.5, 0.0]]], np.float32)
    near, far, nothing = depth_pictures(z, np.array([[[1.0, 1.0, 0.0]]], np.float32))[0, 0, :, 0]
    assert near > far and nothing == 255


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"prepare\.json"):
        sheet(tmp_path)


def test_many_runs_are_a_row_each_from_cut_out_to_mesh(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    one, other = finished_run(tmp_path / "one"), finished_run(tmp_path / "other")
    assert runs_sheet([one, other], tile=24).size == ((1 + 6 + 6 + 4) * 24, 2 * 38)
    main([str(one), str(other), "-o", str(tmp_path / "pictures")])
    assert capsys.readouterr().out.strip().endswith("runs.jpg")
    assert (tmp_path / "pictures" / "runs.jpg").is_file()

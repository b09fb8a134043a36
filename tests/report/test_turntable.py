"""Films: the mesh turns, fills the picture, and every frame can be read back."""

from pathlib import Path

import numpy as np
import pytest

from img2mv3d.errors import ResourceError, UsageError
from img2mv3d.mesh.arrays import MeshArrays
from img2mv3d.report import turntable
from img2mv3d.report.turntable import KINDS, count_frames, frames, side_by_side, write_film
from tests.balls import ball


def half_red(offset: float = 0.0, size: float = 1.0) -> MeshArrays:
    """A ball whose +x half is red, the rest blue."""
    mesh = ball()
    colors = np.where(mesh.vertices[:, :1] > 0, [[255, 0, 0]], [[0, 0, 255]]).astype(np.uint8)
    return MeshArrays(mesh.vertices * size + offset, mesh.faces, colors)


def redness(picture: np.ndarray) -> float:
    inside = (picture < 250).any(-1)
    return float((picture[inside][:, 0] > picture[inside][:, 2]).mean())


def test_it_turns_once_by_equal_steps_from_the_front() -> None:
    front, left, back, right = frames(half_red(), 4, 64)
    assert redness(front) == pytest.approx(0.5, abs=0.1) == redness(back)
    assert redness(left) < 0.05 and redness(right) > 0.95  # the front goes to the viewer's right
    assert redness(front[:, 40:]) > 0.9 and redness(back[:, 40:]) < 0.1


def test_place_and_size_of_the_mesh_do_not_matter() -> None:
    small, large = (next(iter(frames(half_red(o, s), 3, 64))) for o, s in ((0.0, 0.01), (50.0, 30.0)))
    assert np.abs(small.astype(int) - large).max() <= 2
    inside = (small < 250).any(-1)
    assert inside.any(0).mean() > 0.7 and not inside[0].any() and not inside[-1].any()


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_read_back(kind: str, tmp_path: Path) -> None:
    pictures = list(frames(half_red(), 5, 64))
    pictures.insert(2, pictures[1])  # equal neighbours are two frames, too
    write_film(pictures, tmp_path / f"film.{kind}", kind)
    assert count_frames(tmp_path / f"film.{kind}") == 6
    assert [p.name for p in tmp_path.iterdir()] == [f"film.{kind}"]


def test_a_film_that_lost_frames_does_not_get_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.gif").write_bytes(b"older")
    monkeypatch.setattr(turntable, "_write_gif", lambda pictures, path: turntable._write_webp(pictures[:1], path))
    with pytest.raises(ResourceError, match="1 of 2 pictures"):
        write_film(list(frames(half_red(), 2, 32)), tmp_path / "film.gif", "gif")
    assert (tmp_path / "film.gif").read_bytes() == b"older" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("height", "width", "bound"), [(80, 40, "height"), (30, 300, "width")])
def test_beside_the_mesh_the_cut_out_stands_still_and_as_high(height: int, width: int, bound: str) -> None:
    turning = list(frames(half_red(), 3, 64))
    cutout = np.zeros((400, 500, 4), np.uint8)
    cutout[50 : 50 + height, 100 : 100 + width] = (0, 255, 0, 255)
    both = side_by_side(turning, cutout)
    assert [picture.shape for picture in both] == [(64, 128, 3)] * 3
    for picture, mesh in zip(both, turning, strict=True):
        np.testing.assert_array_equal(picture[:, 64:], mesh)
        np.testing.assert_array_equal(picture[:, :64], both[0][:, :64])
    green, mesh = ((part < 250).any(-1) for part in (both[0][:, :64], turning[0]))
    rows, columns = np.flatnonzero(green.any(1)), np.flatnonzero(green.any(0))
    shown = np.flatnonzero(mesh.any(1))
    if bound == "height":
        assert abs(rows[0] - shown[0]) <= 1 and abs(rows[-1] - shown[-1]) <= 1
    assert len(columns) / len(rows) == pytest.approx(width / height, rel=0.15) and len(columns) <= 62


def test_unknown_kinds_and_odd_sides_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected one of gif, webp, mp4"):
        write_film([], tmp_path / "film.avi", "avi")
    with pytest.raises(UsageError, match="even side"):
        write_film([np.zeros((33, 33, 3), np.uint8)], tmp_path / "film.mp4", "mp4")

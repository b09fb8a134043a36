"""What a folder holds is found; what is missing is told and spoils nothing."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from img2mv3d.errors import InputError
from img2mv3d.mesh.files import read_mesh, write_mesh
from img2mv3d.report.gather import PHOTO_SIDE, find_photo, gather, mesh_of
from tests.finished import finished_run


def test_everything_of_a_finished_run_is_found(tmp_path: Path) -> None:
    story = gather(finished_run(tmp_path))
    assert story.missing == () and story.mesh_name == "mesh.glb" and story.record["seed"] == 7
    assert tuple(story.photo[30, 40]) == (0, 128, 128) and story.subject.shape == (256, 256, 4)
    assert story.agree["views"].reprojection_error < story.agree["plain"].reprojection_error


@pytest.mark.parametrize("lost", ["mesh.glb", "views", "depth.npz", "subject.png", "plain", "run.json"])
def test_whatever_is_lost_is_told_and_the_rest_stands(lost: str, tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    shutil.rmtree(out / lost) if (out / lost).is_dir() else (out / lost).unlink()
    story = gather(out)
    assert story.missing and all(line.startswith(str(out)) for line in story.missing)
    found = [story.mesh, story.views, story.depth, story.subject, story.plain, story.record or None]
    assert sum(part is None for part in found) == (2 if lost == "plain" else 1)  # depth is read against plain views


def test_a_folder_without_a_run_is_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run in there"):
        gather(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        gather(tmp_path / "nowhere")


def test_the_photo_is_taken_only_with_the_same_content(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    source = gather(out).record["source"]
    assert find_photo(out, source) == tmp_path / "ring.png"
    (tmp_path / "ring.png").write_bytes(b"another")
    assert find_photo(out, source) is None and gather(out).photo is None
    assert find_photo(out, {**source, "name": "../ring.png"}) is None
    assert find_photo(out, {**source, "kind": "run"}) is None


def test_a_broken_photo_and_a_large_one(tmp_path: Path) -> None:
    from PIL import Image

    out = finished_run(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    story = gather(out, tmp_path / "broken.jpg")
    assert story.photo is None and "cannot be read" in story.missing[0]
    Image.new("RGB", (3000, 1500)).save(tmp_path / "large.jpg")
    assert gather(out, tmp_path / "large.jpg").photo.shape == (PHOTO_SIDE // 2, PHOTO_SIDE, 3)


def test_meshes_of_printers_are_turned_upright(tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    upright = read_mesh(out / "mesh.glb")
    write_mesh(upright, out / "mesh.stl")
    turned, name = mesh_of(out / "mesh.stl")
    assert name == "mesh.stl" and mesh_of(out)[1] == "mesh.glb"
    shape = np.ptp(turned.vertices, axis=0) / np.ptp(upright.vertices, axis=0)
    np.testing.assert_allclose(shape, shape[0], rtol=1e-4)
    top = turned.vertices[turned.vertices[:, 1].argmax()] / shape[0]
    np.testing.assert_allclose(
        top[1] - turned.vertices[:, 1].min() / shape[0], np.ptp(upright.vertices[:, 1]), rtol=1e-4
    )

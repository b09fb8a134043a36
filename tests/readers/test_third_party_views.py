"""Views of other programs become ours: right pictures, masks, normals and cameras; what is amiss is one line."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from img2mv3d.cli.app import app
from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.errors import ViewsError
from img2mv3d.files.contents import encode_normals, to_bytes
from img2mv3d.geometry.cameras import project
from img2mv3d.geometry.sdf import Box, render_world
from img2mv3d.readers.third_party_views import LAYOUTS, layout_of, read_foreign, resized
from img2mv3d.values import load_views

BOX = Box(half=(0.5, 0.3, 0.2))  # wider than deep, so that a turned rig shows
SIZE = 64


@pytest.fixture(scope="module")
def worlds():
    """By rig, what each program would have seen of one box: colours, normals, masks."""
    return {}


def seen(worlds, name, size=SIZE):
    if (name, size) not in worlds:
        worlds[name, size] = render_world(BOX, LAYOUTS[name].rig, size)
    return worlds[name, size]


def written(folder: Path, name: str, worlds, alpha=True, normals=True, ground=255, side=None) -> Path:
    """The box's views as the program leaves them; side: of a tile, px, if not as they have it."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = LAYOUTS[name]
    side = side or layout.side
    color, normal, mask, _ = seen(worlds, name, side if layout.tiles else SIZE)
    mask = (mask > 0.5)[..., None]
    pictures = np.where(mask, to_bytes(color * 0.6), ground).astype(np.uint8)
    coded = encode_normals(normal, mask[..., 0].astype(np.float32))
    cover = to_bytes(mask.astype(np.float32))
    if layout.tiles:
        rows, columns = layout.tiles
        sheet = pictures.reshape(rows, columns, side, side, 3).swapaxes(1, 2).reshape(rows * side, columns * side, 3)
        Image.fromarray(sheet).save(folder / "0.png")
        return folder
    for i, view in enumerate(VIEW_NAMES):
        for pattern, picture in ((layout.colors[-1], pictures[i]), (layout.normals[0], coded[i])):
            if normals or pattern in layout.colors:
                path = folder / pattern.format(view)
                whole = np.concatenate([picture, cover[i]], axis=-1) if alpha else picture
                Image.fromarray(whole).save(path)
    return folder


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("name", ["wonder3d", "era3d"])
def test_six_files_each_become_views_with_world_normals(name, alpha, worlds, tmp_path):
    folder = written(tmp_path / "theirs", name, worlds, alpha)
    assert layout_of(folder) == name
    views = read_foreign(folder, name)
    _, normal, mask, _ = seen(worlds, name)
    inside = mask > 0.5
    assert ((views.mask > 0.5) == inside).mean() > 0.999
    assert np.abs(views.normal - normal)[inside].max() < 0.02  # eight bits
    assert views.rig.names == VIEW_NAMES and views.origin == name
    assert any("guessed" in line for line in views.warnings) != alpha


@pytest.mark.parametrize("ground", [255, 127])
@pytest.mark.parametrize("name", ["syncdreamer", "zero123plus"])
def test_a_sheet_is_cut_into_views_whatever_its_background(name, ground, worlds, tmp_path):
    folder = written(tmp_path / "theirs", name, worlds, ground=ground)
    assert layout_of(folder) == layout_of(folder / "0.png") == name
    views = read_foreign(folder, name)
    _, _, mask, _ = seen(worlds, name, LAYOUTS[name].side)
    assert views.normal is None and len(views.rig) == len(mask)
    for ours, theirs in zip(views.mask > 0.5, mask > 0.5, strict=True):
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.99
    assert views.color[:, 0, 0].min() == 1  # over white, whatever it was over
    assert any("no normals" in line for line in views.warnings)


def test_sheets_run_row_by_row_round_the_object():
    """The first column of Zero123++'s grid looks down, the second up; SyncDreamer's strip looks down throughout."""
    zero, sync = LAYOUTS["zero123plus"].rig, LAYOUTS["syncdreamer"].rig
    assert zero.azimuth_deg == (30, 90, 150, 210, 270, 330) and zero.elevation_deg == (30, -20, 30, -20, 30, -20)
    assert [a for a in sync.azimuth_deg][:3] == [0, 22.5, 45] and set(sync.elevation_deg) == {30}
    assert LAYOUTS["zero123plus-1.2"].rig.elevation_deg == (20, -10, 20, -10, 20, -10)
    (u, v), _ = project(zero.cameras(100)[1], np.array([0.0, 0.5, 0.0]))
    assert u == pytest.approx(50) and v < 50


def test_syncdreamers_lens_is_35_on_32():
    camera = LAYOUTS["syncdreamer"].rig.cameras(256)[0]
    assert 128 / camera.half_width == pytest.approx(35 / 32 * 256)


def test_normals_may_be_missing_but_not_some_of_them(worlds, tmp_path):
    folder = written(tmp_path / "bare", "wonder3d", worlds, normals=False)
    assert read_foreign(folder, "wonder3d").normal is None
    folder = written(tmp_path / "some", "wonder3d", worlds)
    (folder / "normals_000_left.png").unlink()
    with pytest.raises(ViewsError, match=r"normals_000_left\.png is missing"):
        read_foreign(folder, "wonder3d")


def test_a_busy_background_or_another_shape_is_refused(worlds, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (256, 4096, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.png")
    with pytest.raises(ViewsError, match="no even background"):
        read_foreign(tmp_path, "syncdreamer")
    with pytest.raises(ViewsError, match="2 by 3 square views"):
        read_foreign(tmp_path, "zero123plus")
    assert layout_of(tmp_path / "nowhere") is None


def test_our_own_folders_and_other_pictures_are_left_alone(worlds, tmp_path):
    (tmp_path / "photo").mkdir()
    Image.new("RGB", (200, 300)).save(tmp_path / "photo" / "portrait.png")
    assert layout_of(tmp_path / "photo") is None
    folder = written(tmp_path / "theirs", "wonder3d", worlds)
    (folder / "run.json").write_text("{}")
    assert layout_of(folder) is None


def test_resizing_keeps_normals_unit(worlds, tmp_path):
    views = resized(read_foreign(written(tmp_path / "theirs", "wonder3d", worlds), "wonder3d"), 32)
    length = np.linalg.norm(views.normal, axis=-1)
    assert views.color.shape == (6, 32, 32, 3) and np.allclose(length[views.mask > 0.9], 1, atol=1e-5)
    assert resized(views, 32) is views


def called(*words):
    result = CliRunner().invoke(app, [*map(str, words), "--no-cache", "-q"])
    assert result.exit_code == 0, result.output
    return Path(result.stdout.strip()), result.stderr


@pytest.mark.parametrize("name", ["wonder3d", "zero123plus"])
def test_reconstruct_takes_them(name, worlds, tmp_path):
    folder = written(tmp_path / "theirs", name, worlds, side=SIZE)
    words = ("--layout", name, "--grid", 32, "--effort", 0.05, "-o", tmp_path / "out")
    where, said = called("reconstruct", folder, *words)
    assert where == tmp_path / "out" / "surface.npz" and f"views of {name}" in said
    grid = np.load(where)["sdf"] < 0
    assert 0.7 < grid.mean() / np.prod(BOX.half) < 1.5  # silhouettes seen from above and below leave horns on a box
    nodes = np.linspace(-1, 1, grid.shape[0])
    core = np.ix_(*(np.flatnonzero(np.abs(nodes) < 0.7 * half) for half in BOX.half))
    assert grid[core].all()
    assert ("no normal maps" in said) == (name == "zero123plus")


def test_decode_takes_them(worlds, tmp_path):
    from tests.toys import toy_bundle

    toy_bundle(tmp_path / "toy")
    folder = written(tmp_path / "theirs", "zero123plus", worlds, side=SIZE)
    words = ("--layout", "zero123plus", "--bundle", tmp_path / "toy", "--depth", "none", "-o", tmp_path / "out")
    where, _ = called("decode", folder, *words)
    views = load_views(where)
    assert views.rig == LAYOUTS["zero123plus"].rig and views.color.shape == (6, 256, 256, 3)


def test_an_unknown_layout_is_a_usage_error(tmp_path):
    result = CliRunner().invoke(app, ["reconstruct", str(tmp_path), "--layout", "mvdream"])
    assert result.exit_code == 2 and "is not one of 'wonder3d', 'era3d'" in result.stderr

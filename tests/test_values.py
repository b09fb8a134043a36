"""Nouns on disk: what is saved comes back, and what is broken is refused in one line."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2mv3d.errors import DepthError, InputError, LatentsError, PhotoError, SurfaceError, ViewsError
from img2mv3d.files.contents import read_json, write_json, write_npz, write_png
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import frame
from img2mv3d.values import Depth, Framing, Latents, Subject, Surface, Views, load_depth, load_views, paint_on


def some_latents() -> Latents:
    rng = np.random.default_rng(0)
    color = rng.standard_normal((6, 4, 32, 32), np.float32)
    front = rng.integers(0, 256, (256, 256, 4), np.uint8)
    vae = {"name": "sd-1.x", "digest": "0"}
    return Latents(color, color[::-1].copy(), front, SIX_VIEWS, 144, vae, "mini", 7, {"steps": 12})


def some_views(size: int = 32) -> Views:
    rng = np.random.default_rng(1)
    mask = np.zeros((6, size, size), np.float32)
    mask[:, 8:24, 8:24] = 1
    mask[:, 7, 8:24] = 0.6
    normal = rng.standard_normal((6, size, size, 3)).astype(np.float32)
    normal *= (mask >= 0.5)[..., None] / np.linalg.norm(normal, axis=-1, keepdims=True)
    return Views(rng.random((6, size, size, 3), np.float32), normal.astype(np.float32), mask, SIX_VIEWS)


def test_latents_come_back_as_they_were(tmp_path: Path) -> None:
    before = some_latents()
    before.save(tmp_path)
    after = Latents.load(tmp_path)
    np.testing.assert_array_equal(after.color, before.color)
    np.testing.assert_array_equal(after.normal, before.normal)
    np.testing.assert_array_equal(after.front, before.front)
    assert (after.rig, after.vae, after.seed, after.settings) == (before.rig, before.vae, 7, {"steps": 12})


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    surface = Surface(np.ones((8, 8, 8), np.float32), {"iou": 0.5, "a": 1})
    for folder in (tmp_path / "x", tmp_path / "y"):
        folder.mkdir()
        for noun in (some_latents(), some_views(), surface):
            noun.save(folder)
    files = [p.relative_to(tmp_path / "x") for p in (tmp_path / "x").rglob("*") if p.is_file()]
    assert len(files) == 15
    for name in files:
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_views_come_back_within_eight_bits(tmp_path: Path) -> None:
    before = some_views()
    before.save(tmp_path)
    after = Views.load(tmp_path)
    assert np.abs(after.color - before.color).max() <= 0.5 / 255 + 1e-6
    assert np.abs(after.mask - before.mask).max() <= 0.5 / 255 + 1e-6
    solid = before.mask == 1
    assert np.degrees(np.arccos(np.clip((after.normal * before.normal).sum(-1)[solid], -1, 1))).max() < 0.6
    assert (after.normal[before.mask == 0] == 0).all() and after.rig == SIX_VIEWS


def test_views_without_notes_are_the_six(tmp_path: Path) -> None:
    some_views().save(tmp_path)
    (tmp_path / "views" / "views.json").unlink()
    assert Views.load(tmp_path).rig == SIX_VIEWS


@pytest.mark.parametrize("fault", ["missing view", "missing normal", "sizes", "not a picture", "escape", "no folder"])
def test_a_folder_of_views_that_cannot_be_used_is_refused(tmp_path: Path, fault: str) -> None:
    some_views().save(tmp_path)
    folder = tmp_path / "views"
    if fault == "missing view":
        (folder / "color_back.png").unlink()
    elif fault == "missing normal":
        (folder / "normal_back.png").unlink()
    elif fault == "sizes":
        write_png(folder / "color_left.png", np.zeros((8, 8, 4), np.uint8))
    elif fault == "not a picture":
        (folder / "color_left.png").write_text("no picture")
    elif fault == "escape":
        notes = read_json(folder / "views.json", ViewsError)
        notes["rig"]["names"][0] = "../../etc/passwd"
        write_json(folder / "views.json", notes)
    elif fault == "no folder":
        folder = tmp_path / "elsewhere"
    with pytest.raises(ViewsError, match=str(folder.name)):
        load_views(folder)


def test_depth_comes_back_and_is_zero_where_nothing_was_hit(tmp_path: Path) -> None:
    views = some_views()
    z = np.full(views.mask.shape, 0.25, np.float32)
    Depth(z, views.mask, views, np.ones((8, 8, 8), np.float32), "hull", ("a warning",)).save(tmp_path)
    after = Depth.load(tmp_path)
    assert after.origin == "hull" and after.warnings == ("a warning",) and after.coarse is not None
    assert (after.z[views.mask == 0] == 0).all() and (after.z[views.mask == 1] == 0.25).all()


@pytest.mark.parametrize("fault", ["nan", "shape", "keys", "rubbish", "notes"])
def test_a_depth_file_that_cannot_be_used_is_refused(tmp_path: Path, fault: str) -> None:
    path, shape = tmp_path / "depth.npz", (6, 8, 8)
    if fault == "rubbish":
        path.write_bytes(b"PK rubbish")
    elif fault == "keys":
        np.savez(path, z=np.zeros(shape))
    elif fault == "notes":
        np.savez(path, z=np.zeros(shape), hit=np.ones(shape), notes=np.zeros(3, np.uint8))
    else:
        fill = np.nan if fault == "nan" else 0.0
        np.savez(path, z=np.full(shape if fault == "nan" else (1, 2, 3), fill), hit=np.ones(shape))
    with pytest.raises(DepthError, match=r"depth\.npz"):
        load_depth(path, shape)


def test_a_surface_must_be_a_finite_cube(tmp_path: Path) -> None:
    for sdf in (np.zeros((8, 8, 9)), np.full((8, 8, 8), np.inf), np.zeros((4, 4, 4))):
        write_npz(tmp_path / "surface.npz", sdf=sdf)
        with pytest.raises(SurfaceError, match=r"surface\.npz"):
            Surface.load(tmp_path)


def test_a_subject_comes_back(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 4), np.uint8)
    before = Subject(image, image[:100, :77].copy(), Framing((0.5, 0.5), (3.0, -2.0), 144), "plain", ("w",))
    before.save(tmp_path)
    after = Subject.load(tmp_path)
    np.testing.assert_array_equal(after.full, before.full)
    assert (after.framing, after.remover, after.warnings) == (before.framing, "plain", ("w",))
    write_json(tmp_path / "prepare.json", {"framing": {}})
    with pytest.raises(PhotoError, match="prepare"):
        Subject.load(tmp_path)


def test_all_refusals_are_input_errors_with_code_three() -> None:
    for kind in (PhotoError, LatentsError, ViewsError, DepthError, SurfaceError):
        assert issubclass(kind, InputError) and kind.exit_code == 3


# ------------------------------------------------------------------------------------------- what somebody edited


GREEN = np.array([0, 255, 0, 255], np.uint8)


def a_subject(folder: Path, size: int = 600) -> Subject:
    """A disc with a gradient, framed as `prepare` does, saved."""
    y, x = np.mgrid[:size, :size] / size
    inside = np.hypot(x - 0.45, y - 0.5) < 0.3
    full = np.dstack([x * 255, y * 255, 0 * x + 90, inside * 255]).astype(np.uint8)
    image, framing = frame(full, 192)
    subject = Subject(image, full, framing)
    subject.save(folder)
    return subject


def greens(picture: np.ndarray) -> float:
    return float((np.abs(picture.astype(int) - GREEN).max(-1) < 30).mean())


def test_paint_on_the_framed_picture_is_on_the_cut_out_too_and_nothing_else_changes(tmp_path: Path) -> None:
    before = a_subject(tmp_path)
    painted = before.image.copy()
    painted[100:140, 100:140] = GREEN
    write_png(tmp_path / "subject.png", painted)
    after = Subject.load(tmp_path)
    np.testing.assert_array_equal(after.image, painted)
    scale = before.framing.scale[0]
    assert greens(after.full) == pytest.approx((40 / scale / 600) ** 2, rel=0.1)
    far = np.abs(after.full.astype(int) - before.full).max(-1) > 0
    assert far.mean() < 1.5 * greens(after.full)


def test_what_was_rubbed_out_or_added_is_so_on_the_cut_out(tmp_path: Path) -> None:
    before = a_subject(tmp_path)
    painted = before.image.copy()
    painted[:, 128:] = 0
    painted[20:40, 100:120] = GREEN
    write_png(tmp_path / "subject.png", painted)
    after = Subject.load(tmp_path)
    share = (after.full[..., 3] > 127).sum() / (before.full[..., 3] > 127).sum()
    assert 0.45 < share < 0.6 and greens(after.full) > 0.001


def test_paint_on_the_cut_out_is_on_the_framed_picture_too(tmp_path: Path) -> None:
    before = a_subject(tmp_path)
    painted = before.full.copy()
    painted[280:340, 250:310] = GREEN
    write_png(tmp_path / "subject_full.png", painted)
    later = time.time() + 10
    os.utime(tmp_path / "subject_full.png", (later, later))
    after = Subject.load(tmp_path)
    np.testing.assert_array_equal(after.full, painted)
    assert greens(after.image) > 0.003


@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("name", ["subject.png", "subject_full.png"])
def test_lost_transparency_comes_back_from_the_other_picture(tmp_path: Path, name: str, ground: int) -> None:
    before = a_subject(tmp_path)
    pixels = before.image if name == "subject.png" else before.full
    flat = np.where(pixels[..., 3:] > 127, pixels[..., :3], np.uint8(ground))
    write_png(tmp_path / name, flat)
    after = Subject.load(tmp_path)
    assert f"{name} has lost its transparency" in after.warnings[-1]
    for a, b in ((after.image, before.image), (after.full, before.full)):
        assert np.abs((a[..., 3] > 127).mean() - (b[..., 3] > 127).mean()) < 0.01
    write_png(tmp_path / "subject.png", np.zeros((256, 256, 3), np.uint8))
    write_png(tmp_path / "subject_full.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(PhotoError, match="no transparency"):
        Subject.load(tmp_path)


@pytest.mark.parametrize("normals", [True, False])
def test_a_view_without_transparency_is_cut_out_anew(tmp_path: Path, normals: bool) -> None:
    before = some_views()
    (before if normals else Views(before.color, None, before.mask, before.rig)).save(tmp_path)
    path = tmp_path / "views" / "color_right.png"
    with Image.open(path) as picture:
        flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
    flat.convert("RGB").save(path)
    after = Views.load(tmp_path)
    assert (
        np.abs(after.mask - before.mask).mean() < 0.02 and "color_right.png without transparency" in after.warnings[0]
    )
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    for name in SIX_VIEWS.names:
        (tmp_path / "views" / f"normal_{name}.png").unlink(missing_ok=True)
    write_png(path, noise)
    with pytest.raises(ViewsError, match="no transparency and no even background"):
        Views.load(tmp_path)


def test_paint_is_where_a_view_differs_from_what_was_decoded() -> None:
    before = some_views()
    color = before.color.copy()
    color[2, 10:14, 10:14] += 0.5
    color[3, 10:14, 10:14] += 0.5
    views = Views(color, before.normal, before.mask, before.rig)
    painted = paint_on(views, before, {SIX_VIEWS.names[2]})
    assert painted.sum() == 16 and painted[2, 10:14, 10:14].all()
    whole = paint_on(views, None, {SIX_VIEWS.names[2]})
    np.testing.assert_array_equal(whole[2], before.mask[2] > 0.5)

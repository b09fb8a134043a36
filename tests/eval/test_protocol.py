"""The frozen protocols on a made-up copy: equal pixels every time, sides as told, arms that look at the photo only."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2mv3d.errors import InputError, UsageError
from img2mv3d.eval import ownfit, protocol, protocol_arms
from experiments.fit.alignment import Placement, realigned
from img2mv3d.eval.protocol import measure, run
from img2mv3d.eval.protocol_arms import Arm, brought_to_size, folder_arm, is_folder_of_views
from img2mv3d.eval.protocol_cases import GSO30, case_of, gso30, rotation
from img2mv3d.files.formats import to_bytes
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.values import Depth, Latents, Views, save_views
from tests.toys import toy_bundle

NAMES = list(GSO30)[:2]
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * [3, 2, 1]  # +Z up, wide along X
SIDES = {"+x": (4, 6, 7, 5), "-x": (0, 1, 3, 2), "+y": (2, 3, 7, 6), "-y": (0, 4, 5, 1), "+z": (1, 5, 7, 3)}
COLORS = {"+x": (230, 30, 30), "-x": (30, 230, 30), "+y": (30, 30, 230), "-y": (220, 220, 30), "+z": (30, 220, 220)}


def scanned(folder: Path, names: list[str] = NAMES) -> Path:
    """Boxes with a colour on each side, laid out as Google's archives are: the picture is not beside the mesh."""
    for name in names:
        meshes, pictures = folder / name / "meshes", folder / name / "materials" / "textures"
        meshes.mkdir(parents=True)
        pictures.mkdir(parents=True)
        lines = ["mtllib model.mtl", "usemtl one"] + [f"v {x:g} {y:g} {z:g}" for x, y, z in CORNERS]
        stripes = np.zeros((8, 8 * len(SIDES), 3), np.uint8)
        for i, (side, quad) in enumerate(SIDES.items()):
            stripes[:, 8 * i : 8 * i + 8] = COLORS[side]
            lines.append(f"vt {(i + 0.5) / len(SIDES)} 0.5")
            a, b, c, d = (f"{q + 1}/{i + 1}" for q in quad)
            lines += [f"f {a} {b} {c}", f"f {a} {c} {d}"]
        (meshes / "model.obj").write_text("\n".join(lines) + "\n")
        (meshes / "model.mtl").write_text("newmtl one\nmap_Kd texture.png\n")
        Image.fromarray(stripes).save(pictures / "texture.png")
    return folder


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scanned(tmp_path_factory.mktemp("gso"))


@pytest.fixture(scope="module")
def cases(copy: Path):
    return [case_of(subject) for subject in gso30(copy, 2)]


@pytest.fixture(autouse=True)
def no_fits(monkeypatch: pytest.MonkeyPatch):
    """`test_ownfit` tests what is told by an arm's own surface; here it would take minutes."""
    told = ownfit.Record("", "", "", 0.1, 3.0, 2.0, 9.0)
    monkeypatch.setattr(protocol, "own_measure", lambda *told_, **more: told)
    monkeypatch.setattr(protocol, "seen_apart", lambda picture, truth: 0.5)


def test_there_are_thirty_and_a_missing_one_is_named(copy: Path):
    assert len(GSO30) == 30
    with pytest.raises(InputError, match=r"28 of 30 objects are missing \(bell, blocks, .*\.\.\.\)"):
        list(gso30(copy))


@pytest.mark.parametrize(("azimuth", "side"), [(0.0, "+x"), (90.0, "+y"), (180.0, "-x"), (270.0, "-y"), (-90.0, "-y")])
def test_the_camera_stands_where_the_azimuth_says(azimuth: float, side: str):
    axis = {"x": 0, "y": 1}[side[1]]
    towards = np.eye(3)[axis] * (1 if side[0] == "+" else -1)
    assert rotation(azimuth, 0.0) @ towards == pytest.approx([0, 0, 1])
    assert rotation(azimuth, 0.0) @ [0, 0, 1] == pytest.approx([0, 1, 0])
    assert (rotation(azimuth, 30.0) @ [0, 0, 1])[2] == pytest.approx(0.5)  # the top leans to the camera


def test_the_photo_shows_that_side_with_its_texture_and_the_top(cases):
    case = cases[0]  # azimuth 270: -y
    photo = case.photo.astype(int)
    seen = {s: (np.abs(photo[..., :3] - c).max(-1) < 3) & (photo[..., 3] == 255) for s, c in COLORS.items()}
    shares = {s: m.sum() / (photo[..., 3] == 255).sum() for s, m in seen.items()}
    assert shares["-y"] > 0.5 and shares["+z"] > 0.05 and shares["-y"] + shares["+z"] > 0.7
    assert np.argwhere(seen["+z"]).mean(0)[0] < np.argwhere(seen["-y"]).mean(0)[0]  # the top is above
    covered = np.argwhere(photo[..., 3] >= 128)
    assert np.ptp(covered, axis=0).max() + 1 == pytest.approx(144, abs=1) and case.framing_px == 144


def test_equal_meshes_give_equal_digests_and_another_texture_does_not(cases, tmp_path: Path):
    again = scanned(tmp_path, NAMES[:1])
    same = case_of(next(gso30(again, 1)))
    assert (same.render, same.subject.mesh) == (cases[0].render, cases[0].subject.mesh)
    Image.fromarray(np.full((8, 40, 3), 90, np.uint8)).save(again / NAMES[0] / "materials" / "textures" / "texture.png")
    other = case_of(next(gso30(again, 1)))
    assert other.render != same.render and other.subject.mesh != same.subject.mesh


def test_a_table_beside_the_objects_tells_places_and_turns(copy: Path, cases, tmp_path: Path):
    moved = scanned(tmp_path, ["Some_Long_Name"])
    row = f"{NAMES[0]}\tSome_Long_Name/meshes/model.obj\t270\tz"
    (moved / "objects.tsv").write_text(f"id\tfile\tazimuth_deg\tup\n{row}\n")
    assert case_of(next(gso30(moved, 1))).render == cases[0].render
    (moved / "objects.tsv").write_text("id\tfile\nteacup\tx.obj\n")
    with pytest.raises(InputError, match="'teacup' is none of the thirty"):
        next(gso30(moved, 1))


def test_the_truth_as_an_arm_is_perfect_and_other_cameras_have_no_figures_by_it(cases):
    found = measure("gso30", cases[0], "truth", cases[0].views)
    assert (found.psnr, found.psnr_front, found.iou, found.warp) == (100, 100, 1, 0) and found.ssim == pytest.approx(1)
    views = cases[0].views
    turned = Rig(views.rig.names, (0.0, 60.0, 120.0, 180.0, -120.0, -60.0), views.rig.elevation_deg)
    other = measure("gso30", cases[0], "theirs", replace(views, rig=turned))
    assert np.isnan([other.psnr, other.iou, other.warp]).all() and np.isfinite([other.own_warp, other.matches]).all()


def test_views_framed_in_another_size_are_brought_back(cases):
    views = cases[0].views
    larger = [Placement(scale=144 / 176)] * 6
    given = Views(realigned(views.color, larger), None, realigned(views.mask, larger), SIX_VIEWS)
    assert given.mask.sum() > 1.3 * views.mask.sum()
    back = brought_to_size(given, views.mask)
    assert back.mask.sum() == pytest.approx(views.mask.sum(), rel=0.02)
    assert np.abs(back.color - views.color).mean() < 0.01
    assert brought_to_size(views, views.mask) is views


def test_a_folder_of_views_is_an_arm_and_a_bundle_is_none(cases, tmp_path: Path):
    save_views(cases[0].views, tmp_path / NAMES[0])
    assert is_folder_of_views(tmp_path)
    arm = folder_arm(tmp_path)
    there, missing = arm.views(cases[0]), arm.views(cases[1])
    assert missing is None and there is not None
    assert measure("gso30", cases[0], "theirs", there).psnr > 60
    assert folder_arm(tmp_path).digest == arm.digest
    (tmp_path / "manifest.toml").write_text("")
    assert not is_folder_of_views(tmp_path)


def test_before_a_bundle_come_its_plain_views_and_their_blend(cases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bundle = toy_bundle(tmp_path / "toy")
    arms = protocol_arms.arms_of(str(tmp_path / "toy"), [f"mine={tmp_path / 'toy'}"])
    assert list(arms) == ["plain", "plain, blended", "mine"] and bundle.digest == arms["plain, blended"].digest
    case = cases[0]
    rgba = to_bytes(np.concatenate([case.views.color[0], case.views.mask[:1].transpose(1, 2, 0)], -1))
    latents = Latents(np.zeros((6, 4, 8, 8), np.float32), None, rgba, SIX_VIEWS, 128, {}, "", 0)
    depth = Depth(case.z, case.views.mask, case.views)
    monkeypatch.setattr(protocol_arms.Generated, "__call__", lambda self, case: (latents, depth))
    shown = arms["plain, blended"].views(case)
    assert shown.normal is case.views.normal and shown.color.shape == case.views.color.shape
    inside = case.views.mask >= 0.999
    assert np.abs(shown.color - case.views.color)[inside].mean() < 0.02  # what agrees already stays


def test_two_arms_of_one_name_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="already"):
        protocol_arms.arms_of("mini", [f"a={tmp_path}", f"a={tmp_path}"])


def test_one_run_leaves_table_digests_and_photos_and_is_gone_on_with(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def figures(which, case, arm, views, rerender):
        return protocol.Record(case.subject.id, which, arm, *np.arange(11.0).tolist())

    monkeypatch.setattr(protocol, "measure", figures)

    def truth(case):
        asked.append(case.subject.id)
        return case.views

    arms, quiet = {"truth": Arm("1", truth), "nobody": Arm("2", lambda case: None)}, lambda line: None
    table = run("gso30", copy, arms, tmp_path, count=2, report=quiet)
    told = json.loads((tmp_path / "protocol.json").read_text())
    assert told["protocol"] == "gso30" and told["settings"]["elevation_deg"] == 30 and len(told["digest"]) == 64
    assert list(told["objects"]) == NAMES and told["objects"]["alarm"]["azimuth_deg"] == 270
    assert told["records"][0]["re_psnr"] is None and told["digest"][:16] in table and "2 objects" in table
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*"))
    assert files == ["photos/alarm.png", "photos/backpack.png", "protocol.json", "protocol.md"]
    again = run("gso30", copy, arms, tmp_path, count=2, report=quiet)
    assert asked == NAMES and again == table
    run("gso30", copy, arms | {"truth": Arm("3", truth)}, tmp_path, count=1, report=quiet)  # other weights: made again
    assert asked == [*NAMES, NAMES[0]]
    assert run("gso30", copy, arms, tmp_path, count=2, report=quiet) == table and len(asked) == 3  # nothing was lost
    with pytest.raises(InputError, match="of another protocol"):
        protocol._kept(tmp_path / "protocol.json", "val")

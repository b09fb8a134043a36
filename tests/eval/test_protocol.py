"""The frozen protocols on a made-up copy: equal pixels every time, sides as told."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2mv3d.data.scans import GSO30
from img2mv3d.data.splits import ids
from img2mv3d.errors import InputError
from img2mv3d.eval.protocol import (
    case_of,
    check_notes,
    digest_of,
    gso30,
    planned,
    real_scans,
    rotation,
    write_notes,
)

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
    return [case_of(subject, "gso30") for subject in gso30(copy, 2)]


def test_those_of_the_thirty_that_are_there_are_taken(copy: Path, tmp_path: Path):
    assert len(GSO30) == 30 and [subject.id for subject in gso30(copy)] == NAMES
    with pytest.raises(InputError, match=r"none of the 30 objects \(alarm, backpack, .*\) is there"):
        list(gso30(tmp_path))


def test_twenty_eight_of_them_are_told_as_such(copy: Path, tmp_path: Path):
    thirty = scanned(tmp_path / "gso", list(GSO30)[2:])
    objects = {subject.id: {"render": "", **subject.notes} for subject in gso30(thirty)}
    assert len(objects) == 28 and "28 of 30 objects" in write_notes(tmp_path, "gso30", objects, "")


def test_real_scans_stand_as_their_names_say_level_or_from_above(tmp_path: Path):
    (tmp_path / "objects").mkdir()
    names = [name for name in sorted(ids("test")) if name.startswith(("gso-", "ycb-"))]
    assert len(names) == 25
    box = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * [0.3, 0.2, 0.1]
    faces = np.array([[a, b, c] for q in SIDES.values() for a, b, c in (q[:3], (q[0], *q[2:]))], np.int32)
    for name in (names[0], names[1], "gso-of-no-list"):
        np.savez(tmp_path / "objects" / f"{name}.npz", vertices=box.astype(np.float32), faces=faces)
    level, above = (list(real_scans(tmp_path, None, degrees)) for degrees in (0.0, 30.0))
    assert [subject.id for subject in level] == [subject.id for subject in above] == names[:2]
    for one, other in zip(level, above, strict=True):
        assert one.notes == other.notes and (one.rotation @ [0, 1, 0])[2] == pytest.approx(0)
        assert (other.rotation @ [0, 1, 0])[2] == pytest.approx(0.5)  # the top leans to the camera
    first, again = (case_of(level[0], "scans")[1] for _ in range(2))
    assert first == again != case_of(above[0], "scans")[1]


@pytest.mark.parametrize(("azimuth", "side"), [(0.0, "+x"), (90.0, "+y"), (180.0, "-x"), (270.0, "-y"), (-90.0, "-y")])
def test_the_camera_stands_where_the_azimuth_says(azimuth: float, side: str):
    axis = {"x": 0, "y": 1}[side[1]]
    towards = np.eye(3)[axis] * (1 if side[0] == "+" else -1)
    assert rotation(azimuth, 0.0) @ towards == pytest.approx([0, 0, 1])
    assert rotation(azimuth, 0.0) @ [0, 0, 1] == pytest.approx([0, 1, 0])
    assert (rotation(azimuth, 30.0) @ [0, 0, 1])[2] == pytest.approx(0.5)  # the top leans to the camera


def test_the_photo_shows_that_side_with_its_texture_and_the_top(cases):
    case, _ = cases[0]  # azimuth 270: -y
    photo = case.photo.astype(int)
    seen = {s: (np.abs(photo[..., :3] - c).max(-1) < 3) & (photo[..., 3] == 255) for s, c in COLORS.items()}
    shares = {s: m.sum() / (photo[..., 3] == 255).sum() for s, m in seen.items()}
    assert shares["-y"] > 0.5 and shares["+z"] > 0.05 and shares["-y"] + shares["+z"] > 0.7
    assert np.argwhere(seen["+z"]).mean(0)[0] < np.argwhere(seen["-y"]).mean(0)[0]  # the top is above
    covered = np.argwhere(photo[..., 3] >= 128)
    assert np.ptp(covered, axis=0).max() + 1 == pytest.approx(144, abs=1)


def test_equal_meshes_give_equal_digests_and_another_texture_does_not(cases, tmp_path: Path):
    again = scanned(tmp_path, NAMES[:1])
    first = next(gso30(again, 1))
    assert case_of(first, "gso30")[1] == cases[0][1]
    Image.fromarray(np.full((8, 40, 3), 90, np.uint8)).save(again / NAMES[0] / "materials" / "textures" / "texture.png")
    other = next(gso30(again, 1))
    assert case_of(other, "gso30")[1] != cases[0][1] and other.mesh != first.mesh


def test_a_table_beside_the_objects_tells_places_and_turns(copy: Path, cases, tmp_path: Path):
    moved = scanned(tmp_path, ["Some_Long_Name"])
    row = f"{NAMES[0]}\tSome_Long_Name/meshes/model.obj\t270\tz"
    (moved / "objects.tsv").write_text(f"id\tfile\tazimuth_deg\tup\n{row}\n")
    assert case_of(next(gso30(moved, 1)), "gso30")[1] == cases[0][1]
    (moved / "objects.tsv").write_text("id\tfile\nteacup\tx.obj\n")
    with pytest.raises(InputError, match="'teacup' is none of the thirty"):
        next(gso30(moved, 1))


def test_a_photo_at_another_size_shows_the_same_object_larger(cases):
    case, _ = cases[0]
    areas = [(case.reframed(px)[..., 3] >= 128).sum() for px in (144, 180)]
    assert areas[1] == pytest.approx(areas[0] * (180 / 144) ** 2, rel=0.03) and (case.reframed(144) == case.photo).all()


def test_photos_and_digests_are_left_for_others(copy: Path, tmp_path: Path):
    objects: dict = {}
    shown = list(planned("gso30", copy, 2, tmp_path, objects))
    assert [p.id for p in shown] == list(objects) == NAMES and shown[0].make().id == NAMES[0]
    text = write_notes(tmp_path, "gso30", objects, "table")
    told = json.loads((tmp_path / "protocol.json").read_text())
    assert told["protocol"] == "gso30" and told["settings"]["elevation_deg"] == 30
    assert told["digest"] == digest_of(objects) and told["digest"][:16] in text and "2 of 30 objects" in text
    assert told["objects"]["alarm"]["azimuth_deg"] == 270 and told["objects"]["alarm"]["render"] == shown[0].digest
    assert sorted(p.name for p in (tmp_path / "photos").iterdir()) == ["alarm.png", "backpack.png"]
    check_notes(tmp_path, "gso30")
    with pytest.raises(InputError, match="of another protocol"):
        check_notes(tmp_path, "val")
    with pytest.raises(InputError, match="elevation"):
        check_notes(tmp_path, "gso30", 0.0)

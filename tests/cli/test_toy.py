"""The real stages on tiny networks, through the command line: every verb runs, twice is once, killed is not lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageDraw

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.files.durable import digest_file
from img2mv3d.flow.graph import STAGES
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Latents, load_depth, load_views
from tests.checkpoints import tiny_checkpoint
from tests.faults import real
from tests.faults.real import QUICK, record
from tests.folders import KINDS, contents, flip, one_of_each_kind

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    real.materials(folder)
    return folder


def done(folder: Path, *words: str) -> str:
    """stderr of a command that must end well, in a process of its own."""
    env = {**os.environ, "IMG2MV3D_CACHE": str(folder / "cache")}
    line = [sys.executable, "-m", "img2mv3d", *words]
    process = subprocess.run(line, cwd=folder, env=env, text=True, capture_output=True)
    assert process.returncode == 0, process.stderr
    return process.stderr


def in_process(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[str, str]:
    """The last line of a command, which says where its result is, and its stderr. In this process: networks cost
    seconds to import.
    """
    from typer.testing import CliRunner

    from img2mv3d.cli.app import app

    monkeypatch.chdir(folder)
    monkeypatch.setenv("IMG2MV3D_CACHE", str(folder / "cache"))
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1], result.stderr


def test_a_photo_becomes_a_mesh_and_again_is_nothing_new(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("run", "ball.png", "--bundle", "toy", "-o", "out/", *QUICK)
    assert in_process(place, monkeypatch, *words)[0] == str(place / "out" / "mesh.glb")
    before = contents(place / "out")
    assert set(one_of_each_kind(before)) == KINDS
    err = done(place, *words)  # in a fresh process: same keys, same bytes
    assert err.count("unchanged") == 6 and contents(place / "out") == before


def test_a_photo_of_the_back_lies_on_the_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = Image.new("RGBA", (300, 260))
    ImageDraw.Draw(behind).ellipse((60, 20, 235, 220), fill=(30, 160, 60, 255))
    behind.save(place / "behind.png")
    words = ("run", "ball.png", "--bundle", "toy", "-o", "sides/", *QUICK)
    _, said = in_process(place, monkeypatch, *words, "--back", "behind.png")
    assert "mirrored front outline" not in said
    views = load_views(place / "sides" / "views")
    np.testing.assert_allclose(views.color[3][128, 128] * 255, [30, 160, 60], atol=1)  # its own are noise
    notes = json.loads((place / "sides" / "mesh.json").read_text())
    like = notes["likeness"]  # toy's side views are noise that the mesh cannot follow: the back must be like the front
    assert like["back_db"] > like["front_db"] - 2 and like["back_covered"] > 0.9
    assert set(notes["provenance"]["digests"]) >= {"photo", "back"}


@pytest.mark.slow
def test_a_checkpoint_as_published_goes_through_all_stages(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded tiny checkpoint stands in for the published one: the same folder, the same door, mini's decoder."""
    tiny_checkpoint(place / "published")
    words = ("run", "ball.png", "--bundle", "published", "-o", "public", "--guidance", "3", *QUICK)
    where = in_process(place, monkeypatch, *words)[0]
    assert where == str(place / "public" / "mesh.glb") and len(trimesh.load(where, force="mesh").faces) > 100
    latents = Latents.load(place / "public")
    assert (latents.bundle, latents.framing_px) == ("wonder3d", 192)
    assert latents.settings == {"steps": 1, "guidance": 3.0, "solver": "ddim", "eta": 1.0}


def test_latents_alone_give_views_with_a_mesh_as_depth(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((2, 6, 4, 8, 8), np.float32)
    front = np.full((64, 64, 4), 255, np.uint8)
    (place / "alone").mkdir()
    Latents(cells[0], cells[1], front, SIX_VIEWS, 144, {"name": "sd-1.x"}, "elsewhere", 0).save(place / "alone")
    trimesh.creation.icosphere(subdivisions=2, radius=0.5).export(place / "ball.glb")
    words = ("decode", "alone/latents.pt", "--bundle", "toy", "--depth")
    where, said = in_process(place, monkeypatch, *words, "ball.glb")
    assert where == str(place / "alone" / "views") and "decoded by toy: the bundle's own" in said
    z, hit, notes = load_depth(place / "alone" / "depth.npz", (6, 64, 64))
    assert notes["origin"] == "mesh" and abs(hit.mean() - np.pi / 16) < 0.02
    assert abs(z[:, 32, 32] + 0.5).max() < 0.02  # the sphere's nearest point, half a unit before the centre
    assert load_views(place / "alone" / "views").color.shape == (6, 64, 64, 3)


def test_pictures_are_encoded_and_decoded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VIEW_NAMES:
        picture = Image.new("RGBA", (64, 64))
        ImageDraw.Draw(picture).ellipse((12, 12, 52, 52), fill=(30, 90, 200, 255))
        (place / "six").mkdir(exist_ok=True)
        picture.save(place / "six" / f"color_{name}.png")
    words = ("decode", "six", "--bundle", "toy", "--depth", "none")
    assert in_process(place, monkeypatch, *words)[0] == str(place / "six" / "views")
    latents = Latents.load(place / "six")
    assert latents.normal is None and latents.framing_px == 164 and latents.front[32, 32].tolist() == [30, 90, 200, 255]


def test_the_mesh_can_be_had_in_another_format(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (place / "out" / "mesh.glb").exists():
        pytest.skip("the run before this failed")
    assert in_process(place, monkeypatch, "export", "--format", "ply")[0] == str(place / "out" / "mesh.ply")
    assert (place / "out" / "mesh.glb").exists()


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments_the_real_stages_end_the_same(tmp_path: Path) -> None:
    counts, wrong = real.many(100, tmp_path)
    print(counts)
    assert wrong == []
    assert all(sum(n for where, n in counts.items() if where.startswith(stage)) >= 4 for stage in STAGES), counts


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_flipped_bit_in_any_file_of_a_real_run_is_noticed_and_mended(
    place: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In the cache while out/ is there, in the cache alone, and under out/."""
    out, words = place / "flipped", ("run", "ball.png", "--bundle", "toy", *QUICK, "-o")

    def again(*more: str, to: str = "flipped") -> str:
        return in_process(place, monkeypatch, *words, to, *more)[1]

    again()
    wanted = contents(out)
    name = one_of_each_kind(wanted)[kind]
    about = record(out)["files"][name]["stage"]
    key = record(out)["stages"][about]["key"]
    stored = place / "cache" / "entries" / key[:2] / key / "files" / name
    flip(stored)
    assert "damaged" in again() and digest_file(stored) == wanted[name]
    flip(stored)
    assert "damaged" in again(to="elsewhere") and digest_file(stored) == wanted[name]
    assert contents(place / "elsewhere") == wanted
    shutil.rmtree(place / "elsewhere")
    flip(out / name)
    assert f"{name} was edited" in again("--until", about)
    (out / name).unlink()
    again()
    assert contents(out) == wanted

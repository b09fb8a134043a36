"""The real stages on tiny networks, through the command line: every verb runs, twice is once, killed is not lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageDraw

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.durable import digest_file
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Latents, load_depth, load_views
from tests.toys import toy_bundle

ROOT = Path(__file__).parents[2]
QUICK = [
    *("--steps", "1", "--depth-grid", "32", "--depth-effort", "0.01", "--grid", "32", "--effort", "0.01"),
    *("--faces", "400", "--texture-size", "64"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    toy_bundle(folder / "toy")
    photo = Image.new("RGBA", (120, 100))
    ImageDraw.Draw(photo).ellipse((20, 10, 90, 90), fill=(200, 80, 40, 255))
    photo.save(folder / "ball.png")
    return folder


def command(folder: Path, *words: str) -> subprocess.Popen[str]:
    env = {**os.environ, "IMG2MV3D_CACHE": str(folder / "cache")}
    line = [sys.executable, "-m", "img2mv3d", *words]
    return subprocess.Popen(line, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def done(folder: Path, *words: str) -> tuple[str, str]:
    """stdout and stderr of a command that must end well."""
    process = command(folder, *words)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out, err


def in_process(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    """The last line of a command, in this process: networks cost seconds to import."""
    from typer.testing import CliRunner

    from img2mv3d.cli.app import app

    monkeypatch.chdir(folder)
    monkeypatch.setenv("IMG2MV3D_CACHE", str(folder / "cache"))
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


def contents(folder: Path) -> dict[str, str]:
    found = (p for p in folder.rglob("*") if p.is_file() and p.name != "run.json")
    return {str(p.relative_to(folder)): digest_file(p) for p in found}


def test_a_photo_becomes_a_mesh_and_again_is_nothing_new(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("run", "ball.png", "--bundle", "toy", "-o", "out/", *QUICK)
    assert in_process(place, monkeypatch, *words) == str(place / "out" / "mesh.glb")
    before = contents(place / "out")
    _, err = done(place, *words)  # in a fresh process: same keys, same bytes
    assert err.count("unchanged") == 6 and contents(place / "out") == before


def test_latents_alone_give_views_with_a_mesh_as_depth(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((2, 6, 4, 8, 8), np.float32)
    front = np.full((64, 64, 4), 255, np.uint8)
    (place / "alone").mkdir()
    Latents(cells[0], cells[1], front, SIX_VIEWS, 144, {"name": "sd-1.x"}, "elsewhere", 0).save(place / "alone")
    trimesh.creation.icosphere(subdivisions=2, radius=0.5).export(place / "ball.glb")
    words = ("decode", "alone/latents.pt", "--bundle", "toy", "--depth")
    assert in_process(place, monkeypatch, *words, "ball.glb") == str(place / "alone" / "views")
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
    assert in_process(place, monkeypatch, *words) == str(place / "six" / "views")
    latents = Latents.load(place / "six")
    assert latents.normal is None and latents.framing_px == 164 and latents.front[32, 32].tolist() == [30, 90, 200, 255]


def test_the_mesh_can_be_had_in_another_format(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (place / "out" / "mesh.glb").exists():
        pytest.skip("the run before this failed")
    assert in_process(place, monkeypatch, "export", "--format", "ply") == str(place / "out" / "mesh.ply")
    assert (place / "out" / "mesh.glb").exists()


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments_the_real_stages_end_the_same(place: Path) -> None:
    words = ("run", "ball.png", "--bundle", "toy", "-q", *QUICK)
    started = time.monotonic()
    done(place, *words, "-o", "undisturbed")
    span = time.monotonic() - started
    wanted = contents(place / "undisturbed")
    done(place, "cache", "prune", "--max-size", "0")
    rng = random.Random(0)
    killed = 0
    for round_ in range(100):
        process = command(place, *words, "-o", "killed")
        time.sleep(rng.uniform(0, span))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        if (place / "killed" / "mesh.glb").exists() and round_ % 2:  # once it got through, begin again
            done(place, "cache", "prune", "--max-size", "0")
            subprocess.run(["rm", "-r", str(place / "killed")], check=True)
    done(place, *words, "-o", "killed")
    assert contents(place / "killed") == wanted and killed > 50

"""The real stages on tiny networks, through the command line: every verb runs, twice is once, killed is not lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image, ImageDraw

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.durable import digest_file
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.sources import STAGES
from img2mv3d.values import Latents, load_depth, load_views
from tests.folders import KINDS, contents, flip, one_of_each_kind
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
    assert in_process(place, monkeypatch, *words, "ball.glb")[0] == str(place / "alone" / "views")
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


def record(out: Path) -> dict[str, Any]:
    """What run.json says; like a folder of nothing as long as there is none."""
    try:
        return json.loads((out / "run.json").read_text())
    except FileNotFoundError:
        return {"stages": {}}


def in_work(out: Path) -> str | None:
    """The first stage that is not through; None when all are."""
    through = record(out)["stages"]
    return next((stage for stage in STAGES if stage not in through), None)


def drafts(out: Path, process: subprocess.Popen[str]) -> list[Path]:
    return list(out.glob(f".img2mv3d-*-{process.pid}"))


def kill_in(process: subprocess.Popen[str], out: Path, stage: str, after: float, *, writing: bool) -> bool:
    """Kill a run `after` seconds from the moment when `stage` begins, or when it begins to write its files; True when
    it was not over before.
    """

    def begun() -> bool:
        here = in_work(out)
        if here is not None and STAGES.index(here) < STAGES.index(stage):
            return False
        return any(not writing or files for draft in drafts(out, process) for _, _, files in os.walk(draft))

    while process.poll() is None and not begun():
        time.sleep(0.002)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments_the_real_stages_end_the_same(place: Path) -> None:
    """Six kills on the way to each mesh, one in each stage; every other one while that stage's files are written."""
    words = ("run", "ball.png", "--bundle", "toy", *QUICK)
    done(place, *words, "-o", "undisturbed")
    wanted = contents(place / "undisturbed")
    seconds = {s: about["seconds"] for s, about in record(place / "undisturbed")["last"].items()}
    rng, out = random.Random(0), place / "killed"
    killed: Counter[str] = Counter()
    turns = 0
    while killed.total() < 100:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(place / "cache")
        for number, stage in enumerate(STAGES):
            process = command(place, *words, "-o", "killed")
            writing = bool((turns + number) % 2)
            if kill_in(process, out, stage, rng.uniform(0, 0.3 if writing else seconds[stage]), writing=writing):
                killed[f"{in_work(out)}{', writing' * writing}"] += 1
        _, err = done(place, *words, "-o", "killed")
        assert contents(out) == wanted and not any(word in err for word in ("edited", "damaged", "not from this run"))
        turns += 1
        print(f"{turns} meshes, {killed.total()} kills: {dict(killed)}", flush=True)
    assert all(sum(n for where, n in killed.items() if where.startswith(stage)) >= 5 for stage in STAGES), killed


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

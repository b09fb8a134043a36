"""The real stages on tiny networks, through the command line: every verb runs, twice is once, killed is not lost."""

import contextlib
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
from img2mv3d.files.durable import digest_file
from img2mv3d.flow.graph import STAGES
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.values import Latents, load_depth, load_views
from tests.checkpoints import tiny_checkpoint
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


# A process that has imported everything and forks for each run: a kill then meets work, not seconds of imports.
WARM = """
import os, sys
from img2mv3d.cli.app import main
from img2mv3d.stages import decode, depth, export, generate, given, prepare, reconstruct
for line in sys.stdin:
    if not (child := os.fork()):
        said = os.open("said", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(said, 1), os.dup2(said, 2)
        sys.argv[1:] = line.split()
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Warm:
    """Runs in `folder`, one at a time, each in a process of its own that can be killed."""

    def __init__(self, folder: Path) -> None:
        env = {**os.environ, "IMG2MV3D_CACHE": str(folder / "cache"), "OMP_WAIT_POLICY": "PASSIVE"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.folder, self.process = folder, 0
        self._parent = subprocess.Popen([sys.executable, "-c", WARM], cwd=folder, env=env, **pipes)

    def start(self, *words: str) -> None:
        self._parent.stdin.write(" ".join(words) + "\n")
        self._parent.stdin.flush()
        self.process = int(self._parent.stdout.readline())

    def over(self) -> bool:
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        """The exit code, once it is over, and what it said."""
        return int(self._parent.stdout.readline()), (self.folder / "said").read_text()

    def close(self) -> None:
        self._parent.communicate()


def begun(out: Path, process: int, stage: str, writing: bool) -> bool:
    """Has `process` come to `stage` (or further), and, if asked, to the first of its files?"""
    here = in_work(out)
    if here is not None and STAGES.index(here) < STAGES.index(stage):
        return False
    return any(not writing or files for draft in out.glob(f".img2mv3d-*-{process}") for *_, files in os.walk(draft))


@pytest.mark.slow
def test_killed_at_a_hundred_random_moments_the_real_stages_end_the_same(place: Path) -> None:
    """Six kills on the way to each mesh, one in each stage; every other one while that stage's files are written."""
    rng, warm, out = random.Random(0), Warm(place), place / "killed"
    words = ("run", "ball.png", "--bundle", "toy", *QUICK, "-o")
    warm.start(*words, "undisturbed")
    assert warm.end()[0] == 0
    wanted = contents(place / "undisturbed")
    seconds = {s: about["seconds"] for s, about in record(place / "undisturbed")["last"].items()}
    killed: Counter[str] = Counter()
    turn = 0
    while killed.total() < 100:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(place / "cache")
        for number, stage in enumerate(STAGES):
            writing = bool((turn + number) % 2)
            warm.start(*words, "killed")
            while not warm.over() and not begun(out, warm.process, stage, writing):
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.1 if writing else seconds[stage]))
            warm.kill()
            if warm.end()[0] == -signal.SIGKILL:
                killed[f"{in_work(out)}{', writing' * writing}"] += 1
        warm.start(*words, "killed")
        code, said = warm.end()
        assert code == 0 and not any(word in said for word in ("edited", "damaged", "not from this run")), said
        assert contents(out) == wanted
        turn += 1
        print(f"{turn} meshes, {killed.total()} kills: {dict(sorted(killed.items()))}", flush=True)
    warm.close()
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

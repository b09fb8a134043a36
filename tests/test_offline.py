"""Offline is true below Python, too: a whole run opens no socket, and HOME stays as it was."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import img2mv3d

ROOT = Path(__file__).parents[1]
RUN = """
import socket, sys
sys.path.insert(0, {root!r})
def blocked(*_, **__):
    raise RuntimeError("a socket was opened")
from img2mv3d import PLANS, Source, run
real, socket.socket.connect = socket.socket.connect, blocked
socket.getaddrinfo = blocked
from pathlib import Path
from tests.toys import toy_bundle
result = run(Source("photo", "photo.png"), "out", PLANS["draft"], bundle=toy_bundle(Path("toy")), until={until!r})
print(result.path)
"""


def cluttered(path: Path) -> None:
    """A bright ball before a carpet of patches: no plain background, so that the network must be asked."""
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(40, 200, (20, 20, 3)), np.ones((20, 20, 1)))
    y, x = np.mgrid[:400, :400]
    distance = np.hypot(x - 200, y - 210) / 110
    ball = np.array([230, 60, 40]) * (1.2 - 0.6 * distance)[..., None]
    Image.fromarray(np.where(distance[..., None] < 1, ball, ground).clip(0, 255).astype(np.uint8)).save(path)


def run_in(folder: Path, until: str, *before: str) -> subprocess.CompletedProcess[str]:
    """A run in a process of its own that has nothing of the tests' environment but the path."""
    cluttered(folder / "photo.png")
    keep = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
    env = keep | {"HOME": str(folder / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    (folder / "home").mkdir()
    words = [*before, sys.executable, "-W", "ignore", "-c", RUN.format(root=str(ROOT), until=until)]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True)


def test_a_run_leaves_nothing_in_home_and_opens_no_socket(tmp_path: Path) -> None:
    done = run_in(tmp_path, "generate")
    assert done.returncode == 0, done.stderr[-2000:]
    assert [str(p) for p in (tmp_path / "home").rglob("*") if p.is_file()] == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_native_code_of_a_whole_run_opens_a_socket(tmp_path: Path) -> None:
    calls = tmp_path / "calls.txt"
    done = run_in(tmp_path, "export", "strace", "-f", "-qq", "-o", str(calls), "-e", "trace=network")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in calls.read_text().splitlines() if "AF_INET" in line]
    # urllib3, which diffusers loads, asks the system whether it knows IPv6: a port of this machine, nobody is called
    asked = ("socket(AF_INET6,", 'inet_pton(AF_INET6, "::1"')
    assert [line for line in lines if not any(words in line for words in asked)] == []


def test_every_switch_is_set_before_a_dependency_is_loaded_and_the_user_s_own_goes_before() -> None:
    code = "import img2mv3d, os; print([os.environ.get(n) for n in img2mv3d.SWITCHES])"
    env = {name: value for name, value in os.environ.items() if name not in img2mv3d.SWITCHES} | {"DO_NOT_TRACK": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    wanted = [("0" if name == "DO_NOT_TRACK" else value) for name, value in img2mv3d.SWITCHES.items()]
    assert done.stdout.strip() == str(wanted)

"""One photo through the page, curl, the client, Python and the shell: the same mesh, byte for byte.

`IMG2MV3D_FIVE_WAYS=mini` takes those weights instead of tiny networks.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from img2mv3d import reconstruct_photo
from img2mv3d.plans import PLANS
from img2mv3d.serve.work import PhotoRuns
from tests.browser import CHROMIUM, Browser
from tests.serve.driven import click, drop, newest, shown
from tests.serve.served import Served
from tests.toys import toy_bundle

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name or folder of the weights."""
    folder = tmp_path_factory.mktemp("toy") / "toy"
    named = os.environ.get("IMG2MV3D_FIVE_WAYS")
    if named is None:
        toy_bundle(folder)
    return named or str(folder)


@pytest.fixture(scope="module")
def from_the_shell(bundle: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest that every other way must give."""
    out = tmp_path_factory.mktemp("shell")
    words = [sys.executable, "-m", "img2mv3d", "run", str(PHOTO), "-o", "out", "--no-cache"]
    words += ["--quality", "draft", "--bundle", bundle]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=out, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return digest(out / "out" / "mesh.glb")


@pytest.fixture
def server(bundle: str, tmp_path: Path) -> Iterator[Served]:
    """One of its own for each way: equal posts to one server share a run."""
    server = Served(tmp_path / "runs", work=PhotoRuns(bundle)).ready()
    yield server
    server.end()


def digest(mesh: Path | bytes) -> str:
    data = mesh if isinstance(mesh, bytes) else mesh.read_bytes()
    print(found := hashlib.sha256(data).hexdigest())
    return found


def test_python(bundle: str, from_the_shell: str, tmp_path: Path) -> None:
    reconstruct_photo(PHOTO.read_bytes(), bundle=bundle, plan=PLANS["draft"], out=tmp_path)
    assert digest(tmp_path / "mesh.glb") == from_the_shell


def test_the_client(server: Served, from_the_shell: str, tmp_path: Path) -> None:
    server.client.reconstruct(PHOTO, tmp_path / "mesh.glb", quality="draft")
    assert digest(tmp_path / "mesh.glb") == from_the_shell


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_curl(server: Served, from_the_shell: str, tmp_path: Path) -> None:
    fields = ["-F", f"photo=@{PHOTO}", "-F", 'options={"quality": "draft"}']
    subprocess.run(
        ["curl", "-sS", "--fail", "--noproxy", "*", *fields, f"{server.address}runs?wait=1", "-o", "mesh.glb"],
        cwd=tmp_path,
        check=True,
    )
    assert digest(tmp_path / "mesh.glb") == from_the_shell


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
def test_the_page(server: Served, from_the_shell: str, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        drop(browser, server, PHOTO)
        browser.value("document.querySelector('[name=quality][value=draft]').click()")
        click(browser, "make")
        shown(browser, "document.documentElement.dataset.mesh > 100", 600.0)
        run = newest(server)["id"]
    assert digest(server.ask("GET", f"/runs/{run}/files/mesh.glb").body) == from_the_shell

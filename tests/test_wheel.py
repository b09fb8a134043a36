"""The wheel works outside of the checkout: it carries the embedded weights and the upstream tables."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("img2mv3d-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_there(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(site)!r}); import img2mv3d, runpy; "
    code += f"assert img2mv3d.__file__.startswith({str(site)!r}); "
    code += f"sys.argv = ['img2mv3d', *{words!r}]; runpy.run_module('img2mv3d', run_name='__main__')"
    return subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=site.parent)


def test_the_wheel_carries_the_embedded_bundle_and_its_licence(unpacked: Path) -> None:
    inside = {p.name for p in (unpacked / "img2mv3d" / "_weights" / "mini").iterdir()}
    assert {"manifest.toml", "LICENSE", "ATTRIBUTION"} <= inside
    assert any(name.endswith(".safetensors") for name in inside)


def test_the_wheel_carries_the_upstream_tables(unpacked: Path) -> None:
    assert list((unpacked / "img2mv3d" / "_upstream").glob("*/upstream.toml"))


def test_the_wheel_finds_and_verifies_its_weights_outside_of_the_checkout(unpacked: Path) -> None:
    result = run_there(unpacked, "weights", "verify", "mini")
    assert result.returncode == 0, result.stderr

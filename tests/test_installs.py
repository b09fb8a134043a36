"""The package in clean environments of several Pythons: wheel and sdist install, check, and run a photo."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dist/ of the files that git knows."""
    folder = tmp_path_factory.mktemp("built")
    for name in subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    typed(folder, sys.executable, "-m", "build", "--no-isolation", ".")
    return folder / "dist"


def typed(folder: Path, *words: object, **more: str) -> str:
    """What a command prints; it must succeed. more: of its environment."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    env |= {"IMG2MV3D_CACHE": str(folder / "cache"), **more}
    done = subprocess.run(list(map(str, words)), cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def python_of(version: str) -> str | None:
    """A Python of this version: on the PATH, or the one that IMG2MV3D_PYTHON3_12 names."""
    found = os.environ.get(f"IMG2MV3D_PYTHON{version.replace('.', '_')}") or shutil.which(f"python{version}")
    return sys.executable if found is None and sys.version_info[:2] == tuple(map(int, version.split("."))) else found


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_wheel_and_sdist_run_in_a_clean_environment(version: str, built: Path, tmp_path: Path) -> None:
    python = python_of(version)
    if python is None:
        pytest.skip(f"no Python {version} here: put it on the PATH, or name it by IMG2MV3D_PYTHON{version[0]}_...")
    typed(tmp_path, python, "-m", "venv", tmp_path / "env")
    pip, program = tmp_path / "env" / "bin" / "pip", tmp_path / "env" / "bin" / "img2mv3d"
    typed(tmp_path, pip, "install", "-q", "-c", ROOT / ".ci" / "constraints.txt", "torch")
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    typed(tmp_path, pip, "install", "-q", "-c", ROOT / ".ci" / "constraints.txt", wheel)
    assert "photo" in typed(tmp_path, program, "--help") and "FAIL" not in typed(tmp_path, program, "doctor")
    shutil.copy(ROOT / "examples" / "coffee.jpg", tmp_path)
    mesh = Path(typed(tmp_path, program, "run", "coffee.jpg", "--quality", "draft", "-o", "out").strip())
    assert mesh.stat().st_size > 100_000
    typed(tmp_path, pip, "uninstall", "-q", "-y", "img2mv3d")
    typed(tmp_path, pip, "install", "-q", "--no-deps", sdist)
    assert "is good" in typed(tmp_path, program, "weights", "verify", "mini")


def test_pipx_runs_it_and_installs_it(built: Path, tmp_path: Path) -> None:
    typed(tmp_path, sys.executable, "-m", "venv", tmp_path / "tool")
    typed(tmp_path, tmp_path / "tool" / "bin" / "pip", "install", "-q", "pipx")
    (wheel,) = built.glob("*.whl")
    pipx = [tmp_path / "tool" / "bin" / "pipx"]
    same = ["--pip-args", f"-c {ROOT / '.ci' / 'constraints.txt'}"]
    there = {"PIPX_HOME": str(tmp_path / "pipx"), "PIPX_BIN_DIR": str(tmp_path / "bin")}
    told = typed(tmp_path, *pipx, "run", *same, "--spec", wheel, "img2mv3d", "weights", "verify", "mini", **there)
    assert "is good" in told
    typed(tmp_path, *pipx, "install", *same, wheel, **there)
    program = tmp_path / "bin" / "img2mv3d"
    assert "FAIL" not in typed(tmp_path, program, "doctor")
    shutil.copy(ROOT / "examples" / "toy.png", tmp_path)
    assert Path(typed(tmp_path, program, "prepare", "toy.png").strip()).is_file()


def test_an_index_would_take_wheel_and_sdist(built: Path, tmp_path: Path) -> None:
    typed(tmp_path, sys.executable, "-m", "venv", tmp_path / "twine")
    typed(tmp_path, tmp_path / "twine" / "bin" / "pip", "install", "-q", "twine")
    told = typed(tmp_path, tmp_path / "twine" / "bin" / "twine", "check", "--strict", *sorted(built.iterdir()))
    assert told.count("PASSED") == 2

"""The user's surroundings: streams, encodings, names, folders and variables that are not as usual are no defect."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-W", "ignore", "-m", "img2mv3d"]


def draw(path: Path) -> None:
    """A ball before grey."""
    y, x = np.mgrid[:128, :128]
    inside = np.hypot(x - 64, y - 64) < 40
    Image.fromarray(np.where(inside[..., None], [200, 60, 40], 200).astype(np.uint8)).save(path)


def prepared(folder: Path, *words: str, **more: object) -> subprocess.CompletedProcess[str]:
    """`prepare ball.png` in a process of its own, its cache in the folder."""
    draw(folder / "ball.png")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "IMG2MV3D_CACHE": str(folder / "cache"), **more.pop("env", {})}  # type: ignore[dict-item]
    command = [*COMMAND, "prepare", "ball.png", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, **more)  # type: ignore[call-overload]


def test_a_path_that_stdout_cannot_encode_is_written_with_escapes(tmp_path: Path) -> None:
    done = prepared(tmp_path, "-o", "\u0442\u0435\u0441\u0442", env={"PYTHONIOENCODING": "cp1252"})
    assert done.returncode == 0 and "\\u0442" in done.stdout, done.stderr


@pytest.mark.parametrize("closed", ["1", "2"])
def test_closed_streams_are_no_matter(tmp_path: Path, closed: str) -> None:
    draw(tmp_path / "ball.png")
    line = f'exec "$@" {closed}>&-'
    env = {**os.environ, "PYTHONPATH": str(ROOT), "IMG2MV3D_CACHE": str(tmp_path / "cache")}
    words = ["sh", "-c", line, "sh", *COMMAND, "prepare", "ball.png"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and (tmp_path / "out" / "subject.png").is_file(), done.stderr


def test_a_name_too_long_and_a_folder_that_is_gone_are_one_line(tmp_path: Path) -> None:
    done = prepared(tmp_path, "-o", "a" * 500)
    assert done.returncode == 2 and "cannot be made (File name too long)" in done.stderr
    (tmp_path / "gone").mkdir()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = 'cd gone && rmdir ../gone && exec "$@"'
    words = ["sh", "-c", line, "sh", *COMMAND, "prepare", "../ball.png"]
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and "the working directory is gone" in done.stderr


def test_a_user_whom_the_system_does_not_know_has_a_cache(tmp_path: Path) -> None:
    code = """
import os, pwd, sys
def unknown(*_): raise KeyError("no such user")
pwd.getpwuid = unknown
os.environ.pop("HOME", None), os.environ.pop("IMG2MV3D_CACHE", None)
from img2mv3d.flow.store import default_folder
from img2mv3d.matting.model import find_model
find_model()
assert default_folder().is_absolute(), default_folder()
from img2mv3d.cli.app import main
sys.argv = ["img2mv3d", "prepare", "ball.png", "--no-cache"]
main()
"""
    draw(tmp_path / "ball.png")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1500:]
    assert not (tmp_path / "~").exists()


def at_home_nowhere(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command whose user's home is a file: nothing can be made in it, not even by root."""
    (folder / "home").touch()
    names = ("IMG2MV3D_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "NUMBA_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if name not in names}
    env |= {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    return subprocess.run([*COMMAND, *words], cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform == "win32", reason="HOME says nothing there")
def test_a_home_that_cannot_be_written_costs_the_cache_and_nothing_else(tmp_path: Path) -> None:
    draw(tmp_path / "ball.png")
    done = at_home_nowhere(tmp_path, "prepare", "ball.png")
    assert done.returncode == 0 and done.stderr.count("cannot be written") == 1, done.stderr
    assert (tmp_path / "out" / "subject.png").is_file()
    told = at_home_nowhere(tmp_path, "doctor")
    assert "cannot be written" in told.stdout and "set IMG2MV3D_CACHE" in told.stdout, told.stdout + told.stderr
    assert "FAIL  disk" not in told.stdout and "FAIL  cache" not in told.stdout
    for words in (["list"], ["size"], ["prune"], ["verify"]):
        assert (done := at_home_nowhere(tmp_path, "cache", *words)).returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="HOME says nothing there")
def test_a_home_that_cannot_be_written_still_gets_a_mesh(tmp_path: Path) -> None:
    from tests.toys import toy_bundle

    toy_bundle(tmp_path / "toy")
    draw(tmp_path / "ball.png")
    little = "--depth-grid 32 --depth-effort 0.01 --grid 32 --effort 0.01 --faces 400 --texture-size 64".split()
    done = at_home_nowhere(tmp_path, "run", "ball.png", "--bundle", "toy", "--quality", "draft", *little)
    assert done.returncode == 0 and Path(done.stdout.strip()).stat().st_size > 1000, done.stderr


def test_an_interrupt_gives_the_prompt_back_at_once(tmp_path: Path) -> None:
    """While a thread still imports, which cannot be stopped."""
    code = """
import signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from img2mv3d.cli import app as program
def slow(*_, **__):
    threading.Thread(target=lambda: time.sleep(300)).start()
    print("at work", flush=True)
    time.sleep(300)
import img2mv3d.cli.carry
img2mv3d.cli.carry.carry = slow
sys.argv = ["img2mv3d", "prepare", "ball.png"]
program.main()
"""
    draw(tmp_path / "ball.png")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130  # the thread would hold it for five minutes

"""The wheel works outside of the checkout: it carries the embedded weights and the upstream tables."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


STAMP = ".venv/ready-matting,wonder3d,eval,usd,print,serve,dev"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make wheel` packs, in a copy of the sources where an older build has left a module that is no more."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    copy.mkdir()
    for name in ("Makefile", "pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("img2mv3d", "experiments", "weights", "third_party"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "build" / "lib" / "img2mv3d").mkdir(parents=True)
    (copy / "build" / "lib" / "img2mv3d" / "gone.py").write_text("")
    command = ["make", "wheel", "-o", STAMP, f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (copy / "dist").glob("img2mv3d-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def in_site(site: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code on the unpacked wheel, away from the checkout."""
    head = f"import sys; sys.path.insert(0, {str(site)!r}); import img2mv3d; "
    head += f"assert img2mv3d.__file__.startswith({str(site)!r}); "
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, "-P", "-c", head + code], capture_output=True, text=True, cwd=site, env=env)


def run_there(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return in_site(
        site, f"import runpy; sys.argv = ['img2mv3d', *{words!r}]; runpy.run_module('img2mv3d', run_name='__main__')"
    )


def test_the_wheel_holds_the_modules_of_the_checkout_and_no_others(unpacked: Path) -> None:
    here = {str(p.relative_to(ROOT)) for p in (ROOT / "img2mv3d").rglob("*.py")}
    assert {str(p.relative_to(unpacked)) for p in unpacked.rglob("*.py")} == here


def test_the_wheel_carries_its_types(unpacked: Path) -> None:
    assert {"py.typed", "__init__.pyi"} <= {p.name for p in (unpacked / "img2mv3d").iterdir()}


def test_the_wheel_carries_the_lists_of_ids_and_no_experiments(unpacked: Path) -> None:
    here, there = ({p.name for p in (root / "img2mv3d" / "data").iterdir()} for root in (ROOT, unpacked))
    assert {"held_out.txt", "tuned.txt", "gso30.tsv"} <= here & there
    assert not list(unpacked.rglob("experiments*"))


def test_the_wheel_carries_the_embedded_bundle_and_its_licence(unpacked: Path) -> None:
    inside = {p.name for p in (unpacked / "img2mv3d" / "_weights" / "mini").iterdir()}
    assert {"manifest.toml", "LICENSE", "ATTRIBUTION"} <= inside
    assert any(name.endswith(".safetensors") for name in inside)


def test_the_wheel_carries_the_upstream_tables(unpacked: Path) -> None:
    assert list((unpacked / "img2mv3d" / "_upstream").glob("*/upstream.toml"))
    code = (
        "from img2mv3d.bundles.convert import read_table; print(read_table('wonder3d', 'layout')['unet'] is not None)"
    )
    assert in_site(unpacked, code).stdout == "True\n"


def test_the_wheel_carries_what_a_report_is_made_of(unpacked: Path) -> None:
    here, there = ({p.name for p in (root / "img2mv3d" / "report" / "assets").iterdir()} for root in (ROOT, unpacked))
    assert there == here >= {"viewer.js", "page.css"}


def test_the_wheel_carries_the_page(unpacked: Path) -> None:
    here, there = ({p.name for p in (root / "img2mv3d" / "serve" / "page").iterdir()} for root in (ROOT, unpacked))
    assert there == here >= {"index.html", "serve.js", "serve.css", "brush.js", "glb.js", "icon.svg"}


def test_the_wheel_finds_and_verifies_its_weights_outside_of_the_checkout(unpacked: Path) -> None:
    result = run_there(unpacked, "weights", "verify", "mini")
    assert result.returncode == 0, result.stderr

"""Not only Linux: nothing that exists on POSIX systems alone is asked for, when a module is imported or later."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
POSIX = ("fcntl", "pwd", "grp", "resource", "termios")
# Hidden from us alone: the standard library and torch ask for the system's name before they use them.
HIDING = f"""
import builtins, importlib, sys, types
real = builtins.__import__

def hiding(name, globals=None, *rest, **more):
    if name.partition(".")[0] in {POSIX!r} and str((globals or {{}}).get("__name__", "")).startswith("img2mv3d"):
        raise ImportError(f"no {{name}} on this system")
    return real(name, globals, *rest, **more)

builtins.__import__ = hiding
"""
ALL = """
for module in sys.argv[1:]:
    importlib.import_module(module)
print(sum(name.partition(".")[0] == "img2mv3d" for name in sys.modules))
"""


def modules() -> list[str]:
    """Every module of the package and the package of each folder, by its dotted name."""
    files = sorted((ROOT / "img2mv3d").rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return [name.removesuffix(".__init__") for name in names]


def run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "ignore", "-c", HIDING + code, *words]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT)


def test_every_module_can_be_imported_where_posix_modules_are_missing() -> None:
    done = run(ALL, *modules())
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= len(modules()) > 150


@pytest.mark.parametrize("name", POSIX)
def test_the_missing_ones_are_missing_indeed(name: str) -> None:
    for words in (f"import {name}", f"from {name} import *"):
        asks = f"exec({words!r}, {{'__name__': 'img2mv3d.probe'}})"
        done = run(f"import {name}\n{asks}")  # here already, but not for us
        assert done.returncode == 1 and done.stderr.endswith(f"ImportError: no {name} on this system\n")


def posix_names(text: str) -> set[str]:
    """POSIX modules that a module's text asks for, at its top or in a function, by import or by a string."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return names & set(POSIX)


def test_no_module_asks_for_one_at_all() -> None:
    files = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in ROOT.glob("img2mv3d/**/*.py")}
    assert {name: found for name, text in files.items() if (found := posix_names(text))} == {}


@pytest.mark.parametrize("text", ["import {}", "def f():\n    from {} import x", "import_module('{}')"])
def test_whoever_asks_is_found(text: str) -> None:
    assert {name for name in POSIX if posix_names(text.format(name))} == set(POSIX)

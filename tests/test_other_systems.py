"""Not only Linux: nothing that exists on POSIX systems alone is imported where a module is imported."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
POSIX = ("fcntl", "pwd", "grp", "resource", "termios")
HIDING = f"""
import builtins, importlib, sys
real, asked = builtins.__import__, []

def hiding(name, globals=None, *rest, **more):
    if name in {POSIX!r} and str((globals or {{}}).get("__name__", "")).startswith("img2mv3d"):
        raise ImportError(f"no {{name}} on this system")
    return real(name, globals, *rest, **more)

builtins.__import__ = hiding
for module in sys.argv[1:]:
    importlib.import_module(module)
print(len(sys.argv) - 1)
"""


def modules() -> list[str]:
    files = sorted((ROOT / "img2mv3d").rglob("*.py"))
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return [n.removesuffix(".__init__") for n in names if not n.endswith("__main__")]


def test_every_module_can_be_imported_where_posix_modules_are_missing() -> None:
    words = [sys.executable, "-W", "ignore", "-c", HIDING, *modules()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == len(modules())


def test_the_product_asks_for_no_posix_module_at_all() -> None:
    found = []
    for path in (ROOT / "img2mv3d").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name in POSIX]
    assert found == []

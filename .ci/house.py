"""Figures of the house: `python .ci/house.py [REVISION]` prints folders, chains and circles of the package's imports.

A room is a folder of img2mv3d/ or a loose module of its root. Every import counts: at the top, inside of functions,
under TYPE_CHECKING. Floors are the rooms (or modules) of the longest chain; a circle counts as one.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

PACKAGE = "img2mv3d"
ROOT = Path(__file__).resolve().parents[1]


def sources(revision: str | None = None) -> dict[str, str]:
    """Dotted names of modules, without the package's, to their text; of the working tree, or of a commit."""
    if revision is None:
        texts = {str(p.relative_to(ROOT)): p.read_text(encoding="utf-8") for p in (ROOT / PACKAGE).rglob("*.py")}
    else:
        names = _git("ls-tree", "-r", "--name-only", revision, PACKAGE).split()
        texts = {name: _git("show", f"{revision}:{name}") for name in names if name.endswith(".py")}
    return {name.removesuffix(".py").replace("/", ".").partition(".")[2]: text for name, text in texts.items()}


def imports(texts: Mapping[str, str], *, top_only: bool = False) -> dict[str, set[str]]:
    """Every module, and the modules of the package that it imports. top_only: not what functions import, nor types."""
    return {module: _imported(text, texts, top_only) - {module} for module, text in texts.items()}


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Sets of more than one node, each of which can be reached from each."""
    reach = {node: _reached(node, arrows) for node in arrows}
    sets = {frozenset(other for other in reach[node] if node in reach[other]) for node in arrows}
    return sorted(sorted(found) for found in sets if len(found) > 1)


def longest_chain(arrows: Mapping[str, set[str]]) -> list[str]:
    """The nodes of a longest chain, a circle folded into its first member."""
    first = {node: circle[0] for circle in circles(arrows) for node in circle}
    down: dict[str, set[str]] = {}
    for node, others in arrows.items():
        own = first.get(node, node)
        down.setdefault(own, set()).update({first.get(other, other) for other in others} - {own})
    known: dict[str, list[str]] = {}

    def chain(node: str) -> list[str]:
        if node not in known:
            known[node] = [node, *max((chain(other) for other in sorted(down[node])), key=len, default=[])]
        return known[node]

    return max((chain(node) for node in sorted(down)), key=len)


def _imported(text: str, modules: Collection[str], top_only: bool) -> set[str]:
    tree, found = ast.parse(text), set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            inside = (node.module or "").partition(".")[2]
            for alias in node.names:
                member = f"{inside}.{alias.name}".lstrip(".")
                found.add(member if member in modules else inside or "__init__")
        elif isinstance(node, ast.Import):
            found |= {a.name.partition(".")[2] for a in node.names if a.name.startswith(f"{PACKAGE}.")}
    return found & set(modules)


def _reached(node: str, arrows: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [node]
    while todo:
        new = arrows[todo.pop()] - found
        found |= new
        todo += new
    return found


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout


def main(revision: str | None) -> None:
    """Print the figures."""
    texts = sources(revision)
    modules = imports(texts)
    rooms: dict[str, set[str]] = {}
    for module, others in modules.items():
        own = module.split(".")[0]
        rooms.setdefault(own, set()).update({other.split(".")[0] for other in others} - {own})
    folders, loose = {m.split(".")[0] for m in texts if "." in m}, {m for m in texts if "." not in m}
    print(f"{len(texts)} modules, {sum(len(text.splitlines()) for text in texts.values())} lines")
    print(f"{len(folders)} folders: {' '.join(sorted(folders))}")
    print(f"{len(loose)} root modules: {' '.join(sorted(loose))}")
    for name, arrows in (("rooms", rooms), ("modules", modules)):
        chain, circle = longest_chain(arrows), circles(arrows)
        total = sum(map(len, arrows.values()))
        print(f"{len(arrows)} {name}: {len(chain)} floors, {total} imports, {len(circle)} circles")
        print(f"    longest chain: {' > '.join(chain)}")
        print("".join(f"    circle: {' '.join(names)}\n" for names in circle), end="")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)

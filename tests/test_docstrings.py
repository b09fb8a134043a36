"""Words: every module opens with what it is; every public name says what it gives, with shapes and units."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "img2mv3d"
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.read_text(encoding="utf-8").strip())
ARRAY = re.compile(r"(?<!str, )\b(ndarray|Tensor)\b")  # a dict of named weights has no one shape
# A shape in brackets, a number format, a unit, a range: something that tells what the numbers are.
TELLS = re.compile(
    r"\[[^\]]*\w[^\]]*\]|\bpx\b|\bpixels?\b|degrees|radians|\bworld\b|\bunits?\b|\bdB\b|uint8|float|\bint64\b|0\.\.1"
    r"|\bscaled\b|\bshape|\blatents?\b|\bmask|\bnormals?\b|\bcolou?rs?\b|\bz\b|\bSDF\b|\bsdf\b|\btokens?\b|\bloss\b|\bpictures?\b"
    r"|\bgradients?\b|\bmean\b|\bfraction\b|\bshare\b|\bchannels\b|\beq\b|\bsteps?\b|\bnodes?\b|\bcells?\b|\btensors?\b|\barrays\b|\bviews?\b|\bimages?\b"
)


def public(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes, and the public methods of public classes that do not only repeat a base's."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_") and not declared(inner):
                        yield f"{node.name}.{inner.name}", inner


def declared(node: ast.FunctionDef) -> bool:
    """Is it only announced, as a protocol's methods are? The class's docstring speaks for them."""
    return ast.unparse(node.body[-1]) == "..."


def takes_or_gives_arrays(node: ast.AST) -> bool:
    """Has a function an array among its annotations?"""
    if not isinstance(node, ast.FunctionDef):
        return False
    notes = [a.annotation for a in (*node.args.args, *node.args.kwonlyargs)] + [node.returns]
    return any(note is not None and ARRAY.search(ast.unparse(note)) for note in notes)


def shapes_in(node: ast.FunctionDef) -> bool:
    notes = [a.annotation for a in (*node.args.args, *node.args.kwonlyargs)] + [node.returns]
    return any(note is not None and re.search(r"\[[\w.]*(ndarray|Tensor), ", ast.unparse(note)) for note in notes)


def complaints(source: str) -> list[str]:
    """What is missing in a module's words."""
    tree = ast.parse(source)
    found = []
    if not ast.get_docstring(tree):
        found.append("the module does not say what it is")
    for name, node in public(tree):
        words = ast.get_docstring(node)
        if not words:
            found.append(f"{name} has no docstring")
        elif takes_or_gives_arrays(node) and not shapes_in(node) and not TELLS.search(words):
            found.append(f"{name} has arrays, but neither shapes nor units")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_public_name_says_what_it_gives(path: Path) -> None:
    assert complaints(path.read_text(encoding="utf-8")) == []


def test_missing_words_are_noticed() -> None:
    opening = '"""What it is."""\n'
    assert complaints(opening + "def f(x: np.ndarray) -> None:\n    'Does something.'") == [
        "f has arrays, but neither shapes nor units"
    ]
    assert complaints(opening + "def f(): pass") == ["f has no docstring"]
    assert complaints(opening + "class A:\n    'An A.'\n    def g(self): pass") == ["A.g has no docstring"]
    assert complaints(opening + "def f(x: np.ndarray) -> None:\n    'x: uint8 [H, W].'") == []
    assert len(complaints("import os\ndef _f(): pass")) == 1

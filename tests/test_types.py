"""Types of the public surface: a user's own checker sees what `img2mv3d.run` takes and gives."""

import ast
import subprocess
import sys
from pathlib import Path

import img2mv3d

ROOT = Path(__file__).parents[1]

USER = """
import img2mv3d
reveal_type(img2mv3d.load_bundle("mini"))
reveal_type(img2mv3d.Plan().seed)
img2mv3d.run("photo.jpg")
img2mv3d.gaussians
"""


def stub() -> dict[str, str]:
    """Names that the stub offers, to the modules that they come from."""
    tree = ast.parse((ROOT / "img2mv3d" / "__init__.pyi").read_text(encoding="utf-8"))
    return {a.asname: n.module for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}


def test_the_stub_offers_the_public_names_and_no_others() -> None:
    assert stub() == img2mv3d._HOME


def test_a_checker_sees_the_types_of_the_public_names(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    command = [sys.executable, "-m", "mypy", "--config-file", ".ci/mypy.ini", tmp_path / "user.py"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout
    assert 'Revealed type is "img2mv3d.bundles.weights.Bundle"' in said, said
    assert 'Revealed type is "int"' in said
    assert 'Missing positional arguments "out", "plan"' in said and 'expected "Source"' in said
    assert 'has no attribute "gaussians"' in said

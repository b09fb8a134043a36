"""What stands in the folder of a run, and how to harm it."""

import re
from collections.abc import Iterable
from pathlib import Path

from img2mv3d.conventions import VIEW_NAMES
from img2mv3d.files.durable import digest_file

KINDS = {  # what a run leaves behind, whatever the view; test_toy proves it of the real stages
    *("subject.png", "subject_full.png", "prepare.json", "latents.pt", "depth.npz", "coarse.npz", "surface.npz"),
    *("plain/color.png", "plain/normal.png", "plain/views.json", "views/color.png", "views/normal.png"),
    *("views/views.json", "mesh.glb", "mesh.json"),
}


def contents(folder: Path) -> dict[str, str]:
    """Digests of all results; run.json and the report tell times and may differ."""
    found = (p for p in folder.rglob("*") if p.is_file() and p.name not in ("run.json", "report.html"))
    return {str(p.relative_to(folder)): digest_file(p) for p in found}


def one_of_each_kind(names: Iterable[str]) -> dict[str, str]:
    """Kind to the last of its files: views/color.png -> views/color_right.png."""
    longest_first = sorted(VIEW_NAMES, key=len, reverse=True)
    return {re.sub(f"_({'|'.join(longest_first)})(?=[.])", "", name): name for name in sorted(names)}


def flip(path: Path, bit: int = 3) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 << bit
    path.write_bytes(data)

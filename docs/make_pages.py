"""Write docs/commands/: a page for each command, with its help and what it said when it was run. Run it again after a
change: `python docs/make_pages.py`. It works in a folder of its own with examples/coffee.jpg, offline, in minutes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
# command: lines to run, in this order, in one folder; what is empty has its help only, for the reason that stands there
PAGES: dict[str, list[str]] = {
    "run": ["run coffee.jpg -o out/", "run coffee.jpg -o out/", "run coffee.jpg --dry-run"],
    "prepare": ["prepare coffee.jpg -o cut/", "prepare gone.jpg"],
    "generate": ["generate cut/ --seed 1"],
    "depth": ["depth out/latents.pt -o again/"],
    "decode": ["decode again/latents.pt --depth neus"],
    "reconstruct": ["reconstruct out/views -o other/"],
    "export": ["export --format obj --faces 5000", "export out/ --format 3mf --size 80mm", "export --size 80"],
    "check": ["check out/mesh.glb --printable --size 80mm", "check out/mesh.glb --printable --json"],
    "report": ["report out/"],
    "view": [],
    "turntable": ["turntable out/ --side-by-side"],
    "serve": [],
    "licences": ["licences"],
    "doctor": ["doctor"],
    "cache": ["cache size", "cache list"],
    "weights": ["weights inspect mini"],
    "data": [],
    "train": [],
    "eval": [],
}
WHY_NOT = {
    "view": "It serves the report until you stop it, so there is no output to show.",
    "serve": "The page, the HTTP API and the Python client: see [serve](../serve.md).",
    "data": "It needs a corpus: see [training](../training.md).",
    "eval": "For methods and figures, see [evaluation](../evaluation.md).",
    "train": "It takes minutes to days: see [training](../training.md).",
}
KEPT = 14  # lines of a long output, at its beginning and at its end


def said(words: str, folder: Path) -> str:
    """What the command wrote on both streams, and how it ended when that was not well."""
    env = {**os.environ, "COLUMNS": "100", "IMG2MV3D_CACHE": str(folder / "cache"), "NO_COLOR": "1"}
    line = [sys.executable, "-m", "img2mv3d", *shlex.split(words)]
    env["PYTHONPATH"] = str(HERE.parent)
    done = subprocess.run(line, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = done.stdout.replace(str(folder), "/home/me").replace(str(HERE.parent), "/home/me/img2mv3d")
    text = re.sub(re.escape(sys.prefix) + r"\S*", "/home/me/img2mv3d/.venv", text).strip("\n")
    if done.returncode:
        text += f"\n(status {done.returncode})"
    return text


def shortened(text: str) -> str:
    """Long outputs without their middle."""
    lines = text.splitlines()
    if len(lines) > 2 * KEPT + 2:
        lines = [*lines[:KEPT], f"... ({len(lines) - 2 * KEPT} lines)", *lines[-KEPT:]]
    return "\n".join(line.rstrip() if len(line) <= 160 else line[:160] + " ..." for line in lines)


def block(text: str) -> str:
    """A code block."""
    return "\n".join(("    " + line).rstrip() for line in text.splitlines())


def page(command: str, lines: list[str], folder: Path) -> str:
    """The page of one command."""
    parts = [f"# img2mv3d {command}", "", block(said(f"{command} --help", folder)), ""]
    if lines:
        parts += ["Output of real calls, on a busy machine:", ""]
    for words in lines:
        parts += [block(f"$ img2mv3d {words}\n{shortened(said(words, folder))}"), ""]
    return "\n".join([*parts, WHY_NOT[command]] if command in WHY_NOT else parts).rstrip() + "\n"


if __name__ == "__main__":
    asked = sys.argv[1:] or list(PAGES)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "coffee.jpg").write_bytes((HERE.parent / "examples" / "coffee.jpg").read_bytes())
        for command, lines in PAGES.items():
            text = page(command, lines, place)  # all of them: later ones stand on what earlier ones made
            if command in asked:
                (HERE / "commands" / f"{command}.md").write_text(text, encoding="utf-8")
                print(command, flush=True)

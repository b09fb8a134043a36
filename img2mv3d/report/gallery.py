"""A folder of runs -> index.html: all results on one page that opens from disk.

In: out/NAME/ with the files of runs. Out: one page beside them; its pictures and links are theirs, by relative paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from img2mv3d.errors import Img2mv3dError, InputError, UsageError
from img2mv3d.files.contents import read_json
from img2mv3d.files.durable import write_atomically
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.report.page import ASSETS

NAME = "index.html"
MARK = '<meta name="generator" content="img2mv3d gallery">'  # by which we know our own file again
POLICY = "default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'"
PICTURES = {  # caption to file
    "cut out": "subject.png",
    "front": "views/color_front.png",
    "right": "views/color_right.png",
    "back": "views/color_back.png",
}


@dataclass(frozen=True)
class Card:
    """A run, as the page shows it. folder: its name. title: of the photo. files: those that are there, by what they are
    (a caption of PICTURES, "report", or a mesh's name)."""

    folder: str
    title: str
    facts: str
    warnings: tuple[str, ...]
    files: Mapping[str, str]


def save_gallery(out: Path, failed: Mapping[str, str]) -> Path | None:
    """Write the page of all runs in `out`; None when there are none.

    Raises UsageError when a file of that name is there that is not ours.

    failed: why there is no result, by the photo's name.
    """
    cards = [card for folder in folders(out) if (card := card_of(folder)) is not None]
    if not cards:
        return None
    target = out / NAME
    if target.exists() and not (target.is_file() and MARK.encode() in target.read_bytes()[:1000]):
        raise UsageError(f"{target} is not one of ours and was not overwritten")
    write_atomically(target, gallery(cards, failed).encode())
    return target


def folders(out: Path) -> list[Path]:
    """Those in `out` that hold a run, 2 before 10."""
    found = [p.parent for p in out.glob("*/run.json")] if out.is_dir() else []
    return sorted(found, key=lambda p: [(int(x), "") if x.isdecimal() else (0, x) for x in _parts(p.name)])


def card_of(folder: Path) -> Card | None:
    """What is in a run's folder; None when its record cannot be read."""
    try:
        record = read_json(folder / "run.json", InputError)
    except Img2mv3dError:
        return None
    wanted = PICTURES | {"report": "report.html"} | {f"mesh.{f}": f"mesh.{f}" for f in FORMATS}
    files = {what: path for what, path in wanted.items() if (folder / path).is_file()}
    title = str((record.get("source") or {}).get("name") or folder.name)
    warnings = tuple(str(line) for line in record.get("warnings") or ())
    return Card(folder.name, title, _facts(folder, record), warnings, files)


def gallery(cards: list[Card], failed: Mapping[str, str]) -> str:
    """The page as text, UTF-8."""
    style = "".join((ASSETS / name).read_text(encoding="utf-8") for name in ("page.css", "gallery.css"))
    warned = sum(bool(card.warnings) for card in cards)
    told = [f"{len(cards)} result{'s' * (len(cards) > 1)}"]
    told += [f"{warned} with warnings"] * bool(warned) + [f"{len(failed)} failed"] * bool(failed)
    lines = "".join(f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in failed.items())
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{MARK}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{told[0]} · img2mv3d</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>Results</h1>\n<div class="facts">{" · ".join(told)}</div>\n'
        + (f'<ul class="warnings" aria-label="failed">{lines}</ul>\n' if lines else "")
        + '<div class="cards">\n'
        + "\n".join(map(_shown, cards))
        + "\n</div>\n<footer>img2mv3d. Pictures and meshes are those in the folders beside this file.</footer>\n"
        + "</main>\n</body>\n</html>\n"
    )


def _shown(card: Card) -> str:
    place = quote(card.folder)
    title = escape(card.title)
    if "report" in card.files:
        title = f'<a href="{place}/report.html">{title}</a>'
    figures = "".join(
        f'<figure><img{" class=checker" if path == "subject.png" else ""} loading="lazy" src="{place}/{quote(path)}" '
        f'alt="{escape(card.title)}: {what}"><figcaption>{what}</figcaption></figure>'
        for what, path in PICTURES.items()
        if what in card.files
    )
    links = "".join(
        f'<a href="{place}/{path}" download>{escape(what)}</a>'
        for what, path in card.files.items()
        if what.startswith("mesh.")
    )
    warnings = "".join(f"<li>{escape(line)}</li>" for line in card.warnings)
    return (
        f'<article class="card"><h2>{title}</h2><div class="facts">{escape(card.facts)}</div>'
        f'<div class="strip">{figures}</div>'
        + (f'<ul class="warnings">{warnings}</ul>' if warnings else "")
        + (f'<div class="links">{links}</div>' if links else "")
        + "</article>"
    )


def _facts(folder: Path, record: Mapping[str, Any]) -> str:
    seconds = sum(about.get("seconds", 0) for about in (record.get("stages") or {}).values())
    told = [f"{folder.name}/"] + ([f"seed {record['seed']}"] if "seed" in record else [])
    return " · ".join(told + ([f"{seconds:.0f} s of computing"] if seconds else []))


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name.casefold())

"""A run's story -> report.html: one file, no network, everything inside."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from img2mv3d.files.contents import encode_normals, to_bytes
from img2mv3d.geometry.agreement import SAME_SURFACE
from img2mv3d.report.gather import Story
from img2mv3d.report.pack import packed_mesh, packed_rig, picture
from img2mv3d.report.sheet import depth_pictures
from img2mv3d.report.tables import figures, spent
from img2mv3d.values import Views

ASSETS = Path(__file__).parent / "assets"
MARK = '<meta name="generator" content="img2mv3d report">'  # by which we know our own file again
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"  # only what is here


def page(story: Story) -> str:
    """The page as text, UTF-8. It asks for nothing outside of itself, whatever names and notes the run holds."""
    name = str((story.record.get("source") or {}).get("name") or story.folder.absolute().name)
    rig = _rig(story)
    data = {"mesh": None if story.mesh is None else packed_mesh(story.mesh), "rig": rig}
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<div class="facts">{escape(_headline(story))}</div>',
        _warnings(story),
        _hero(story),
        _pairs(story),
        _row("Normals", "From the plain decoder, in world axes: x red, y green, z blue.", _normals(story)),
        _row("Depth", "Of the coarse fit, which guides the decoder. Light is near.", _depths(story)),
        _lines(story) if rig else "",
        f'<div class="columns">{_table("Figures", figures(story))}{_times(story)}</div>',
        _settings(story),
        f"<footer>img2mv3d {escape(str(story.record.get('version', '')))}. One file; it loads nothing.</footer>",
    ]
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    script = "\n".join((ASSETS / n).read_text(encoding="utf-8") for n in ("viewer.js", "lines.js", "page.js"))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{MARK}\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)} · img2mv3d</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + f'\n</main>\n<script type="application/json" id="data">{as_script(data)}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def as_script(value: Any) -> str:
    """JSON that no HTML parser can take for the end of its script."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _headline(story: Story) -> str:
    record = story.record
    settings = record.get("settings") or {}
    text = [f"seed {record['seed']}"] if "seed" in record else []
    text += [f"weights {settings['bundle']}"] if "bundle" in settings else []
    seconds = sum(about.get("seconds", 0) for about in (record.get("stages") or {}).values())
    text += [f"{seconds:.0f} s of computing"] if seconds else []
    text += [f"{len(story.mesh.faces):,} triangles"] if story.mesh is not None else []
    return " · ".join(text)


def _warnings(story: Story) -> str:
    lines = [*story.record.get("warnings", ()), *(f"missing: {line}" for line in story.missing)]
    if not lines:
        return ""
    return '<ul class="warnings">' + "".join(f"<li>{escape(str(line))}</li>" for line in lines) + "</ul>"


def _hero(story: Story) -> str:
    shown = []
    if story.photo is not None:
        shown.append(_figure(picture(story.photo), "the photo"))
    if story.subject is not None:
        shown.append(_figure(picture(story.subject, lossless=True), "cut out and framed", "checker"))
    viewer = ""
    if story.mesh is not None:
        buttons = "".join(
            f'<button data-style aria-pressed="{str(i == 0).lower()}">{word}</button>'
            for i, word in enumerate(("Colours", "Shape", "Normals"))
        )
        viewer = (
            '<div id="viewer"><canvas tabindex="0" aria-label="the mesh; drag to turn"></canvas>'
            f'<div class="bar">{buttons}<button data-spin>Turn</button></div>'
            '<p class="hint">drag to turn, scroll to zoom, double-click to reset</p></div>'
        )
    side = f"<div>{''.join(shown)}</div>" if shown else ""
    return f'<div class="hero">{viewer}{side}</div>' if viewer or side else ""


def _pairs(story: Story) -> str:
    shown = story.views or story.plain
    if shown is None:
        return ""
    both = story.views is not None and story.plain is not None and story.plain.rig.names == story.views.rig.names
    pairs = []
    for i, name in enumerate(shown.rig.names):
        words = escape(name.replace("_", " "))
        plain = f'<img class="plain" alt="{words}, plain" src="{_color(story.plain, i)}">' if both else ""
        kind = "views" if both else "plain views"
        pairs.append(
            f'<figure><div class="pair" id="pair-{i}">{plain}<img class="{kind}" alt="{words}" '
            f'src="{_color(shown, i)}"></div><figcaption>{words}</figcaption></figure>'
        )
    text = "Left of the line each view decoded alone, right of it all views decoded together. Move over a picture."
    slider = (
        '<label class="slider">plain <input type="range" min="0" max="100" value="50" '
        'aria-label="share of the plain decoder"> cross-view</label>'
    )
    six = f'<div class="six">{"".join(pairs)}</div>'
    intro = f"<p>{text}</p>{slider}" if both else ""
    return f'<section id="views"{"" if both else " style=--cut:0%"}><h2>Six views</h2>{intro}{six}</section>'


def _lines(story: Story) -> str:
    shown = story.views or story.plain
    assert shown is not None
    frames = "".join(
        '<figure class="line-view"><div class="stack"><img class="ground" alt="">'
        '<canvas class="lines" width="512" height="512"></canvas>'
        '<canvas class="loupe" width="144" height="144"></canvas></div>'
        f'<figcaption>{escape(name.replace("_", " "))}: <span class="told"></span></figcaption></figure>'
        for name in shown.rig.names
    )
    both = story.views is not None and story.plain is not None
    swap = '<label class="slider"><span><input type="checkbox" data-swap> plainly decoded</span></label>'
    text = (
        "Move over a view. The thin line is what the others can see of that pixel's ray; the thick piece, the fitted "
        "depth plus and minus 0.1, is where the decoder looks; the dot is the fitted surface: full where that view "
        "sees it, grey where something stands in front. In the corner, 18 px round it."
    )
    return (
        f'<section id="lines"><h2>Where a pixel is seen</h2><p>{text}</p>'
        f'{swap if both else ""}<div class="six large">{frames}</div></section>'
    )


def _row(title: str, text: str, pictures: list[tuple[str, str]]) -> str:
    if not pictures:
        return ""
    shown = "".join(_figure(address, words) for words, address in pictures)
    return f'<section><h2>{title}</h2><p>{text}</p><div class="six">{shown}</div></section>'


def _normals(story: Story) -> list[tuple[str, str]]:
    views = story.plain if story.plain is not None and story.plain.normal is not None else story.views
    if views is None or views.normal is None:
        return []
    coded = encode_normals(views.normal, views.mask)
    return [(n.replace("_", " "), picture(c)) for n, c in zip(views.rig.names, coded, strict=True)]


def _depths(story: Story) -> list[tuple[str, str]]:
    if story.depth is None or story.plain is None:
        return []
    shades = depth_pictures(*story.depth)
    return [(n.replace("_", " "), picture(c)) for n, c in zip(story.plain.rig.names, shades, strict=True)]


def _table(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """rows: (label, number, what it means)."""
    cells = "".join(
        f'<tr><td>{escape(label)}<br><small style="color:var(--soft)">{escape(text)}</small></td>'
        f'<td class="number">{escape(number)}</td></tr>'
        for label, number, text in rows
    )
    return f"<section><h2>{title}</h2><table>{cells}</table></section>" if cells else ""


def _times(story: Story) -> str:
    rows = spent(story.record)
    if not rows:
        return ""
    most = max(seconds for _, seconds, _, _ in rows) or 1.0
    cells = "".join(
        f'<tr><td>{stage}</td><td style="width:45%">'
        f'<div class="bar-of" style="width:{100 * seconds / most:.1f}%"></div>'
        f'<small style="color:var(--soft)">{escape(how)}</small></td>'
        f'<td class="number">{seconds:.1f} s</td><td class="number">{peak}</td></tr>'
        for stage, seconds, peak, how in rows
    )
    return f"<section><h2>Seconds and memory</h2><table>{cells}</table></section>"


def _settings(story: Story) -> str:
    if not story.record:
        return ""
    kept = {k: story.record[k] for k in ("version", "seed", "device", "arithmetic", "settings") if k in story.record}
    text = json.dumps(kept, indent=2, ensure_ascii=False)
    return f"<details><summary><b>Settings</b></summary><pre>{escape(text)}</pre></details>"


def _figure(address: str, words: str, kind: str = "") -> str:
    text = f' class="{kind}"' if kind else ""
    return f'<figure><img{text} alt="{escape(words)}" src="{address}"><figcaption>{escape(words)}</figcaption></figure>'


def _color(views: Views, i: int) -> str:
    return picture(to_bytes(views.color[i]))


def _rig(story: Story) -> dict[str, Any] | None:
    shown = story.views or story.plain
    if story.depth is None or shown is None or shown.mask.shape != np.shape(story.depth[0]):
        return None
    return packed_rig(shown.rig, *story.depth, SAME_SURFACE)

"""The page: whole, harmless, small, from disk, and alive in a real browser."""

import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from img2mv3d.report.gather import gather
from img2mv3d.report.page import MARK, as_script, page
from tests.browser import CHROMIUM, Browser
from tests.finished import SIDE, finished_run

browser_needed = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def text(out: Path) -> str:
    return page(gather(out))


def test_the_page_tells_the_run(text: str) -> None:
    for words in (
        "ring.png",
        "seed 7",
        "a leg is thin",
        "Reprojection error, plain views",
        "reconstruct",
        "Watertight",
    ):
        assert words in text
    assert MARK in text[:1000]


def test_all_that_is_shown_is_inside_and_nothing_may_be_asked_for(text: str) -> None:
    for tag, attributes in Tags(text).found:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            address = attributes.get(name)
            assert address is None or address.startswith("data:image/"), (tag, name)
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
    assert re.search(r'http-equiv="Content-Security-Policy" content="default-src \'none\'', text)
    assert not re.search(r"url\(|@import|https?://", text)


def test_pictures_are_six_of_each_kind(text: str) -> None:
    tags = Tags(text).found
    kinds = [a.get("class") for t, a in tags if t == "img"]
    assert kinds.count("plain") == kinds.count("views") == kinds.count("ground") == 6
    assert len([1 for t, a in tags if t == "canvas"]) == 1 + 2 * 6


def test_names_and_notes_of_strangers_stay_words(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>.png"
    out = finished_run(tmp_path, warnings=["<script>alert(2)</script>"], seed="<b>")
    record = (out / "run.json").read_text().replace('"name": "ring.png"', '"name": "' + evil + '"')
    (out / "run.json").write_text(record)
    text = page(gather(out))
    assert evil not in text and "<script>alert" not in text and "<b>" not in text.replace("<b>Settings</b>", "")
    assert text.count("<script") == text.count("</script>") == 2
    assert as_script({"a": "</script>"}) == '{"a":"\\u003c/script>"}'


@pytest.mark.parametrize("lost", ["mesh.glb", "views", "depth.npz", "subject.png", "plain", "run.json", "mesh.json"])
def test_a_run_that_lacks_something_has_a_page_as_well(lost: str, tmp_path: Path) -> None:
    out = finished_run(tmp_path)
    (out / lost).rename(tmp_path / "gone")
    text = page(gather(out))
    assert ('id="viewer"' in text) == (lost != "mesh.glb")
    assert ('id="lines"' in text) == (lost not in ("depth.npz", "plain"))
    assert "missing: " in text


def colours(picture: Path | bytes, box: dict[str, float] | None = None) -> int:
    """How many different colours, coarsely, a picture has."""
    import io

    pixels = np.asarray(Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture).convert("RGB")) // 16
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


BOX = "(s => {{ const r = document.querySelectorAll(s)[{0}].getBoundingClientRect();"
BOX += " return {{x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height}} }})('{1}')"


@pytest.mark.slow
@browser_needed
def test_in_a_browser_nothing_fails_the_mesh_is_drawn_and_the_lines_are_right(out: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(page(gather(out)))
    with Browser(tmp_path / "profile", height=3200) as browser:
        browser.open((tmp_path / "report.html").as_uri())
        box = browser.value(BOX.format(0, "#viewer canvas"))
        first = browser.picture(tmp_path / "viewer.png", box)
        assert colours(first) > 100  # the ground alone has a dozen
        middle = {"button": "left"}
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        browser.mouse("mousePressed", x, y, **middle)
        browser.mouse("mouseMoved", x + 150, y, buttons=1, **middle)
        browser.mouse("mouseReleased", x + 150, y, **middle)
        time.sleep(0.3)
        turned = browser.picture(None, box)
        time.sleep(0.3)
        assert turned != first and browser.picture(None, box) == turned  # it turned, and stands still from then on
        check_lines(browser, out)
        before = browser.value("getComputedStyle(document.querySelector('.pair img + img')).clipPath")
        pair = browser.value(BOX.format(0, ".pair"))
        browser.mouse("mouseMoved", pair["x"] + 0.2 * pair["width"], pair["y"] + 20)
        assert browser.value("getComputedStyle(document.querySelector('.pair img + img')).clipPath") != before
        assert browser.faults == []
        assert [a for a in browser.asked if not a.startswith(("data:", "blob:"))] == [
            (tmp_path / "report.html").as_uri()
        ]


def check_lines(browser: Browser, out: Path) -> None:
    """Ask the page where a pixel of the front view is seen on the right, and compare with the depth maps."""
    from img2mv3d.geometry.cameras import SIX_VIEWS, project, unproject

    z, hit = gather(out).depth
    row, column = next((r, c) for r in range(SIDE // 2, SIDE) for c in range(SIDE // 2, SIDE) if hit[0, r, c] == 1)
    view = browser.value(BOX.format(0, "canvas.lines"))
    scale = view["width"] / SIDE
    browser.mouse("mouseMoved", view["x"] + (column + 0.5) * scale, view["y"] + (row + 0.5) * scale)
    assert browser.value("document.querySelector('.line-view .told').textContent") == f"depth {z[0, row, column]:.2f}"
    cameras = SIX_VIEWS.cameras(SIDE)
    point = unproject(cameras[0], np.array([column + 0.5, row + 0.5]), z[0, row, column])
    for other in range(1, 6):
        (u, v), depth = project(cameras[other], point)
        assert v == pytest.approx(row + 0.5)
        there = int(row), int(u)
        told = browser.value(f"document.querySelectorAll('.line-view .told')[{other}].textContent")
        if hit[(other, *there)] < 0.5:
            assert told == "beside the surface"
        else:
            assert told == ("seen" if depth - z[(other, *there)] < 0.04 else "hidden"), other
        assert painted(browser, other, u, v) > 0 and painted(browser, other, u, (v + SIDE / 2) % SIDE) == 0


def painted(browser: Browser, view: int, u: float, v: float) -> int:
    """Alpha (0..255) of the lines over a pixel of a view."""
    pen = f"document.querySelectorAll('canvas.lines')[{view}].getContext('2d')"
    return browser.value(f"{pen}.getImageData({u / SIDE} * 512, {v / SIDE} * 512, 1, 1).data[3]")


@pytest.mark.slow
@browser_needed
def test_the_browser_notices_what_is_wrong(tmp_path: Path) -> None:
    bad = (
        "<html data-ready=true><script>console.error('so'); nothing.at.all</script><img src='http://127.0.0.1:9/x.png'>"
    )
    (tmp_path / "bad.html").write_text(bad)
    with Browser(tmp_path / "profile") as browser:
        browser.open((tmp_path / "bad.html").as_uri())
        browser.value("new Promise(done => setTimeout(done, 500))")
        assert any("so" in fault for fault in browser.faults) and any("nothing" in fault for fault in browser.faults)
        assert "http://127.0.0.1:9/x.png" in browser.asked

"""The page of all results: relative links that lead to files, everything escaped, the report's look in both schemes."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from img2mv3d.errors import UsageError
from img2mv3d.report.gallery import MARK, save_gallery
from tests.browser import CHROMIUM, Browser
from tests.finished import finished_run


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """out/ of a batch: three runs, the third one only begun, under names that need care."""
    base = tmp_path_factory.mktemp("batch")
    done = finished_run(base, name="ring <b>.png")
    (done / "report.html").write_text("<html>")
    out = base / "all"
    for name in ("ring 10", "ring 2", 'a "quoted" #1%'):
        shutil.copytree(done, out / name)
    for left in ("views", "mesh.glb", "mesh.json", "report.html"):
        place = out / 'a "quoted" #1%' / left
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    (out / "no run of ours").mkdir()
    return out


def linked(page: Path) -> list[str]:
    return [unquote(a) for a in re.findall(r'(?:src|href)="([^"]+)"', page.read_text(encoding="utf-8"))]


def test_every_link_is_relative_and_leads_to_a_file(batch: Path) -> None:
    page = save_gallery(batch, {})
    assert page == batch / "index.html"
    links = linked(page)
    assert len(links) == 2 * (4 + 2) + 1
    assert all((batch / link).is_file() and not link.startswith("/") for link in links)


def test_runs_come_naturally_sorted_with_what_is_known_of_them(batch: Path) -> None:
    text = save_gallery(batch, {"gone<i>.png": "no such file"}).read_text(encoding="utf-8")
    assert text.index("a &quot;quoted&quot; #1%/") < text.index("ring 2/") < text.index("ring 10/")
    assert "3 results · 3 with warnings · 1 failed" in text and text.count("a leg is thin") == 3
    assert "ring &lt;b&gt;.png" in text and "<b>gone&lt;i&gt;.png</b>: no such file" in text and "<script" not in text


def test_where_nothing_ran_no_page_is_written(tmp_path: Path) -> None:
    assert save_gallery(tmp_path, {"a": "b"}) is None and save_gallery(tmp_path / "gone", {}) is None
    assert list(tmp_path.iterdir()) == []


def test_ours_is_written_again_and_another_page_is_not(batch: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(batch, out)
    (out / "index.html").unlink(missing_ok=True)
    for _ in range(2):
        save_gallery(out, {})
    (out / "index.html").write_text("mine")
    with pytest.raises(UsageError, match="not overwritten"):
        save_gallery(out, {})
    shutil.rmtree(out / "ring 2")
    (out / "ring 10" / "run.json").write_text("{")
    (out / "index.html").write_text(MARK)
    assert json.dumps("ring 10") not in save_gallery(out, {}).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_from_disk_on_a_phone_and_a_desktop(batch: Path, tmp_path: Path, dark: bool) -> None:
    page = save_gallery(batch, {"gone.png": "no such file"})
    with Browser(tmp_path / "profile") as browser:
        for width in (390, 1240):
            browser.become(width, 900, dark=dark, phone=width < 500)
            browser.open(page.as_uri(), ready="document.images[0]?.naturalWidth === 256")
            assert browser.value("document.documentElement.scrollWidth") == width
            assert browser.value("[...document.images].every(i => !i.complete || i.naturalWidth > 0)")
            assert [role for role, name in browser.names() if not name] == []
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        assert (int(ground.split("(")[1].split(",")[0]) < 100) == dark and browser.faults == []

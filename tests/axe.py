"""What axe-core finds in a page of a browser. It comes from npm, by name, into a folder of the test's."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.browser import Browser

ASK = """axe.run(document, {resultTypes: ['violations']}).then(found => JSON.stringify(found.violations
  .filter(v => v.impact === 'serious' || v.impact === 'critical')
  .map(v => [v.id, v.help, v.nodes.map(n => n.target.join(' ') + ' ' + n.html.slice(0, 120))])))"""


def fetch_axe(folder: Path) -> str | None:
    """The script, None where npm or its registry is not there."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    words = [npm, "pack", "axe-core", "--silent", "--pack-destination", str(folder), "--cache", str(folder / "cache")]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return None
    packed = sorted(folder.glob("axe-core-*.tgz"))
    if done.returncode or not packed:
        return None
    with tarfile.open(packed[-1]) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def serious(browser: Browser, script: str) -> list[tuple[str, str, list[str]]]:
    """(rule, what it asks, elements) of every serious or critical finding."""
    if browser.value("typeof axe") != "object":
        browser.value(script + "; 0")
    return json.loads(browser.value(ASK))

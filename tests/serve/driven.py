"""The page as a hand drives it: a photo dropped, things clicked, what shows waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.browser import Browser
from tests.serve.served import Served, wait_for


def shown(browser: Browser, expression: str, seconds: float = 180.0) -> None:
    """Wait until a piece of script is true in the page."""
    wait_for(lambda: browser.value(expression), seconds)


def click(browser: Browser, id: str) -> None:
    """Click what has this id."""
    browser.value(f"document.getElementById('{id}').click()")


def drop(browser: Browser, server: Served, photo: Path) -> None:
    """A photo let go beside the target: the whole window is one."""
    browser.open(server.address)
    browser.drop(photo, *browser.value("[innerWidth - 20, innerHeight - 20]"))
    shown(browser, "document.documentElement.dataset.cut === 'true'")


def newest(server: Served) -> dict[str, Any]:
    """The run that was posted last."""
    return server.ask("GET", "/runs").json[0]

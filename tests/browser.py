"""A real browser without a window, spoken to over a pipe: Debian's `chromium` and its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--hide-scrollbars", "--disable-gpu-shader-disk-cache", "--no-first-run", "--remote-debugging-pipe"),
)
USED = ("button", "link", "textbox", "slider", "checkbox", "radio", "combobox", "spinbutton", "image", "progressbar")


class Browser:
    """One page. faults: console errors and uncaught exceptions, as text. asked: every address that was requested.

    more: flags of the browser.
    """

    def __init__(self, profile: Path, width: int = 1240, height: int = 900, *more: str) -> None:
        assert CHROMIUM is not None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        line = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", *more, "about:blank"]
        keep = {to_read: 3, to_write: 4}

        def place() -> None:  # the protocol wants descriptors 3 and 4
            spare = {os.dup2(fd, 60 + number): number for fd, number in keep.items()}
            for fd, number in spare.items():
                os.dup2(fd, number)

        self._process = subprocess.Popen(
            line, preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_read), os.close(to_write)
        self._number, self._rest, self._session = 0, b"", ""
        self.faults: list[str] = []
        self.asked: list[str] = []
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._write), os.close(self._read)

    def open(
        self, address: str, seconds: float = 30, ready: str = "document.documentElement?.dataset.ready === 'true'"
    ) -> None:
        """Go there and wait until the page is ready; it says so itself, unless another script tells."""
        self._call("Page.navigate", url=address)
        end = time.monotonic() + seconds
        while not self.value(ready):
            assert time.monotonic() < end, f"{address} did not get ready: {self.faults}"
            time.sleep(0.1)

    def leave(self) -> None:
        """Close the page, as far as it can tell."""
        self._call("Page.navigate", url="about:blank")

    def value(self, expression: str) -> Any:
        """What a piece of script gives in the page; promises are waited for."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """mouseMoved, mousePressed or mouseReleased at a point of the window, px."""
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drop(self, file: Path, x: float, y: float) -> None:
        """Drag a file over the window and let it go at a point."""
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def another(self, address: str) -> None:
        """One more tab at an address; the first one stays the one that is spoken to."""
        session, self._session = self._session, ""
        self._call("Target.createTarget", url=address, background=True)
        self._session = session

    def key(self, key: str, code: str = "", number: int = 0, modifiers: int = 0) -> None:
        """Press and release a key: its name, code and virtual key code."""
        more = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            told = {"key": key, "code": code or key, "windowsVirtualKeyCode": number, "modifiers": modifiers}
            self._call("Input.dispatchKeyEvent", type=kind, **told, **(more if kind == "keyDown" else {}))

    def become(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Another window: px of the page, colour scheme, touch."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}
        self._call("Emulation.setEmulatedMedia", features=[scheme, calm])

    def save_downloads(self, folder: Path) -> None:
        """Whatever is downloaded goes there."""
        session, self._session = self._session, ""
        self._call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self._session = session

    def names(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader can reach and use."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        told = [
            (n.get("role", {}).get("value", ""), n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]
        ]
        return [(role, name.strip()) for role, name in told if role in USED]

    def picture(self, path: Path | None = None, clip: dict[str, float] | None = None) -> bytes:
        """A PNG of the window, or of `clip` (x, y, width, height in px of the page)."""
        more: dict[str, Any] = {"captureBeyondViewport": True}
        if clip is not None:
            more["clip"] = clip | {"scale": 1}
        data = base64.b64decode(self._call("Page.captureScreenshot", format="png", **more)["data"])
        if path is not None:
            path.write_bytes(data)
        return data

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._read, 1 << 16)
            assert data, "the browser is gone"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        told = json.loads(line)
        params = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.faults.append(details.get("exception", {}).get("description") or details["text"])
        elif told.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert", "warning"):
            self.faults.append(json.dumps(params["args"])[:500])
        elif told.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.faults.append(params["entry"]["text"])
        elif told.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        return told

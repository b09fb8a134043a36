"""Photos to a server, meshes back. Only the standard library."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

ADDRESS = "http://127.0.0.1:8337/"
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before a request that a busy server did not answer is sent again
OVERLOADED = 503  # status of a server that has too many connections


class ServerError(Exception):
    """The server refused, failed or is not there.

    status: of HTTP, 0 without an answer.
    busy: it is there, but did not answer in time: the same request may succeed in a moment.
    """

    def __init__(self, text: str, status: int = 0, busy: bool = False) -> None:
        super().__init__(text)
        self.status, self.busy = status, busy


class Client:
    """A server at an address, which may end in a proxy's prefix.

    token: for servers that are not on this machine; else IMG2MV3D_TOKEN.
    seconds: that one answer may take.
    """

    def __init__(self, address: str = ADDRESS, token: str | None = None, seconds: float = 60.0) -> None:
        self.address = address.rstrip("/") + "/"
        self._token = token or os.environ.get("IMG2MV3D_TOKEN") or ""
        self._seconds = seconds
        host = urlsplit(self.address).hostname or ""
        # HTTP_PROXY of a company network must not catch what stays on this machine
        handlers = [urllib.request.ProxyHandler({})] if _is_loopback(host) else []
        self._opener = urllib.request.build_opener(*handlers)

    def health(self) -> dict[str, Any]:
        """{"alive": True, "ready": ...}. Raises ServerError, also when another program answers at this address."""
        told = self._json("GET", "healthz")
        if not isinstance(told, dict) or "ready" not in told:
            raise ServerError(f"{self.address}: another program answers there, not `img2mv3d serve`")
        return told

    def post(
        self,
        photo: Photo,
        *,
        mask: Photo | None = None,
        back: Photo | None = None,
        left: Photo | None = None,
        right: Photo | None = None,
        **options: Any,
    ) -> Run:
        """A new run: photo, mask and photos of other sides are paths or bytes, options the server's (quality, seed,
        format, ...). Raises ServerError, OSError."""
        pictures = {"photo": photo, "mask": mask, "back": back, "left": left, "right": right}
        body = {name: base64.b64encode(_bytes(p)).decode() for name, p in pictures.items() if p is not None}
        name = "photo" if isinstance(photo, bytes) else Path(photo).name
        # the server gives equal posts one run: sending it again makes no second one
        told = _patiently(lambda: self._json("POST", "runs", {**body, "name": name, "options": options}))
        return Run(self, told["id"])

    def run(self, id: str) -> Run:
        """An earlier run."""
        return Run(self, id)

    def reconstruct(self, photo: Photo, target: str | Path, **more: Any) -> Path:
        """Photo to mesh file in one call; more: as `post` takes it. The format is that of the target's name, unless it
        is said. Raises ServerError, OSError."""
        target = Path(target)
        more.setdefault("format", target.suffix.removeprefix(".").lower() or "glb")
        run = self.post(photo, **more)
        run.wait()
        return run.save(target)

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        with self._open(method, path, body) as answer:
            try:
                data = answer.read()
            except (OSError, http.client.HTTPException) as error:
                raise ServerError(f"{self.address}: the answer broke off ({error})", busy=True) from None
        try:
            return json.loads(data) if data else None
        except ValueError:
            raise ServerError(f"{self.address}: another program answers there, not `img2mv3d serve`") from None

    def _open(self, method: str, path: str, body: Any = None, seconds: float | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        data = None
        if body is not None:
            data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            return self._opener.open(request, timeout=seconds or self._seconds)
        except urllib.error.HTTPError as error:
            raise ServerError(_detail(error), error.code, error.code == OVERLOADED) from None
        except (urllib.error.URLError, TimeoutError, http.client.HTTPException, ConnectionError) as error:
            reason = getattr(error, "reason", error) or error
            words = f"{self.address}: no answer ({reason}); is `img2mv3d serve` running there?"
            raise ServerError(words, busy=isinstance(reason, TimeoutError | http.client.RemoteDisconnected)) from None


@dataclass(frozen=True)
class Run:
    """One run of a server."""

    client: Client
    id: str

    def state(self) -> dict[str, Any]:
        """What the server says about it. Raises ServerError."""
        return self.client._json("GET", f"runs/{self.id}")

    def wait(self, seconds: float | None = None, told: Callable[[str, dict[str, Any]], None] | None = None) -> dict:
        """Until it has ended; its state. told: called with kind and data of every event. Raises ServerError when it
        failed, was cancelled or took longer than `seconds`."""
        end, last = None if seconds is None else time.monotonic() + seconds, 0
        while True:
            for number, kind, data in self._events(last, end):
                last = number
                if told is not None:
                    told(kind, data)
            state = _patiently(self.state, end)
            if state["state"] == "done":
                return state
            if state["state"] not in ("queued", "running"):
                raise ServerError(state["reason"] or state["state"])
            if end is not None and time.monotonic() > end:
                raise ServerError(f"not done after {seconds:g} s; it goes on at the server")
            time.sleep(0.2)

    def save(self, target: str | Path, name: str | None = None) -> Path:
        """Write its mesh (or its file `name`) to `target`, whole or not at all. Raises ServerError, OSError."""
        target, name = Path(target), name or self.state()["file"]
        with self.client._open("GET", f"runs/{self.id}/files/{quote(name)}") as answer:
            data = answer.read()
        draft = target.with_name(target.name + ".part")
        draft.write_bytes(data)
        draft.replace(target)
        return target

    def delete(self) -> None:
        """Stop it and remove its files. Raises ServerError."""
        self.client._json("DELETE", f"runs/{self.id}")

    def _events(self, after: int, end: float | None) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Numbered events as they come; stops when the stream breaks, which `wait` survives."""
        left = 60.0 if end is None else min(60.0, max(0.1, end - time.monotonic()))
        number, kind = after, ""
        try:
            with self.client._open("GET", f"runs/{self.id}/events?after={after}", seconds=left) as answer:
                for line in answer:
                    field, _, value = line.decode().rstrip("\r\n").partition(": ")
                    if field == "id":
                        number = int(value)
                    elif field == "event":
                        kind = value
                    elif field == "data":
                        yield number, kind, json.loads(value)
                    if end is not None and time.monotonic() > end:
                        return
        except ServerError as error:
            if not error.busy:
                raise
        except (OSError, http.client.HTTPException, ValueError):
            return


def _patiently(ask: Callable[[], Any], end: float | None = None) -> Any:
    """What `ask` gives; asked again while the server is too busy to answer, until `end`. Raises ServerError."""
    for pause in PAUSES:
        try:
            return ask()
        except ServerError as error:
            if not error.busy or (end is not None and time.monotonic() > end):
                raise
        time.sleep(pause)
    return ask()


Photo = str | Path | bytes


def _bytes(picture: Photo) -> bytes:
    return picture if isinstance(picture, bytes) else Path(picture).read_bytes()


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        told = json.loads(error.read())
        return str(told["detail"])
    except Exception:  # another program's page
        return f"HTTP {error.code} {error.reason}"

"""A server on a free port, in a thread of the test; and requests to it without any help from a library."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from img2mv3d.client import Client
from img2mv3d.serve.server import Settings, listen, make_server
from tests.serve.works import FakeRuns


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def detail(self) -> str:
        return self.json["detail"]


class Served:
    """Started when it is made; `ready` waits for its workers."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.settings = Settings(folder=folder, **{"work": FakeRuns(), **more})
        self._socket = listen("127.0.0.1", 0)
        self.port = self._socket.getsockname()[1]
        self.server = make_server(self.settings)
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self._thread.start()
        wait_for(lambda: self.server.started)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def client(self) -> Client:
        return Client(self.address)

    def ready(self) -> Served:
        wait_for(lambda: self.ask("GET", "/healthz").json["ready"])
        return self

    def end(self) -> None:
        self.server.handle_exit(2, None)
        self._thread.join(10)
        self._socket.close()
        assert not self._thread.is_alive()

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One request. A dict is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = dict(headers or {})
        if isinstance(body, dict):
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def form(self, fields: dict[str, bytes | str], path: str = "/runs", name: str = "cup.png") -> Answer:
        """A multipart post; bytes are files."""
        parts = []
        for key, value in fields.items():
            of_file = f'; filename="{name}"' if isinstance(value, bytes) else ""
            data = value if isinstance(value, bytes) else value.encode()
            parts.append(
                f'--xx\r\nContent-Disposition: form-data; name="{key}"{of_file}\r\n\r\n'.encode() + data + b"\r\n"
            )
        body = b"".join(parts) + b"--xx--\r\n"
        return self.ask("POST", path, body, {"Content-Type": "multipart/form-data; boundary=xx"})

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which `data` was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection

    def until(self, id: str, *states: str) -> dict[str, Any]:
        """The run, once it is in one of these states."""
        wait_for(lambda: self.ask("GET", f"/runs/{id}").json["state"] in states)
        return self.ask("GET", f"/runs/{id}").json


def picture(shade: int = 0, side: int = 24) -> bytes:
    """A small PNG; every shade has its own bytes."""
    sink = io.BytesIO()
    Image.new("RGB", (side, side), (shade % 256, shade // 256, 90)).save(sink, format="PNG")
    return sink.getvalue()


def wait_for(check: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)

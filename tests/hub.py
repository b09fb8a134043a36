"""A hub on 127.0.0.1 that behaves as badly as real ones do."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "flamehaze1115/wonder3d-v1.0"


@dataclass
class Hub:
    """files: name -> content. large: endings of those whose sha256 is listed; of others git's digest is. cuts: name ->
    bytes after which the line breaks, one by one. spoilt: name -> what is sent instead. statuses: name -> answer.
    holds: name -> bytes after which nothing comes, once. ranges: "good", "ignored", "wrong" (another range) or
    "refused". elsewhere: files are answered by a redirect to /cdn. seen: path, Range and Authorization of every
    request but those for headers alone. agents: what the askers say they are."""

    files: dict[str, bytes]
    large: tuple[str, ...] = (".bin", ".safetensors")
    cuts: dict[str, list[int]] = field(default_factory=dict)
    holds: dict[str, int] = field(default_factory=dict)
    spoilt: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    ranges: str = "good"
    elsewhere: bool = False
    seen: list[tuple[str, str, str]] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    url: str = ""

    def listing(self) -> dict[str, object]:
        rows = []
        for name, content in self.files.items():
            row: dict[str, object] = {"rfilename": name, "size": len(content)}
            row["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if name.endswith(self.large):
                digest = hashlib.sha256(content).hexdigest()
                row["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 100}
            rows.append(row)
        return {"id": REPOSITORY, "sha": COMMIT, "siblings": rows}

    def asked(self, name: str) -> list[str]:
        """The ranges that were asked of a file, "" for the whole, in order."""
        return [r for path, r, _ in self.seen if path.endswith("/" + name) and not path.startswith("/cdn")]


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            """What the hub's own library asks first."""
            content = hub.files[self.path.partition(f"/resolve/{COMMIT}/")[2]]
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def do_GET(self) -> None:
            hub.agents.add(self.headers.get("User-Agent", ""))
            path = self.path.partition("?")[0]
            hub.seen.append((path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
            if path.startswith("/api/models/"):
                self.answer(hub.statuses.get("api", 200), json.dumps(hub.listing()).encode())
                return
            name = path.partition(f"/resolve/{COMMIT}/")[2] or path.partition("/cdn/")[2]
            status = hub.statuses.get(name, 200)
            if status == 302 or (hub.elsewhere and not path.startswith("/cdn/")):
                self.send_response(302)
                there = path if status == 302 else hub.url.replace("127.0.0.1", "localhost") + "/cdn/" + name
                self.send_header("Location", there)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif status != 200:
                self.answer(status, b"no")
            else:
                self.send_file(name, hub.spoilt.get(name, hub.files[name]))

        def send_file(self, name: str, content: bytes) -> None:
            asked, headers, status, start = self.headers.get("Range"), {}, 200, 0
            if asked and hub.ranges == "refused":
                self.answer(416, b"")
                return
            if asked and hub.ranges != "ignored":
                start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
                start = max(0, start - 7) if hub.ranges == "wrong" else start
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            cuts = hub.cuts.get(name)
            hold = hub.holds.pop(name, None)
            self.answer(status, content[start:], headers, cuts.pop(0) if cuts else hold, hold is not None)

        def answer(
            self,
            status: int,
            body: bytes,
            headers: dict[str, str] = {},  # noqa: B006
            cut: int | None = None,
            hold: bool = False,
        ) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:cut])
            if hold:
                self.connection.settimeout(60)
                self.rfile.read(1)  # until the other side is gone
            if cut is not None:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A run's folder on this machine's own loopback, for a browser: the report and the meshes, and nothing else."""

from __future__ import annotations

import http.server
import re
from pathlib import Path
from typing import Any

from img2mv3d.mesh.formats import FORMATS

LOOPBACK = "127.0.0.1"
MESHES = {f".{f.name}": f.media_type for f in FORMATS.values()} | {
    f".{ending}": media_type for f in FORMATS.values() for ending, media_type in f.beside.items()
}
TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png", **MESHES}
OFFERED = re.compile(rf"report\.html|mesh({'|'.join(map(re.escape, MESHES))})|mesh[\w-]*\.png")


def server_for(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server for report.html (at /) and the meshes of `folder`; port 0 takes a free one. Raises OSError when the port
    is taken. Requests that name another host than this one are refused: a page elsewhere must not read through us.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(send=True)

        def do_HEAD(self) -> None:
            self._answer(send=False)

        def log_message(self, format: str, *words: Any) -> None:
            """Quiet."""

        def _answer(self, *, send: bool) -> None:
            number = self.server.server_address[1]
            if self.headers.get("Host") not in (f"{LOOPBACK}:{number}", f"localhost:{number}"):
                return self.send_error(403, "not for you")
            name = self.path.partition("?")[0].removeprefix("/") or "report.html"
            path = folder / name
            if not OFFERED.fullmatch(name) or not path.is_file():
                return self.send_error(404, "not offered here")
            data = path.read_bytes()
            self.send_response(200)
            for key, value in (
                ("Content-Type", TYPES[path.suffix]),
                ("Content-Length", str(len(data))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
            ):
                self.send_header(key, value)
            self.end_headers()
            if send:
                self.wfile.write(data)
            return None

    return http.server.ThreadingHTTPServer((LOOPBACK, port), Handler)

"""A proxy that puts a server under /x/ and holds answers back until they are whole, unless these ask it not to."""

from __future__ import annotations

import http.client
import http.server
import threading
from typing import Any


class Proxy:
    """On a free port, until `end`."""

    def __init__(self, upstream: int) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, format: str, *words: Any) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=20)
                headers = dict(self.headers.items())
                connection.request(self.command, self.path.removeprefix("/x"), self.rfile.read(length), headers)
                answer = connection.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                if answer.getheader("X-Accel-Buffering") == "no":
                    while piece := answer.read1(1000):
                        self.wfile.write(piece)
                        self.wfile.flush()
                else:
                    self.wfile.write(answer.read())
                connection.close()

            do_POST = do_DELETE = do_GET

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

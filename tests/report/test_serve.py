"""The server: this machine alone, the report and meshes alone."""

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from img2mv3d.report.serve import server_for


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "out").mkdir()
    for name in ("report.html", "mesh.glb", "run.json", "latents.pt"):
        (tmp_path / "out" / name).write_text(f"this is {name}")
    (tmp_path / "secret.png").write_text("not for you")
    with server_for(tmp_path / "out") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def ask(port: int, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), answer.getheader("Content-Type")
    connection.close()
    return found


def test_the_report_and_the_mesh_are_served(port: int) -> None:
    assert ask(port, "/") == ask(port, "/report.html") == (200, "this is report.html", "text/html; charset=utf-8")
    assert ask(port, "/mesh.glb?x=1") == (200, "this is mesh.glb", "model/gltf-binary")
    assert ask(port, "/", method="HEAD")[:2] == (200, "")


@pytest.mark.parametrize(
    "path",
    ["/run.json", "/latents.pt", "/../secret.png", "/%2e%2e/secret.png", "/mesh.obj", "//etc/passwd", "/mesh.glb/"],
)
def test_nothing_else_is(port: int, path: str) -> None:
    assert ask(port, path)[0] == 404


def test_a_page_elsewhere_cannot_read_through_us(port: int) -> None:
    assert ask(port, "/", f"evil.example:{port}")[0] == 403
    assert ask(port, "/", f"localhost:{port}")[0] == 200


def test_it_listens_on_loopback_and_answers_get_alone(tmp_path: Path, port: int) -> None:
    with server_for(tmp_path) as other:
        assert other.server_address[0] == "127.0.0.1"
    assert ask(port, "/", method="POST")[0] == 501

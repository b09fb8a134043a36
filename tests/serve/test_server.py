"""The command and its server: addresses and tokens, an end within three seconds, nobody who holds it up."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from img2mv3d.cli.app import app
from img2mv3d.cli.serving import parse_seconds
from img2mv3d.serve import access, server
from img2mv3d.serve.server import Settings
from tests.serve.served import Served, picture, wait_for

ROOT = Path(__file__).parents[2]


def refused(*words: str) -> str:
    """What the command says when it ends with a usage error."""
    result = CliRunner().invoke(app, ["serve", "--no-browser", *words], prog_name="img2mv3d")
    assert result.exit_code == 2, result.output
    return result.stderr


def test_only_loopback_needs_no_token() -> None:
    assert Settings(Path()).token is None and Settings(Path()).addresses(80) == ("http://127.0.0.1:80/", [])
    far = Settings(Path(), "192.168.1.5", token="x")
    assert far.addresses(80)[1] == ["http://192.168.1.5:80/?token=x"] and far.rules.open
    drawn = {Settings(Path(), "0.0.0.0").token for _ in range(3)}
    assert len(drawn) == 3 and all(len(token or "") >= 20 for token in drawn)
    named = Settings(Path(), names=("studio.example",), token="x")
    assert named.rules.token == "x" and named.rules.hosts == ("studio.example",) and not named.rules.open


def test_what_cannot_be_meant_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "expected a time" in refused("--keep", "soon")
    assert "--memory" in refused("--memory", "much")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "take another port" in refused("--port", str(taken.getsockname()[1]))
    assert "--host nowhere.invalid" in refused("--host", "nowhere.invalid")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'img2mv3d[serve]'" in refused()


def test_times_have_units() -> None:
    assert [parse_seconds("--keep", t) for t in ("30s", "90m", "12h", "7d")] == [30.0, 5400.0, 43200.0, 604800.0]


def test_a_phone_trades_the_token_for_a_cookie_and_then_sees_everything(tmp_path: Path) -> None:
    near = Served(tmp_path, names=("phone.example",), token="the-token").ready()

    def ask(path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", near.port, timeout=10)
        connection.request("GET", path, headers={"Host": f"phone.example:{near.port}", **headers})
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found

    assert ask("/")[0] == ask("/runs")[0] == 401
    status, headers, _ = ask("/?token=the-token")
    cookie = headers["set-cookie"].split(";")[0]
    assert status == 303 and headers["location"] == "."
    id = near.form({"photo": picture(1)}).json["id"]  # this machine needs nothing
    near.until(id, "done")
    assert ask("/", Cookie=cookie)[0] == 200
    assert ask(f"/runs/{id}/files/mesh.glb", Cookie=cookie)[0] == 200
    assert b"event: done" in ask(f"/runs/{id}/events", Cookie=cookie)[2]
    near.end()


def test_who_connects_and_says_nothing_or_sends_slowly_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADERS_SECONDS", 0.5)
    monkeypatch.setattr(access, "PATIENCE", 0.5)
    near = Served(tmp_path)
    silent = near.raw(b"POST /runs HTTP/1.1\r\nHos")
    head = b"POST /runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    slow = near.raw(head + b'{"photo": "')
    started = time.monotonic()
    assert silent.recv(100) == b"" and slow.recv(100).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 5 and near.ask("GET", "/healthz").status == 200
    silent.close(), slow.close()
    near.end()


def test_the_command_serves_says_no_token_aloud_and_ends_at_once(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "img2mv3d", "serve", "--port", "0", "--no-browser", "-o", str(tmp_path / "runs")]
    (tmp_path / "home").touch()  # no folder: nothing can be written there, and nothing needs to
    env = {**os.environ, "IMG2MV3D_TOKEN": "the-token", "PYTHONUNBUFFERED": "1", "HOME": str(tmp_path / "home")}
    with contextlib.ExitStack() as stack:
        err = stack.enter_context(open(tmp_path / "err", "wb"))
        process = stack.enter_context(
            subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=err, text=True)
        )
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        port = int(address.rstrip("/").rpartition(":")[2])

        def health() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", "/healthz?token=the-token")
                with connection.getresponse() as answer:
                    return answer.status == 200
            except OSError:
                return False
            finally:
                connection.close()

        wait_for(health, 60.0)
        family = [p.pid for p in psutil.Process(process.pid).children(recursive=True)]
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        process.wait(10)
    assert time.monotonic() - started < 3.5 and address == f"http://127.0.0.1:{port}/"
    assert (
        "the-token" not in rest + (tmp_path / "err").read_text() and "Traceback" not in (tmp_path / "err").read_text()
    )
    wait_for(lambda: not any(map(psutil.pid_exists, family)))

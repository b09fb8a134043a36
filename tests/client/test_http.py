"""The client against a server that is too busy to answer now and then; serve/test_routes has it against a well one."""

import io
import time
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from img2mv3d.client import Client, ServerError, http
from tests.client.other_servers import dead
from tests.serve.served import Served, picture


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    server = Served(tmp_path_factory.mktemp("runs")).ready()
    yield server
    server.end()


Spoil = Callable[..., list[str]]


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Lets the first `count` answers of a client stay out; gives the list of what it asked for."""
    monkeypatch.setattr(http, "PAUSES", (0.01,) * 5)

    def spoiling(client: Client, error: Callable[[str], Exception], count: int) -> list[str]:
        asked: list[str] = []
        really = client._opener.open

        def open(request: Any, **more: Any) -> Any:
            asked.append(f"{request.method} {request.full_url.rpartition('/')[2]}")
            if len(asked) <= count:
                raise error(request.full_url)
            return really(request, **more)

        monkeypatch.setattr(client._opener, "open", open)
        return asked

    return spoiling


def late(address: str) -> Exception:
    return urllib.error.URLError(TimeoutError("timed out"))


def hung_up(address: str) -> Exception:
    import http.client

    return http.client.RemoteDisconnected("closed without response")


def overloaded(address: str) -> Exception:
    return urllib.error.HTTPError(address, 503, "Service Unavailable", {}, io.BytesIO(b"Service Unavailable"))  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [late, hung_up, overloaded])
def test_a_run_whose_server_was_busy_for_a_while_is_waited_for(
    server: Served, spoil: Spoil, error: Callable[[str], Exception], tmp_path: Path
) -> None:
    client = server.client
    run = client.post(picture(1))
    asked = spoil(client, error, 3)
    assert run.wait(30.0)["state"] == "done" and len(asked) > 3


def test_a_post_that_is_sent_again_makes_no_second_run(server: Served, spoil: Spoil) -> None:
    client = server.client
    first = client.post(picture(2))
    asked = spoil(client, late, 2)
    assert client.post(picture(2)).id == first.id and asked == ["POST runs"] * 3


def test_one_that_never_answers_is_given_up(server: Served, spoil: Spoil) -> None:
    client = server.client
    run = client.post(picture(3))
    asked = spoil(client, late, 1000)
    with pytest.raises(ServerError, match="no answer") as refused:
        run.wait()
    assert refused.value.busy and len(asked) < 10


def test_patience_ends_with_the_time_that_was_given(
    server: Served, spoil: Spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client
    run = client.post(picture(4))
    spoil(client, late, 1000)
    monkeypatch.setattr(http, "PAUSES", (0.3,) * 100)
    started = time.monotonic()
    with pytest.raises(ServerError):
        run.wait(0.5)
    assert time.monotonic() - started < 5


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    with dead() as address:
        started = time.monotonic()
        with pytest.raises(ServerError, match="is `img2mv3d serve` running there") as refused:
            Client(address).post(picture(5))
    assert not refused.value.busy and time.monotonic() - started < 2

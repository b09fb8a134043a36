"""The door: hosts, origins, tokens, cookies. Bare ASGI, no socket."""

import asyncio
from typing import Any

import pytest

from img2mv3d.serve.access import Guard, Rules, cookie_name

LOCAL, NEAR, FAR = "127.0.0.1", ("127.0.0.1", 5), ("192.168.1.9", 5)


async def inner(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-inner", b"1")]})
    await send({"type": "http.response.body", "body": b"in"})


def ask(
    rules: Rules,
    method: str = "GET",
    path: str = "/",
    query: str = "",
    client: tuple[str, int] = NEAR,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request."""
    told = {"host": LOCAL, **{k.replace("_", "-"): v for k, v in headers.items()}}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "client": client,
        "headers": [(k.encode(), v.encode()) for k, v in told.items()],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(inner, rules)(scope, receive, send))
    found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], found, sent[-1]["body"]


OPEN = Rules(names := ("studio.example",), True, "the token")


@pytest.mark.parametrize("host", ["localhost:8337", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_loopback_is_known_by_its_names(host: str) -> None:
    assert ask(Rules(), host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8337", "", "192.168.1.5"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_foreign_host_is_refused_on_reads_too(host: str, method: str) -> None:
    status, _, body = ask(Rules(), method, host=host)
    assert status == 403 and b"--allow-host" in body


def test_an_open_server_takes_plain_addresses_and_its_own_names() -> None:
    for host in ("192.168.1.5:8337", "studio.example"):
        assert ask(OPEN, host=host, client=FAR, authorization="Bearer the token")[0] == 200
    assert ask(OPEN, host="evil.example", client=FAR, authorization="Bearer the token")[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://localhost.evil.example"]
)
def test_another_sites_page_may_not_ask(origin: str) -> None:
    for method in ("POST", "DELETE", "GET"):
        status, _, body = ask(Rules(), method, origin=origin)
        assert status == 403 and b"another site" in body


def test_our_own_page_may() -> None:
    assert ask(Rules(), "POST", host="127.0.0.1:8337", origin="http://127.0.0.1:8337")[0] == 200
    assert ask(Rules(names), "POST", host="127.0.0.1", origin="https://studio.example")[0] == 200  # behind a proxy


def test_what_the_browser_says_about_the_asking_site_counts() -> None:
    assert ask(Rules(), sec_fetch_site="cross-site", sec_fetch_mode="no-cors")[0] == 403
    assert ask(Rules(), sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 200  # a link to the page
    assert ask(Rules(), "POST", sec_fetch_site="cross-site", sec_fetch_mode="navigate")[0] == 403
    assert ask(Rules(), sec_fetch_site="same-origin", sec_fetch_mode="cors")[0] == 200


def test_this_machine_needs_no_token_and_everybody_else_does() -> None:
    assert ask(OPEN)[0] == 200
    assert ask(OPEN, host="192.168.1.5", client=FAR)[0] == 401
    assert ask(OPEN, client=FAR)[0] == 401  # says that it is local, and is not
    assert ask(OPEN, host="studio.example")[0] == 401  # through a proxy on this machine
    assert ask(OPEN, x_forwarded_for="1.2.3.4")[0] == 401
    assert ask(OPEN, path="/healthz", host="10.0.0.3", client=FAR)[0] == 200


@pytest.mark.parametrize("shown", ["Bearer wrong", "Bearer ", "the token", "Basic the token", "Bearer the tokem"])
def test_a_wrong_token_is_refused_in_one_line(shown: str) -> None:
    status, _, body = ask(OPEN, host="192.168.1.5", client=FAR, authorization=shown)
    assert status == 401 and b"a token is needed" in body and b"\n" not in body


def test_the_token_in_the_address_is_traded_for_a_cookie_that_scripts_cannot_read() -> None:
    host = "192.168.1.5:8337"
    status, headers, _ = ask(OPEN, query="token=the%20token", host=host, client=FAR)
    assert (status, headers["location"]) == (303, ".")
    cookie, *more = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(more) and "the token" not in cookie
    assert cookie.startswith(cookie_name(host)) and cookie_name(host) != cookie_name("192.168.1.5:9000")
    assert ask(OPEN, host=host, client=FAR, cookie=f"other=1; {cookie}")[0] == 200
    assert ask(OPEN, host=host, client=FAR, cookie=cookie[:-1])[0] == 401
    assert ask(OPEN, query="token=wrong", host=host, client=FAR)[0] == 401
    assert ask(OPEN, "POST", query="token=the%20token", host=host, client=FAR)[0] == 401


def test_sizes_and_a_full_queue_are_judged_by_the_headers() -> None:
    assert ask(Rules(max_bytes=1000), "POST", "/runs", content_length="1001")[0] == 413
    full = Rules(full=lambda: True)
    status, headers, _ = ask(full, "POST", "/runs")
    assert status == 429 and headers["retry-after"]
    assert ask(full, "POST", "/cutouts")[0] == 200 and ask(full, "GET", "/runs")[0] == 200


def test_every_answer_tells_the_browser_what_it_may_do() -> None:
    for answer in (ask(Rules()), ask(Rules(), host="evil.example")):
        assert "script-src 'self'" in answer[1]["content-security-policy"]
        assert answer[1]["x-content-type-options"] == "nosniff" and answer[1]["referrer-policy"] == "no-referrer"
    far = ask(OPEN, path="/healthz", host="192.168.1.5", client=FAR)[1]
    assert "cross-origin-opener-policy" in ask(Rules())[1] and "cross-origin-opener-policy" not in far

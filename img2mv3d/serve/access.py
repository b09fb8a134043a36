"""The door: who may ask, from which page, how much, and what a browser may do with the answer.

In: requests, before anything of their body is read. Out: refusals in one line, or the request handed on.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
COOKIE = "img2mv3d"
FREE = ("/healthz",)  # for containers: says nothing but that the server lives
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
# Browsers take it from addresses that they trust alone, and complain about it elsewhere (plain http in a network).
TRUSTED_HEADERS = {"cross-origin-opener-policy": "same-origin"}
DRAINED = 64 << 20  # bytes of a refused body that are thrown away, so that its sender hears why
PATIENCE = 20.0  # seconds between two pieces of a body


@dataclass(frozen=True)
class Rules:
    """Who may come in.

    hosts: names by which this server may be called, besides loopback's (and any plain IP address, if `open`).
    open: it listens on more than loopback.
    token: what everybody but this machine must show; None: nobody.
    max_bytes: of a body.
    full: would a new run be refused now?
    session: the cookie's value, which the token is traded for.
    """

    hosts: tuple[str, ...] = ()
    open: bool = False
    token: str | None = None
    max_bytes: int = 64 << 20
    full: Callable[[], bool] = lambda: False
    session: str = field(default_factory=lambda: secrets.token_urlsafe(24))


class RefusedError(Exception):
    """A request is refused. status: of HTTP. The text is for the caller."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """An ASGI application before another one."""

    def __init__(self, app: Any, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on with a body that is counted and headers that every answer gets."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        trusted = hostname(headers.get("host", "")) in LOOPBACK or headers.get("x-forwarded-proto") == "https"
        send = _with_headers(send, HEADERS | TRUSTED_HEADERS if trusted else HEADERS)
        try:
            traded = self._check(scope, headers)
        except RefusedError as error:
            await drain(receive, headers)
            return await _answer(send, error.status, str(error))
        if traded is not None:
            return await _answer(send, 303, "", traded)
        return await self._app(scope, _counted(receive, self._rules.max_bytes), send)

    def _check(self, scope: Scope, headers: dict[str, str]) -> dict[str, str] | None:
        """Headers of a redirection that trades a token for a cookie; None to go on."""
        rules, host = self._rules, hostname(headers.get("host", ""))
        local = host in LOOPBACK
        if not (local or host in rules.hosts or (rules.open and is_address(host))):
            raise RefusedError(403, "this server is not known by that name; start it with --allow-host NAME")
        check_origin(headers, rules.hosts, writes=scope["method"] not in ("GET", "HEAD"))
        traded = None
        if rules.token is not None and scope["path"] not in FREE:
            near = (
                local and _is_loopback(scope) and not any(h.startswith(("x-forwarded", "forwarded")) for h in headers)
            )
            if not near:
                traded = self._check_token(scope, headers)
        if scope["method"] == "POST" and traded is None:
            length = headers.get("content-length", "")
            if length.isdigit() and int(length) > rules.max_bytes:
                raise RefusedError(413, f"more than {rules.max_bytes >> 20} MB; reduce the photo first")
            if scope["path"].rstrip("/").endswith("/runs") and rules.full():
                raise RefusedError(429, "too many runs wait already; try again in a minute")
        return traded

    def _check_token(self, scope: Scope, headers: dict[str, str]) -> dict[str, str] | None:
        """None when the cookie or the header is right; the trade when the address has the token."""
        rules = self._rules
        assert rules.token is not None
        kind, _, shown = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and same(shown.strip(), rules.token):
            return None
        name = cookie_name(headers.get("host", ""))
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(name)
        except CookieError:
            morsel = None
        if morsel is not None and same(morsel.value, rules.session):
            return None
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if scope["method"] == "GET" and same(query.pop("token", ""), rules.token):
            where = "?" + urlencode(query) if query else "."
            cookie = f"{name}={rules.session}; HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000"
            return {"location": where, "set-cookie": cookie}
        raise RefusedError(401, "a token is needed: open the address that the server printed")


def hostname(host: str) -> str:
    """The name in a Host header, without its port, in small letters.

    >>> hostname("Example.org:80"), hostname("[::1]:80"), hostname("127.0.0.1")
    ('example.org', '::1', '127.0.0.1')
    """
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_address(host: str) -> bool:
    """Is it a plain IP address? No foreign name can be rebound to one.

    >>> is_address("192.168.1.5"), is_address("evil.example")
    (True, False)
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def check_origin(headers: dict[str, str], hosts: tuple[str, ...], *, writes: bool) -> None:
    """Raises RefusedError when another site's page asks: its name in Origin, or what the browser says about it."""
    origin = headers.get("origin")
    if origin is not None:
        own = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
        if not own and hostname(urlsplit(origin).netloc) not in hosts:
            raise RefusedError(403, "another site's page may not ask here")
    site = headers.get("sec-fetch-site", "none")
    going = headers.get("sec-fetch-mode") == "navigate" and not writes
    if site in ("cross-site", "same-site") and not going:
        raise RefusedError(403, "another site's page may not ask here")


def cookie_name(host: str) -> str:
    """Of the session: cookies know no ports, so the name does."""
    return f"{COOKIE}-{hashlib.sha256(host.encode()).hexdigest()[:8]}"


def same(shown: str, wanted: str) -> bool:
    """Compared in a time that tells nothing."""
    return hmac.compare_digest(shown.encode(), wanted.encode())


def _is_loopback(scope: Scope) -> bool:
    client = scope.get("client")
    return client is not None and is_address(client[0]) and ipaddress.ip_address(client[0]).is_loopback


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            given = list(message.get("headers", []))
            names = {name.lower() for name, _ in given}
            more = [(n.encode(), v.encode()) for n, v in headers.items() if n.encode() not in names]
            message = {**message, "headers": [*given, *more]}
        await send(message)

    return sending


def _counted(receive: Receive, most: int) -> Receive:
    """The body's pieces, until they are too many or come too slowly."""
    seen, over = 0, False

    async def receiving() -> MutableMapping[str, Any]:
        nonlocal seen, over
        if over:  # whoever waits now waits for the caller to hang up, and that may take its time
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), PATIENCE)
        except TimeoutError:
            raise RefusedError(408, "the photo came too slowly") from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            over = not message.get("more_body", False)
            if seen > most:
                raise RefusedError(413, f"more than {most >> 20} MB; reduce the photo first")
        return message

    return receiving


async def drain(receive: Receive, headers: Mapping[str, str]) -> None:
    """Throw a refused body away, as far as it is not too long: who still sends does not read."""
    if headers.get("expect", "").lower() == "100-continue" or not (
        headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    ):
        return
    left = DRAINED
    try:
        async with asyncio.timeout(10):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return


async def _answer(send: Send, status: int, text: str, more: dict[str, str] | None = None) -> None:
    body = json.dumps({"detail": text}).encode() if text else b""
    headers = {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"}
    headers |= more or {}
    if status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not wanted
    if status == 429:
        headers["retry-after"] = "30"
    told = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})

"""The server's life: its socket, its workers, its addresses, and an end within three seconds.

In: `Settings`. Out: a server until it is interrupted.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from img2mv3d import machine
from img2mv3d.errors import UsageError
from img2mv3d.plans import PLANS, Plan
from img2mv3d.serve.access import LOOPBACK, Rules, is_address
from img2mv3d.serve.bell import Bell
from img2mv3d.serve.crew import Crew
from img2mv3d.serve.jobs import Jobs
from img2mv3d.serve.routes import make_app
from img2mv3d.serve.work import CutOuts, PhotoRuns
from img2mv3d.serve.workers import Work, Worker

SHARE = 0.8  # of the machine's memory that all workers may use together
CONNECTIONS = 200  # open at a time; more are told to come back
CUTTER_MEMORY = 3 << 30
HEADERS_SECONDS = 15.0  # that a new connection has to say what it wants


@dataclass(frozen=True)
class Settings:
    """folder: of the runs. host: to listen on. names: by which the server may be called, too. workers: runs at a time.
    queue: runs that may wait. keep, timeout: seconds. memory: bytes for a worker, None: a share of the machine's.
    token: None draws one where it is needed. plans: by the names of qualities. work: what workers do, in tests.
    """

    folder: Path
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    workers: int = 1
    queue: int = 16
    keep: float = 86_400.0
    timeout: float | None = 3600.0
    memory: int | None = None
    token: str | None = None
    bundle: str = "mini"
    device: str = "auto"
    plans: Mapping[str, Plan] = field(default_factory=lambda: dict(PLANS))
    work: Work | None = None

    def __post_init__(self) -> None:
        if self.token is None and self.open:
            object.__setattr__(self, "token", secrets.token_urlsafe(18))

    @property
    def open(self) -> bool:
        """May others than this machine come in?"""
        return self.host not in LOOPBACK or bool(self.names)

    @property
    def rules(self) -> Rules:
        """Who may come in."""
        host = () if is_address(self.host) else (self.host.lower(),)
        return Rules((*self.names, *host), self.host not in LOOPBACK, self.token)

    def addresses(self, port: int) -> tuple[str, list[str]]:
        """The address for this machine, and those for others, with the token."""
        far = self.host not in LOOPBACK
        near = "127.0.0.1" if not far or self.host in ("0.0.0.0", "::") else self.host
        token = "" if self.token is None or near in LOOPBACK else f"?token={self.token}"
        hosts = _networks() if self.host in ("0.0.0.0", "::") else [self.host] if far else []
        others = [f"http://{_bracketed(h)}:{port}/?token={self.token}" for h in (*hosts, *self.names)]
        return f"http://{_bracketed(near)}:{port}/{token}", [a for a in others if self.open]


class Protocol(H11Protocol):
    """uvicorn's own, in plain Python, but who connects and says nothing is sent away."""

    def connection_made(self, transport: Any) -> None:
        """A connection stands."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEADERS_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection has ended."""
        self._deadline.cancel()  # which else keeps all of it in memory until then
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn, but whoever waits for news is sent home at the first interrupt."""

    def __init__(self, config: uvicorn.Config, bell: Bell) -> None:
        super().__init__(config)
        self._bell = bell

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The first interrupt ends streams and waiting callers, then the server; the second one at once."""
        if self.should_exit:
            os._exit(130)
        self._bell.close()
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises UsageError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"--host {host} --port {port}: {words}; take another port, or 0 for any that is free"
        ) from None
    return bound


def make_crew(settings: Settings) -> Crew:
    """Queue and workers; nothing is started yet. Raises UsageError when the folder cannot be used."""
    try:
        settings.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"-o {settings.folder}: {error.strerror}; give another folder") from None
    work = settings.work or PhotoRuns(settings.bundle, settings.device, settings.plans)
    memory = settings.memory or int(SHARE * _memory() / settings.workers)
    threads = max(1, machine.thread_count() // settings.workers) if settings.workers > 1 else None
    workers = [Worker(work, memory=memory, threads=threads) for _ in range(settings.workers)]
    jobs = Jobs(settings.queue, settings.keep)
    return Crew(jobs, settings.folder.absolute(), workers, Worker(CutOuts(), memory=CUTTER_MEMORY), settings.timeout)


def make_server(settings: Settings) -> Server:
    """A server that has not begun; its rules know the queue."""
    crew, bell = make_crew(settings), Bell()
    app = make_app(crew, replace(settings.rules, full=crew.jobs.full), bell)
    config = uvicorn.Config(
        app,
        http=Protocol,
        log_config=None,
        access_log=False,  # addresses may hold a token
        server_header=False,
        proxy_headers=False,  # who is near is told by the connection, not by what somebody says
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
    return Server(config, bell)


def run_server(settings: Settings, bound: socket.socket) -> None:
    """Serve until somebody interrupts."""
    try:
        make_server(settings).run(sockets=[bound])
    except KeyboardInterrupt:
        return


def _memory() -> int:
    import psutil

    return psutil.virtual_memory().total


def _networks() -> list[str]:
    """IPv4 addresses of this machine that others may reach."""
    import psutil

    found = [a.address for entries in psutil.net_if_addrs().values() for a in entries if a.family == socket.AF_INET]
    return [address for address in found if not address.startswith("127.")]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

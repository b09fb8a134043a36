"""Threads wake coroutines: a count that rises with every change, and a way to wait until it has."""

from __future__ import annotations

import asyncio
import contextlib


class Bell:
    """count: changes so far. closed: no more are waited for."""

    def __init__(self) -> None:
        self.count, self.closed = 0, False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Those who wait are in this loop."""
        self._loop = loop

    def ring(self) -> None:
        """Something changed; from any thread."""
        self.count += 1
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, nobody waits
                self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """Whoever waits shall end; also from a signal's handler."""
        self.closed = True
        self.ring()

    async def wait(self, seen: int, seconds: float) -> None:
        """Until `count` is another than `seen`, or for so long."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            if self.count == seen and not self.closed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), seconds)
        finally:
            self._waiting.discard(event)

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()

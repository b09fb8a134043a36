"""The address: page and API as one application, described by OpenAPI.

In: a `Crew`, `Rules`. Out: an ASGI application.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from img2mv3d import __version__
from img2mv3d.serve import assets, events, readiness, runs, submitting
from img2mv3d.serve.access import Guard, RefusedError, Rules
from img2mv3d.serve.bell import Bell
from img2mv3d.serve.crew import Crew
from img2mv3d.serve.desk import Desk


def make_app(crew: Crew, rules: Rules, bell: Bell, *, max_pixels: int = 100_000_000) -> Any:
    """The application, with the guard before it. The crew starts and ends with it."""
    crew.jobs.changed = bell.ring

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        bell.bind(asyncio.get_running_loop())
        crew.start()
        yield
        bell.close()
        await asyncio.to_thread(crew.close)

    words = {"title": "img2mv3d", "version": __version__, "description": "Photo in, mesh out."}
    app = FastAPI(**words, lifespan=life, docs_url=None, redoc_url=None)  # type: ignore[arg-type]
    app.state.desk = Desk(crew, bell, max_pixels)
    app.add_exception_handler(RefusedError, _refused)
    for part in (assets, readiness, submitting, runs, events):
        app.include_router(part.router)
    return Guard(app, rules)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    more = {"retry-after": "30"} if error.status == 429 else {}
    return JSONResponse({"detail": str(error)}, error.status, more)

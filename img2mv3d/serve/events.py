"""News of a run as server-sent events: numbered, replayed from any number, ended with the run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from img2mv3d.serve.desk import AtDesk, Desk
from img2mv3d.serve.jobs import OPEN, Job

BEAT = 15.0  # seconds between two signs of life on a silent stream

router = APIRouter()


@router.get("/runs/{id}/events", summary="Server-sent events: queued, running, stage, progress, stood, note, end.")
async def events(desk: AtDesk, request: Request, id: str, after: int = 0) -> Response:
    """Numbered: `Last-Event-ID`, or `after`, begins behind that one. The stream ends with the run."""
    job, told = desk.job(id), request.headers.get("last-event-id", "")
    first = int(told) if told.isdigit() and len(told) < 10 else max(after, 0)
    if job.state not in OPEN and first >= len(job.events):
        return Response(status_code=204)  # tells a browser not to ask again
    headers = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
    return StreamingResponse(_stream(desk, job, first), headers=headers, media_type="text/event-stream")


async def _stream(desk: Desk, job: Job, after: int) -> AsyncIterator[str]:
    bell = desk.bell
    yield "retry: 2000\n\n"
    while not bell.closed:
        seen = bell.count
        ended = job.state not in OPEN
        for number, kind, data in desk.crew.jobs.events(job, after):
            after = number
            yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        if ended:
            return
        if bell.count == seen:
            await bell.wait(seen, BEAT)
            if bell.count == seen:
                yield ": still here\n\n"

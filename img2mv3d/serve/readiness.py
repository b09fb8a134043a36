"""Whether the server is alive, ready, full: for containers, clients and the page."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from img2mv3d.flow.counters import gauge
from img2mv3d.serve.desk import AtDesk
from img2mv3d.serve.jobs import QUEUED, RUNNING

router = APIRouter()


@router.get("/healthz", summary="Is the server alive, and is a worker loaded?")
async def health(desk: AtDesk) -> dict[str, Any]:
    """Answers before anything is loaded."""
    return {"alive": True, "ready": desk.crew.ready}


@router.get("/readyz", summary="200 once a worker is loaded, else 503.")
async def ready(desk: AtDesk) -> Response:
    """For whoever hands requests out."""
    return JSONResponse({"ready": desk.crew.ready}, 200 if desk.crew.ready else 503)


@router.get("/status", summary="What the page shows of the server.")
async def status(desk: AtDesk) -> dict[str, Any]:
    """problem: why no worker could be loaded."""
    crew = desk.crew
    told = {"ready": crew.ready, "problem": crew.problem, "full": crew.jobs.full()}
    return {**told, "keep_seconds": crew.jobs.keep, "now": time.time()}


@router.get("/metrics", summary="Counters as Prometheus' text.")
async def metrics(desk: AtDesk) -> Response:
    """Runs by how they ended, seconds by stage, and how many wait."""
    crew = desk.crew
    states = [job.state for job in crew.jobs.all()]
    told = crew.counters.prometheus()
    told += gauge("runs_waiting", "Runs in the queue.", states.count(QUEUED))
    told += gauge("runs_running", "Runs at work.", states.count(RUNNING))
    told += gauge("ready", "1 once a worker is loaded.", int(crew.ready))
    return PlainTextResponse(told, media_type="text/plain; version=0.0.4")

"""Runs that are there: looked at, their files fetched, deleted."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from img2mv3d.serve.access import RefusedError
from img2mv3d.serve.assets import TYPES
from img2mv3d.serve.desk import AtDesk, Desk
from img2mv3d.serve.jobs import Job
from img2mv3d.serve.work import REPORT

# A report is one file with its scripts inside: it gets no origin, so that it can reach nothing here.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)

router = APIRouter()


@router.get("/runs", summary="All runs, newest first.")
async def runs(desk: AtDesk) -> list[dict[str, Any]]:
    """As `GET /runs/{id}` tells each."""
    return [desk.describe(job) for job in desk.crew.jobs.all()]


@router.get("/runs/{id}", summary="One run.")
async def run(desk: AtDesk, id: str) -> dict[str, Any]:
    """State, reason, place in the queue, names of its files."""
    return desk.describe(desk.job(id))


@router.delete("/runs/{id}", status_code=204, summary="Stop a run and remove its files and variants.")
async def delete(desk: AtDesk, id: str) -> Response:
    """Gone for everybody."""
    desk.job(id)
    await asyncio.to_thread(desk.crew.forget, desk.crew.jobs.delete(id))
    return Response(status_code=204)


@router.get("/runs/{id}/files/{name}", summary="A file of a run: photo.jpg, cutout.png, view-front.png, mesh.glb, ...")
async def file(desk: AtDesk, id: str, name: str) -> Response:
    """The names are those that `GET /runs/{id}` lists."""
    return sent(desk, desk.job(id), name)


def sent(desk: Desk, job: Job, name: str) -> Response:
    """A file of a run. Raises RefusedError when it is not offered."""
    path = desk.crew.file(job, name)
    if path is None:
        raise RefusedError(404, "no such file, or not yet")
    headers = {"cache-control": "no-store", "x-run-id": job.id}
    if name == REPORT:
        headers["content-security-policy"] = REPORT_POLICY
    if name.startswith("mesh."):
        headers["content-disposition"] = _disposition(job.name, name)
    return FileResponse(path, headers=headers, media_type=TYPES[path.suffix.lower()])


def _disposition(photo: str, file: str) -> str:
    """Under what name a browser saves a mesh: the photo's, in RFC 5987's writing.

    >>> _disposition("Täschchen.jpg", "mesh.glb")
    "attachment; filename=mesh.glb; filename*=UTF-8''T%C3%A4schchen.glb"
    """
    stem = photo.rpartition(".")[0] or photo
    return f"attachment; filename={file}; filename*=UTF-8''{quote(stem, safe='')}{file.removeprefix('mesh')}"

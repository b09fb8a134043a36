"""What comes in by POST: a photo for a new run, a run's pictures with other options, a photo to be cut out."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response

from img2mv3d.errors import UsageError
from img2mv3d.serve.access import RefusedError
from img2mv3d.serve.desk import UNREADABLE, AtDesk, Desk
from img2mv3d.serve.events import BEAT
from img2mv3d.serve.jobs import CANCELLED, DONE, FAILED, OPEN, FullError, Job
from img2mv3d.serve.posts import key_of
from img2mv3d.serve.run_options import RunOptions
from img2mv3d.serve.runs import sent
from img2mv3d.serve.work import PHOTO, PICTURES

_PICTURE = {"type": "string", "format": "binary"}
_BASE64 = {"type": "string", "description": "base64, or a data URL"}
_OPTIONS = {"$ref": "#/components/schemas/RunOptions"}

router = APIRouter()


def _body(options: bool) -> dict[str, Any]:
    """OpenAPI's words for a body that `posts` reads."""
    names = PICTURES if options else (PHOTO,)
    more = {"options": {"type": "string", "description": "RunOptions as JSON"}} if options else {}
    plain = {"name": {"type": "string"}, "options": _OPTIONS} if options else {}
    forms = {
        "multipart/form-data": {"properties": {**dict.fromkeys(names, _PICTURE), **more}},
        "application/json": {"properties": {**dict.fromkeys(names, _BASE64), **plain}},
    }
    content = {k: {"schema": {"type": "object", "required": [PHOTO], **v}} for k, v in forms.items()}
    return {"requestBody": {"required": True, "content": content}}


@router.post("/runs", status_code=202, openapi_extra=_body(True), summary="A photo to make a mesh of.")
async def post(desk: AtDesk, request: Request, wait: bool = False) -> Response:
    """202 and the run; with `?wait=1` the mesh's file, when it is done. Who hangs up then cancels the run."""
    made = await desk.read(request)
    job, new = _submit(desk, made.name, made.options, made.inputs, None, kept=not wait)
    if new:
        await _begin(desk, job, made.save)
    return await _answer(desk, request, job, wait)


@router.post("/runs/{id}/again", status_code=202, summary="The same pictures with other options.")
async def again(
    desk: AtDesk,
    request: Request,
    id: str,
    options: RunOptions = Body(),  # noqa: B008
    wait: bool = False,
) -> Response:
    """What does not depend on the changed options is taken from that run: another format costs a second."""
    parent = desk.job(id)
    root = parent.parent or parent.id
    job, new = _submit(desk, parent.name, options, parent.key.partition(":")[0], root, kept=not wait)
    if new:
        await _begin(desk, job, partial(_inherit, desk.crew.place(parent)))
    return await _answer(desk, request, job, wait)


@router.post("/cutouts", openapi_extra=_body(False), summary="Candidates of a photo's cut-out, to choose from.")
async def cutouts(desk: AtDesk, request: Request) -> Response:
    """The upright copy and its candidates, as data URLs."""
    made = await desk.read(request, new=False)
    with tempfile.TemporaryDirectory(dir=desk.crew.folder, prefix=".cut-") as place:
        path = Path(place) / PHOTO
        await asyncio.to_thread(path.write_bytes, made.pictures[PHOTO])
        outcome = await asyncio.to_thread(desk.crew.cut, path)
    return JSONResponse(outcome.facts if outcome.ok else {"detail": outcome.reason}, 200 if outcome.ok else UNREADABLE)


def _submit(
    desk: Desk, name: str, options: RunOptions, inputs: str, parent: str | None, *, kept: bool
) -> tuple[Job, bool]:
    from img2mv3d.flow.runners import check_format

    try:
        check_format(options.format)
        return desk.crew.jobs.submit(name, options.model_dump(), key_of(inputs, options), parent=parent, kept=kept)
    except UsageError as error:
        raise RefusedError(422, str(error)) from None
    except FullError as error:
        raise RefusedError(429, str(error)) from None


async def _begin(desk: Desk, job: Job, fill: Callable[[Path], None]) -> None:
    """Put a run's pictures into its folder, then let a worker take it."""
    try:
        await asyncio.to_thread(fill, desk.crew.place(job))
    except OSError as error:
        desk.crew.jobs.finish(job, FAILED, f"the photo could not be kept ({error.strerror})")
        raise RefusedError(507, "no room for the photo on the server's disk") from None
    except BaseException:  # whatever it is, the run must not wait for ever
        desk.crew.jobs.finish(job, FAILED, "the photo could not be kept")
        raise
    desk.crew.jobs.enqueue(job)


def _inherit(parent: Path, folder: Path) -> None:
    """The inputs of another run."""
    folder.mkdir(parents=True)
    for name in PICTURES:
        if (parent / name).is_file():
            shutil.copyfile(parent / name, folder / name)


async def _answer(desk: Desk, request: Request, job: Job, wait: bool) -> Response:
    """The run; or, for who waits, its mesh, or why there is none."""
    if not wait:
        return JSONResponse(desk.describe(job), 202, {"location": f"runs/{job.id}"})
    if not await _ended(desk, request, job):
        return Response(status_code=499)
    if job.state != DONE:
        return JSONResponse({"detail": job.reason, "id": job.id}, 409 if job.state == CANCELLED else UNREADABLE)
    return sent(desk, job, job.facts["file"])


async def _ended(desk: Desk, request: Request, job: Job) -> bool:
    """Wait for the run's end; False when the caller hung up before."""
    jobs, bell = desk.crew.jobs, desk.bell
    jobs.wait(job, 1)
    gone = asyncio.ensure_future(_hung_up(request))
    try:
        while job.state in OPEN and not bell.closed:
            seen = bell.count
            if job.state not in OPEN:
                break
            change = asyncio.ensure_future(bell.wait(seen, BEAT))
            await asyncio.wait({change, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                change.cancel()
                return False
        return True
    finally:
        gone.cancel()
        jobs.wait(job, -1)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

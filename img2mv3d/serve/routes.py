"""The address: routes of the page and of the API, described by OpenAPI.

In: a `Crew`, `Rules`. Out: an ASGI application.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Body, FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from img2mv3d import __version__
from img2mv3d.errors import UsageError
from img2mv3d.mesh.formats import FORMATS
from img2mv3d.serve.access import Guard, RefusedError, Rules, drain
from img2mv3d.serve.bell import Bell
from img2mv3d.serve.crew import Crew
from img2mv3d.serve.jobs import CANCELLED, DONE, FAILED, OPEN, FullError, Job
from img2mv3d.serve.posts import Post, key_of, read_post
from img2mv3d.serve.run_options import RunOptions
from img2mv3d.serve.work import BACK, MASK, PHOTO, REPORT

PAGE = Path(__file__).parent / "page"
REPORT_ASSETS = Path(__file__).parents[1] / "report" / "assets"
ASSETS = {
    **{name: PAGE / name for name in ("index.html", "serve.css", "serve.js", "brush.js", "glb.js", "icon.svg")},
    "report.css": REPORT_ASSETS / "page.css",
    "viewer.js": REPORT_ASSETS / "viewer.js",
}
TYPES = {  # our own table: some systems call scripts text/plain, and browsers refuse them then
    "": "application/octet-stream",  # the photo as it came, whatever it is
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".zip": "application/zip",
    **{f".{format.name}": format.media_type for format in FORMATS.values()},
}
# A report is one file with its scripts inside: it gets no origin, so that it can reach nothing here.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
BEAT = 15.0  # seconds between two signs of life on a silent stream
AT_ONCE = 4  # bodies that are read at the same time
UNREADABLE = 422  # status of a run that failed, where its caller waits
_PICTURE = {"type": "string", "format": "binary"}
_BASE64 = {"type": "string", "description": "base64, or a data URL"}
_OPTIONS = {"$ref": "#/components/schemas/RunOptions"}


def _body(options: bool) -> dict[str, Any]:
    names = (PHOTO, MASK, BACK) if options else (PHOTO,)
    more = {"options": {"type": "string", "description": "RunOptions as JSON"}} if options else {}
    plain = {"name": {"type": "string"}, "options": _OPTIONS} if options else {}
    forms = {
        "multipart/form-data": {"properties": {**dict.fromkeys(names, _PICTURE), **more}},
        "application/json": {"properties": {**dict.fromkeys(names, _BASE64), **plain}},
    }
    content = {k: {"schema": {"type": "object", "required": [PHOTO], **v}} for k, v in forms.items()}
    return {"requestBody": {"required": True, "content": content}}


def make_app(crew: Crew, rules: Rules, bell: Bell, *, max_pixels: int = 100_000_000) -> Any:
    """The application, with the guard before it. The crew starts and ends with it."""
    jobs = crew.jobs
    jobs.changed = bell.ring

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        bell.bind(asyncio.get_running_loop())
        crew.start()
        yield
        bell.close()
        await asyncio.to_thread(crew.close)

    app = FastAPI(
        title="img2mv3d",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        description="Photo in, mesh out.",
    )
    reading = asyncio.Semaphore(AT_ONCE)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        more = {"retry-after": "30"} if error.status == 429 else {}
        return JSONResponse({"detail": str(error)}, error.status, more)

    def job_of(id: str) -> Job:
        job = jobs.get(id)
        if job is None:
            raise RefusedError(404, "no such run; it may have been deleted")
        return job

    def describe(job: Job) -> dict[str, Any]:
        return {**jobs.describe(job), "files": sorted(crew.offered(job))}

    async def read(request: Request) -> Post:
        async with reading:
            if jobs.full():
                await drain(request.receive, request.headers)
                raise RefusedError(429, "too many runs wait already; try again in a minute")
            return await read_post(request, max_pixels)

    async def answer(request: Request, job: Job, wait: bool) -> Response:
        if not wait:
            return JSONResponse(describe(job), 202, {"location": f"runs/{job.id}"})
        if not await _ended(request, job, crew, bell):
            return Response(status_code=499)
        if job.state != DONE:
            return JSONResponse({"detail": job.reason, "id": job.id}, 409 if job.state == CANCELLED else UNREADABLE)
        return sent(job, job.facts["file"])

    async def begin(job: Job, fill: Callable[[Path], None]) -> None:
        try:
            await asyncio.to_thread(fill, crew.place(job))
        except OSError as error:
            jobs.finish(job, FAILED, f"the photo could not be kept ({error.strerror})")
            raise RefusedError(507, "no room for the photo on the server's disk") from None
        jobs.enqueue(job)

    def sent(job: Job, name: str) -> Response:
        path = crew.file(job, name)
        if path is None:
            raise RefusedError(404, "no such file, or not yet")
        suffix = path.suffix.lower()
        headers = {"cache-control": "no-store", "x-run-id": job.id}
        if name == REPORT:
            headers["content-security-policy"] = REPORT_POLICY
        if name.startswith("mesh."):
            headers["content-disposition"] = _disposition(job.name, name)
        return FileResponse(path, headers=headers, media_type=TYPES[suffix])

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return _asset("index.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def asset(name: str) -> Response:
        return _asset(name)

    @app.get("/healthz", summary="Is the server alive, and is a worker loaded?")
    async def health() -> dict[str, Any]:
        return {"alive": True, "ready": crew.ready}

    @app.get("/readyz", summary="200 once a worker is loaded, else 503.")
    async def ready() -> Response:
        return JSONResponse({"ready": crew.ready}, 200 if crew.ready else 503)

    @app.get("/status", summary="What the page shows of the server.")
    async def status() -> dict[str, Any]:
        told = {"ready": crew.ready, "problem": crew.problem, "full": jobs.full()}
        return {**told, "keep_seconds": jobs.keep, "now": time.time()}

    @app.post("/runs", status_code=202, openapi_extra=_body(True), summary="A photo to make a mesh of.")
    async def post(request: Request, wait: bool = False) -> Response:
        """202 and the run; with `?wait=1` the mesh's file, when it is done. Who hangs up then cancels the run."""
        made = await read(request)
        job, new = _submit(crew, made.name, made.options, made.inputs, None, kept=not wait)
        if new:
            await begin(job, made.save)
        return await answer(request, job, wait)

    @app.post("/runs/{id}/again", status_code=202, summary="The same pictures with other options.")
    async def again(request: Request, id: str, options: RunOptions = Body(), wait: bool = False) -> Response:  # noqa: B008
        """What does not depend on the changed options is taken from that run: another format costs a second."""
        parent = job_of(id)
        root = parent.parent or parent.id
        job, new = _submit(crew, parent.name, options, parent.key.partition(":")[0], root, kept=not wait)
        if new:
            await begin(job, partial(_inherit, crew.place(parent)))
        return await answer(request, job, wait)

    @app.get("/runs", summary="All runs, newest first.")
    async def runs() -> list[dict[str, Any]]:
        return [describe(job) for job in jobs.all()]

    @app.get("/runs/{id}", summary="One run.")
    async def run(id: str) -> dict[str, Any]:
        return describe(job_of(id))

    @app.delete("/runs/{id}", status_code=204, summary="Stop a run and remove its files and variants.")
    async def delete(id: str) -> Response:
        job_of(id)
        await asyncio.to_thread(crew.forget, jobs.delete(id))
        return Response(status_code=204)

    @app.get("/runs/{id}/events", summary="Server-sent events: queued, running, stage, progress, stood, note, end.")
    async def events(request: Request, id: str, after: int = 0) -> Response:
        """Numbered: `Last-Event-ID`, or `after`, begins behind that one. The stream ends with the run."""
        job, told = job_of(id), request.headers.get("last-event-id", "")
        first = int(told) if told.isdigit() and len(told) < 10 else max(after, 0)
        if job.state not in OPEN and first >= len(job.events):
            return Response(status_code=204)  # tells a browser not to ask again
        headers = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
        return StreamingResponse(_stream(job, crew, bell, first), headers=headers, media_type="text/event-stream")

    @app.get("/runs/{id}/files/{name}", summary="A file of a run: photo.jpg, cutout.png, view-front.png, mesh.glb, ...")
    async def file(id: str, name: str) -> Response:
        return sent(job_of(id), name)

    @app.post("/cutouts", openapi_extra=_body(False), summary="Candidates of a photo's cut-out, to choose from.")
    async def cutouts(request: Request) -> Response:
        async with reading:
            made = await read_post(request, max_pixels)
        with tempfile.TemporaryDirectory(dir=crew.folder, prefix=".cut-") as place:
            path = Path(place) / PHOTO
            await asyncio.to_thread(path.write_bytes, made.pictures[PHOTO])
            outcome = await asyncio.to_thread(crew.cut, path)
        return JSONResponse(
            outcome.facts if outcome.ok else {"detail": outcome.reason}, 200 if outcome.ok else UNREADABLE
        )

    return Guard(app, rules)


def _submit(
    crew: Crew, name: str, options: RunOptions, inputs: str, parent: str | None, *, kept: bool
) -> tuple[Job, bool]:
    from img2mv3d.flow.runners import check_format

    try:
        check_format(options.format)
        return crew.jobs.submit(name, options.model_dump(), key_of(inputs, options), parent=parent, kept=kept)
    except UsageError as error:
        raise RefusedError(422, str(error)) from None
    except FullError as error:
        raise RefusedError(429, str(error)) from None


def _inherit(parent: Path, folder: Path) -> None:
    """The inputs of another run."""
    folder.mkdir(parents=True)
    for name in (PHOTO, MASK, BACK):
        if (parent / name).is_file():
            shutil.copyfile(parent / name, folder / name)


async def _ended(request: Request, job: Job, crew: Crew, bell: Bell) -> bool:
    """Wait for the run's end; False when the caller hung up before."""
    crew.jobs.wait(job, 1)
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
        crew.jobs.wait(job, -1)


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(job: Job, crew: Crew, bell: Bell, after: int) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    while not bell.closed:
        seen = bell.count
        ended = job.state not in OPEN
        for number, kind, data in crew.jobs.events(job, after):
            after = number
            yield f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        if ended:
            return
        if bell.count == seen:
            await bell.wait(seen, BEAT)
            if bell.count == seen:
                yield ": still here\n\n"


def _asset(name: str) -> Response:
    path = ASSETS.get(name)
    if path is None:
        raise RefusedError(404, "no such page")
    return FileResponse(path, media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})


def _disposition(photo: str, file: str) -> str:
    """Under what name a browser saves a mesh: the photo's, in RFC 5987's writing.

    >>> _disposition("Täschchen.jpg", "mesh.glb")
    "attachment; filename=mesh.glb; filename*=UTF-8''T%C3%A4schchen.glb"
    """
    stem = photo.rpartition(".")[0] or photo
    return f"attachment; filename={file}; filename*=UTF-8''{quote(stem, safe='')}{file.removeprefix('mesh')}"

"""What every route works with: the crew, the bell, limits; and the two questions that many of them ask."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request

from img2mv3d.serve.access import RefusedError, drain
from img2mv3d.serve.bell import Bell
from img2mv3d.serve.crew import Crew
from img2mv3d.serve.jobs import Job
from img2mv3d.serve.posts import Post, read_post

AT_ONCE = 4  # bodies that are read at the same time
UNREADABLE = 422  # status of a run that failed, where its caller waits


@dataclass(frozen=True)
class Desk:
    """max_pixels: of a picture. reading: held while a body is read."""

    crew: Crew
    bell: Bell
    max_pixels: int
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def job(self, id: str) -> Job:
        """The run of this id. Raises RefusedError."""
        job = self.crew.jobs.get(id)
        if job is None:
            raise RefusedError(404, "no such run; it may have been deleted")
        return job

    def describe(self, job: Job) -> dict[str, Any]:
        """A run as JSON, with the names of its files."""
        return {**self.crew.jobs.describe(job), "files": sorted(self.crew.offered(job))}

    async def read(self, request: Request, *, new: bool = True) -> Post:
        """A request's pictures and options. new: it asks for a run, which a full queue refuses. Raises RefusedError."""
        async with self.reading:
            if new and self.crew.jobs.full():
                await drain(request.receive, request.headers)
                raise RefusedError(429, "too many runs wait already; try again in a minute")
            return await read_post(request, self.max_pixels)


def desk_of(request: Request) -> Desk:
    """That of the application which the request came to."""
    return request.app.state.desk


AtDesk = Annotated[Desk, Depends(desk_of)]

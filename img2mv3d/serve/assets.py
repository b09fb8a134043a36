"""The page's own files, typed by our own table."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from img2mv3d.mesh.formats import FORMATS
from img2mv3d.serve.access import RefusedError

PAGE = Path(__file__).parent / "page"
REPORT_ASSETS = Path(__file__).parents[1] / "report" / "assets"
ASSETS = {
    **{name: PAGE / name for name in ("index.html", "serve.css", "serve.js", "brush.js", "glb.js", "icon.svg")},
    "report.css": REPORT_ASSETS / "page.css",
    "viewer.js": REPORT_ASSETS / "viewer.js",
}
TYPES = {  # some systems call scripts text/plain, and browsers refuse them then
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

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> Response:
    """The page."""
    return await asset("index.html")


@router.get("/page/{name}")
async def asset(name: str) -> Response:
    """What the page loads."""
    path = ASSETS.get(name)
    if path is None:
        raise RefusedError(404, "no such page")
    return FileResponse(path, media_type=TYPES[path.suffix], headers={"cache-control": "no-cache"})

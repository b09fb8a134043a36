"""What comes in by POST, as multipart or as JSON with base64: checked before anything is kept."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from img2mv3d.errors import UsageError
from img2mv3d.serve.access import RefusedError
from img2mv3d.serve.run_options import RunOptions, read_options
from img2mv3d.serve.work import PHOTO, PICTURES

NAMES = ", ".join(PICTURES)
NAME_LENGTH = 120  # of the photo's name, which is only shown


@dataclass(frozen=True)
class Post:
    """name: of the photo. pictures: bytes by name, see PICTURES."""

    name: str
    pictures: dict[str, bytes]
    options: RunOptions

    @property
    def inputs(self) -> str:
        """A digest of the pictures."""
        parts = [f"{name}:{hashlib.sha256(data).hexdigest()}" for name, data in sorted(self.pictures.items())]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the pictures, under our own names."""
        folder.mkdir(parents=True)
        for name, data in self.pictures.items():
            (folder / name).write_bytes(data)


def key_of(inputs: str, options: RunOptions) -> str:
    """Equal for equal pictures and options."""
    return f"{inputs}:{hashlib.sha256(options.model_dump_json().encode()).hexdigest()}"


async def read_post(request: Request, max_pixels: int) -> Post:
    """Pictures and options of a request. Raises RefusedError (400, 413, 415, 422)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            name, pictures, options = await _of_form(request)
        elif kind == "application/json":
            name, pictures, options = _of_json(await request.body())
        else:
            raise RefusedError(415, "send multipart/form-data or application/json")
        if PHOTO not in pictures:
            raise RefusedError(400, "the field photo is missing")
        for what, data in pictures.items():
            check_picture(what, data, max_pixels)
        return Post(name, pictures, read_options(options))
    except UsageError as error:
        raise RefusedError(422, str(error)) from None


def check_picture(what: str, data: bytes, max_pixels: int) -> None:
    """Look at a picture's first bytes: its kind and its size in pixels. Raises RefusedError."""
    import warnings

    from PIL import Image

    from img2mv3d.readers.photos import FORMATS, READABLE

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.init()
            with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]) as picture:
                pixels = picture.width * picture.height
    except Image.DecompressionBombError:
        pixels = max_pixels + 1
    except Exception:  # decoders raise many kinds; all mean the same
        raise RefusedError(400, f"{what}: cannot be read as a picture; send {READABLE}") from None
    if pixels > max_pixels:
        raise RefusedError(413, f"{what}: more than {max_pixels // 10**6} megapixels; reduce it first")


def clean_name(name: Any) -> str:
    """A photo's name as it is shown: no folder, no control characters, not too long.

    >>> clean_name("C:\\\\photos\\\\../My cup.jpg"), clean_name(None)
    ('My cup.jpg', 'photo')
    """
    text = str(name or "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in text if c.isprintable()).strip()[:NAME_LENGTH] or "photo"


async def _of_form(request: Request) -> tuple[str, dict[str, bytes], str]:
    from starlette.exceptions import HTTPException

    try:
        form = await request.form(max_files=len(PICTURES), max_fields=2)
    except HTTPException as error:
        raise RefusedError(400, str(error.detail).splitlines()[0]) from None
    try:
        pictures: dict[str, bytes] = {}
        name, options = "", ""
        for key, value in form.multi_items():
            if key in PICTURES and isinstance(value, UploadFile):
                pictures[key] = await value.read()
                name = value.filename or "" if key == PHOTO else name
            elif key == "options" and isinstance(value, str):
                options = value
            else:
                raise RefusedError(400, f"unknown field {clean_name(key)}; expected {NAMES} (files), options")
    finally:
        await form.close()
    return clean_name(name), {k: data for k, data in pictures.items() if data}, options


def _of_json(body: bytes) -> tuple[str, dict[str, bytes], str]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, "the body is no JSON") from None
    if not isinstance(told, dict) or set(told) - {*PICTURES, "name", "options"}:
        raise RefusedError(400, f"expected an object with {NAMES} (base64), name, options")
    try:
        pictures = {k: base64.b64decode(_bare(told[k]), validate=True) for k in PICTURES if told.get(k)}
    except (binascii.Error, ValueError):
        raise RefusedError(400, f"{NAMES} must be base64") from None
    return clean_name(told.get("name")), pictures, json.dumps(told.get("options") or {})


def _bare(text: Any) -> str:
    """base64 without the head of a data URL."""
    if not isinstance(text, str):
        raise ValueError
    return text.partition(",")[2] if text.startswith("data:") else text

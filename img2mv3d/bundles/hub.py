"""Files of the Hugging Face hub: what it lists at a commit, and the download of one file, verified.

In: a repository, a commit; HF_ENDPOINT and HF_TOKEN. Out: `Listing`, files. No other module opens a socket.

The hub's own library lists files and knows tokens and mirrors. The bytes come through a loop of ours, since that
library (2.4) throws away what came of a file when the process is killed: tests/bundles/test_fetch.py shows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from img2mv3d.errors import ResourceError, WeightsError
from img2mv3d.files.durable import CHUNK, digest_file, sync_file

TIMEOUT = 30.0  # s without a byte
TRIES = 5  # in a row that bring nothing new
PAUSE = 1.0  # s before the second of them; then twice as long each time
REFUSED = {
    401: "the hub wants to know who asks (401): accept the terms on the model's page, then set HF_TOKEN",
    403: "the hub refuses (403): accept the terms on the model's page with the account of your HF_TOKEN",
    404: "not there (404): look at --revision and HF_ENDPOINT",
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """A file to bring: name below the folder, size in bytes, and what it must be: sha256, or git's sha1 of a blob."""

    name: str
    size: int
    sha256: str = ""
    blob: str = ""


@dataclass(frozen=True)
class Listing:
    """What a repository holds at one commit. url: of a file, by name. headers: to send to the hub, and to no other."""

    commit: str
    files: Mapping[str, Wanted]
    url: Callable[[str], str]
    headers: Mapping[str, str]


def list_hub(repository: str, revision: str) -> Listing:
    """What the hub says about a repository at a revision, the newest if "". Raises WeightsError."""
    try:
        from huggingface_hub import HfApi, constants, hf_hub_url
        from huggingface_hub.utils import build_hf_headers
    except ImportError:
        raise WeightsError("fetching needs huggingface_hub: pip install 'img2mv3d[wonder3d]'") from None
    constants.HF_HUB_DISABLE_TELEMETRY = True  # else every request tells which torch and which program are here
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        told = HfApi(endpoint=endpoint, library_name="img2mv3d").model_info(
            repository, revision=revision or None, files_metadata=True, timeout=TIMEOUT
        )
    except Exception as error:  # the library's and its transport's own kinds
        status = getattr(getattr(error, "response", None), "status_code", 0)
        reason = REFUSED.get(status) or f"the hub does not answer ({_reason(error)}); try again, or name a mirror"
        raise WeightsError(f"{repository}: {reason}") from None
    if not re.fullmatch(r"[0-9a-f]{40}", told.sha or ""):
        raise WeightsError(f"{repository}: the hub names no commit; look at HF_ENDPOINT")
    files = {}
    for file in told.siblings or ():
        sha256 = file.lfs.sha256 if file.lfs else ""
        files[file.rfilename] = Wanted(file.rfilename, file.size or 0, sha256, "" if sha256 else file.blob_id or "")
    return Listing(
        told.sha,
        files,
        lambda name: hf_hub_url(repository, name, revision=told.sha, endpoint=endpoint),
        build_hf_headers(library_name="img2mv3d"),
    )


def bring(file: Wanted, path: Path, listing: Listing, say: Say = lambda line: None) -> None:
    """The file at `path`, verified; until then its bytes stand beside it in *.part, from which a later call goes on.

    A line that breaks is taken up again where it broke. A mirror that answers with another range, or ignores it, is
    asked for the whole. Raises WeightsError, ResourceError when the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    most, idle, ranges, pieces = 0, 0, True, part.exists()
    while True:
        have = part.stat().st_size if part.exists() else 0
        if have > file.size or (have and not ranges):
            part.unlink()
            have = 0
        reason = ""
        if have < file.size or not file.size:
            try:
                ranges = _receive(listing, file, part, have) and ranges
            except _Broken as error:
                reason = str(error)
        have = part.stat().st_size if part.exists() else 0
        if have == file.size and not reason:
            if is_wanted(part, file):
                sync_file(part)
                os.replace(part, path)
                return
            part.unlink()
            if not pieces:
                raise WeightsError(
                    f"{file.name}: right size, wrong content (sha256 differs from the one listed); the mirror or the "
                    "line spoils it: try again, or another HF_ENDPOINT"
                )
            say(f"{file.name}: the pieces do not fit together; fetched again as a whole")
            pieces, have, most = False, 0, 0
            continue
        if have > file.size:
            part.unlink()
            raise WeightsError(f"{file.name}: more bytes than listed; try again, or another HF_ENDPOINT")
        pieces = pieces or have > 0
        idle = 0 if have > most else idle + 1
        most = max(most, have)
        if idle >= TRIES:
            raise WeightsError(
                f"{file.name}: the line breaks again and again ({reason or 'closed too early'}); what came is kept, "
                "the same command goes on from there"
            )
        if idle:
            time.sleep(PAUSE * 2 ** (idle - 1))


class _Broken(Exception):
    """A line that broke; caught in `bring`, which tries again."""


def _receive(listing: Listing, file: Wanted, part: Path, have: int) -> bool:
    """Ask for the bytes from `have` on and append them to `part`. False when the answer was another range than asked
    for; nothing is written then. Raises _Broken when trying again may help, WeightsError when not."""
    request = urllib.request.Request(listing.url(file.name), headers={"Accept-Encoding": "identity"})
    for name, value in listing.headers.items():
        request.add_unredirected_header(name, value)  # a token is the hub's, not that of where it points to
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code in REFUSED:
                raise WeightsError(f"{file.name}: {REFUSED[error.code]}") from None
            if 300 <= error.code < 400:
                raise WeightsError(f"{file.name}: the hub redirects in circles; look at HF_ENDPOINT") from None
            if error.code == 416:
                return False
            raise _Broken(f"status {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(_reason(error)) from None
    with answer:
        if have and answer.status == 206:
            start = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", answer.headers.get("Content-Range", ""))
            if start is None or int(start[1]) != have or start[2] not in ("*", str(file.size)):
                return False
        with _open(part, "ab" if have and answer.status == 206 else "wb") as target:
            _pour(answer, target, file, part)
    return True


def _pour(answer: Any, target: BinaryIO, file: Wanted, part: Path) -> None:
    """Write what comes, at most one chunk more than the file has. Raises _Broken or ResourceError."""
    while target.tell() <= file.size:
        try:
            chunk = answer.read1(CHUNK)  # what is there: a process that is killed has written what came
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(_reason(error)) from None
        if not chunk:
            return
        rest = memoryview(chunk)
        with writing(part):
            while rest:  # without a buffer, a disk that is nearly full takes a part of it
                rest = rest[target.write(rest) :]


def _open(path: Path, mode: str) -> BinaryIO:
    """A file to write to without a buffer, so that a full disk shows at its own byte."""
    with writing(path):
        return open(path, mode, buffering=0)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the disk refuses becomes ResourceError, with the name of the file."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be written ({error.strerror or error}); make room, the same command goes on from there"
        ) from None


def is_wanted(path: Path, file: Wanted) -> bool:
    """Is this file of the right size what was wanted?"""
    if file.sha256:
        return digest_file(path) == file.sha256
    blob = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            blob.update(chunk)
    return blob.hexdigest() == file.blob


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    text = str(getattr(reason, "strerror", None) or reason).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__

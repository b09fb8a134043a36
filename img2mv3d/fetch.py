"""Other people's weights brought here: from the hub, or out of a folder; every byte checked before they get their name.
In: an upstream of third_party/, a place. Out: a folder with fetched.json, which tells commit, sizes and sha256.
Why here: the only module that opens a socket. The hub's own library lists files and knows tokens; the bytes come
through a loop of ours, since that library (2.4) keeps nothing of a file whose download was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from img2mv3d.convert import read_table
from img2mv3d.durable import (
    CHUNK,
    Damaged,
    copy_durably,
    digest_file,
    read_sealed,
    sync_file,
    sync_folder,
    write_sealed,
)
from img2mv3d.errors import ResourceError, UsageError, WeightsError

RECORD = "fetched.json"
FORMAT = "img2mv3d-fetched/1"
OPTIONAL = {"feature_extractor": ("preprocessor_config.json",), "scheduler": ("scheduler_config.json",)}
TIMEOUT = 30.0  # s without a byte
TRIES = 5  # in a row that bring nothing new
PAUSE = 1.0  # s before the second of them; then twice as long each time
ROOM = 100 << 20  # bytes that stay free beside what is fetched
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


def fetch(
    upstream: str, folder: Path, *, revision: str = "", offline: bool = False, say: Say = lambda line: None
) -> Path:
    """The upstream's weights in `folder`, all there and all verified; what is there already is not fetched again.

    revision: a commit or branch; else the pinned one, else the newest. offline (or HF_HUB_OFFLINE): no socket is
    opened. HF_ENDPOINT names a mirror, HF_TOKEN an account. Partial files are kept, and the next call goes on from
    there; the folder itself appears when it is complete. Raises WeightsError, ResourceError when the disk is full,
    UsageError when something else stands in `folder`.
    """
    pinned = read_table(upstream, "upstream")["weights"]
    wanted = revision or pinned["revision"]
    if _is_here(upstream, folder, wanted, say):
        return folder
    if offline or _told_offline():
        raise WeightsError(
            f"{folder}: {_lack(upstream, folder)}; nothing is fetched offline: go online once, or "
            f"`img2mv3d weights import DIR` takes a copy"
        )
    _refuse_strangers(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(f".img2mv3d-fetch-{folder.name}.lock"), say):
        if _is_here(upstream, folder, wanted, say):  # another process was quicker
            return folder
        if not wanted:
            say("this version of img2mv3d pins no commit of it: the newest is taken, and written down")
        listing = list_hub(pinned["repository"], wanted)
        files = _chosen(upstream, listing, pinned)
        draft = folder.with_name(f".img2mv3d-fetch-{folder.name}-{listing.commit[:16]}.part")
        _check_room(draft, files)
        for file in files:
            if not _reused(folder / file.name, draft / file.name, file):
                say(f"{file.name}, {file.size / 1e6:,.1f} MB")
                bring(file, draft / file.name, listing, say)
        _publish(draft, folder, upstream, {"repository": pinned["repository"], "commit": listing.commit}, files)
    return folder


def take(upstream: str, source: Path, folder: Path, *, say: Say = lambda line: None) -> Path:
    """A copy of weights that somebody has already, in the place and with the record that `fetch` makes. Raises
    WeightsError when something is missing or does not fit, UsageError when something else stands in `folder`."""
    from img2mv3d.inspection import findings

    wrong = [f"{part}: {text}" for part, text, good in findings(source) if not good] if source.is_dir() else []
    if not source.is_dir() or wrong:
        absent = f"{source}: no such folder; give one with unet/, vae/, image_encoder/"
        raise WeightsError(wrong[0] if wrong else absent)
    _refuse_strangers(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    pinned = read_table(upstream, "upstream")["weights"]
    with _alone(folder.with_name(f".img2mv3d-fetch-{folder.name}.lock"), say):
        draft = folder.with_name(f".img2mv3d-fetch-{folder.name}-import.part")
        shutil.rmtree(draft, ignore_errors=True)
        names = _names(upstream, lambda name: (source / name).is_file(), str(source))
        files = [Wanted(name, (source / name).stat().st_size, pinned["sha256"].get(name, "")) for name in names]
        try:
            _check_room(draft, files)
            for file in files:
                say(file.name)
                found = copy_durably(source / file.name, draft / file.name)
                if file.sha256 not in ("", found["sha256"]):
                    raise WeightsError(f"{source / file.name}: not the published file (sha256 differs); fetch it again")
            _publish(draft, folder, upstream, {"imported": True}, files)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def faults(folder: Path) -> list[str]:
    """What is wrong with a fetched folder, a line each: no record, files missing or changed. Every byte is read."""
    try:
        record = read_sealed(folder / RECORD)
    except FileNotFoundError:
        return [f"{RECORD} is missing"]
    except (Damaged, OSError) as error:
        return [f"{RECORD} is damaged ({error})"]
    wrong = []
    for name, told in record["files"].items():
        try:
            if (folder / name).stat().st_size != told["size"] or digest_file(folder / name) != told["sha256"]:
                wrong.append(f"{name} is damaged")
        except OSError:
            wrong.append(f"{name} is missing")
    return wrong


def list_hub(repository: str, revision: str) -> Listing:
    """What the hub says about a repository at a revision, the newest if "". Raises WeightsError."""
    try:
        from huggingface_hub import HfApi, hf_hub_url
        from huggingface_hub.utils import build_hf_headers
    except ImportError:
        raise WeightsError("fetching needs huggingface_hub: pip install 'img2mv3d[wonder3d]'") from None
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        told = HfApi(endpoint=endpoint).model_info(
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
            if _is(part, file):
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
            chunk = answer.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(_reason(error)) from None
        if not chunk:
            return
        rest = memoryview(chunk)
        with _disk(part):
            while rest:  # without a buffer, a disk that is nearly full takes a part of it
                rest = rest[target.write(rest) :]


def _open(path: Path, mode: str) -> BinaryIO:
    """A file to write to without a buffer, so that a full disk shows at its own byte."""
    with _disk(path):
        return open(path, mode, buffering=0)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"{path}: cannot be written ({error.strerror or error}); make room, the same command goes on from there"
        ) from None


def _is(path: Path, file: Wanted) -> bool:
    if file.sha256:
        return digest_file(path) == file.sha256
    blob = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(CHUNK):
            blob.update(chunk)
    return blob.hexdigest() == file.blob


def _chosen(upstream: str, listing: Listing, pinned: Mapping[str, Any]) -> list[Wanted]:
    """The files to bring, each with what it is held against: our pin if there is one, else what the hub lists."""
    names = _names(upstream, lambda name: name in listing.files, pinned["repository"])
    files = []
    for name in names:
        file, pin = listing.files[name], pinned["sha256"].get(name, "")
        if pin and listing.commit == pinned["revision"]:
            file = Wanted(name, file.size, pin)
        if not file.sha256 and not file.blob:
            raise WeightsError(f"{name}: the hub lists no digest, so nothing can be checked; look at HF_ENDPOINT")
        files.append(file)
    return files


def _names(upstream: str, there: Callable[[str], bool], where: str) -> list[str]:
    """Files that the upstream consists of, out of those that are there. Raises WeightsError when a part is missing."""
    names = []
    for part, kinds in read_table(upstream, "layout")["files"].items():
        found = next((f"{part}/{kind}" for kind in kinds if there(f"{part}/{kind}")), None)
        config = f"{part}/config.json"
        if found is None or not there(config):
            lack = config if found else f"{part}/{' or '.join(kinds)}"
            raise WeightsError(f"{where}: has no {lack}; look at --revision, or give a complete copy")
        names += [config, found]
    optional = [f"{part}/{name}" for part, kinds in OPTIONAL.items() for name in kinds]
    return [*(name for name in optional if there(name)), *names]


def _check_room(draft: Path, files: list[Wanted]) -> None:
    """Raises ResourceError when what is still to come does not fit."""
    have = sum(p.stat().st_size for p in draft.rglob("*") if p.is_file()) if draft.is_dir() else 0
    need = sum(file.size for file in files) - have + ROOM
    free = shutil.disk_usage(draft.parent).free
    if need > free:
        raise ResourceError(
            f"{draft.parent}: {need / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free; make room, or name another place "
            "with IMG2MV3D_WEIGHTS"
        )


def _reused(old: Path, new: Path, file: Wanted) -> bool:
    """Is the file in the draft, verified? One that is good in the folder is taken from there."""
    if new.is_file() and new.stat().st_size == file.size and _is(new, file):
        return True
    new.unlink(missing_ok=True)
    if not (old.is_file() and old.stat().st_size == file.size and _is(old, file)):
        return False
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:  # a file system without links
        copy_durably(old, new)
    return True


def _publish(draft: Path, folder: Path, upstream: str, origin: Mapping[str, Any], files: list[Wanted]) -> None:
    """Write the record, then give the draft its name; what stood there goes."""
    told = {
        file.name: {"size": file.size, "sha256": file.sha256 or digest_file(draft / file.name)}
        for file in files
    }
    with _disk(draft):
        write_sealed(draft / RECORD, {"format": FORMAT, "upstream": upstream, **origin, "files": told})
        for place in (*(p for p in draft.iterdir() if p.is_dir()), draft):
            sync_folder(place)
        old = folder.with_name(f".img2mv3d-fetch-{folder.name}-old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.replace(folder, old)
        os.replace(draft, folder)
        sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _is_here(upstream: str, folder: Path, revision: str, say: Say) -> bool:
    """Is the folder complete, and of the wanted commit (of any, if "")? A branch's name always asks the hub."""
    if not (folder / RECORD).is_file() or faults(folder):
        return False
    record = read_sealed(folder / RECORD)
    if record.get("upstream") != upstream or revision not in ("", record.get("commit", "")):
        return False
    say(f"{folder}: all {len(record['files'])} files are here and verified")
    return True


def _lack(upstream: str, folder: Path) -> str:
    """Why a folder will not do."""
    wrong = faults(folder) if folder.is_dir() else []
    return "; ".join(wrong[:3]) if wrong else "another revision is here" if folder.is_dir() else "not here"


def _refuse_strangers(folder: Path) -> None:
    if folder.exists() and not (folder / RECORD).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder}: holds something that was not fetched; move it away, or give another folder with -o"
        )


@contextlib.contextmanager
def _alone(path: Path, say: Say) -> Iterator[None]:
    """One process at a time; where a system has no such locks, the digests alone must tell."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another process fetches the same; waiting for it")
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _told_offline() -> bool:
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    text = str(getattr(reason, "strerror", None) or reason).strip()
    return text.splitlines()[0][:120] if text else type(error).__name__

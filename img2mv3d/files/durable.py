"""Files that survive whatever happens while they are written, and digests that tell whether they did."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

DRAFT = ".img2mv3d-"  # how names of unfinished things begin
CHUNK = 1 << 20  # bytes read at once: large enough for the disk, small enough for the memory


class Damaged(Exception):
    """A file that is not what was written down about it. Caught where copies are made; no user sees it."""


def digest_of(value: Any) -> str:
    """sha256 (64 hexadecimal digits) of plain values, by their sorted JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """sha256 (64 hexadecimal digits) of a file's bytes. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def draft_name() -> str:
    """A name for something unfinished: unique, hidden, and it tells the process that makes it."""
    return f"{DRAFT}{uuid.uuid4().hex[:8]}-{os.getpid()}"


def remove_lost_drafts(folder: Path) -> None:
    """Remove unfinished things in `folder` whose writers are no more."""
    for draft in listing(folder):
        number = draft.name.rpartition("-")[2]
        if draft.name.startswith(DRAFT) and number.isdigit() and not is_alive(int(number)):
            shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """The file holds either its old or its new bytes, never half of them, whenever the power goes. Raises OSError."""
    draft = path.with_name(draft_name())
    try:
        with open(draft, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def sealed(facts: Mapping[str, Any]) -> bytes:
    """Facts as JSON with a digest of themselves inside, so that a flipped bit shows; `unsealed` undoes it."""
    plain = dict(facts)
    plain["seal"] = digest_of(plain)
    return (json.dumps(plain, indent=2, sort_keys=True) + "\n").encode()


def unsealed(data: bytes) -> dict[str, Any]:
    """The facts that `sealed` wrote. Raises ValueError when they are damaged."""
    facts = json.loads(data)
    if not isinstance(facts, dict):
        raise ValueError("no facts inside")
    facts.pop("seal", None)
    if sealed(facts) != data:  # to the byte: a bit that flips in a space is a sign, too
        raise ValueError("its seal is broken")
    return facts


def write_sealed(path: Path, facts: Mapping[str, Any]) -> None:
    """Write `sealed(facts)` to a new file and wait until the disk has it. Raises OSError."""
    with open(path, "wb") as file:
        file.write(sealed(facts))
        file.flush()
        os.fsync(file.fileno())


def read_sealed(path: Path) -> dict[str, Any]:
    """The facts that `write_sealed` wrote. Raises Damaged, or FileNotFoundError when there is no such file."""
    data = path.read_bytes()
    try:
        return unsealed(data)
    except (ValueError, RecursionError) as reason:
        raise Damaged(f"entry.json: {str(reason).splitlines()[0]}") from None


def copy_verified(source: Path, target: Path | None, facts: Mapping[str, Any]) -> None:
    """Copy a file while hashing, so that exactly the bytes that are handed on were checked. No target: check only.

    facts: {"size" (bytes), "sha256"}. Raises Damaged when the source is missing or not that; OSError else.
    """
    seen, size = hashlib.sha256(), 0
    try:
        with contextlib.ExitStack() as stack:
            reader = stack.enter_context(open(source, "rb"))
            writer = None
            if target is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                writer = stack.enter_context(open(target, "wb"))
            while chunk := reader.read(CHUNK):
                seen.update(chunk)
                size += len(chunk)
                if writer:
                    writer.write(chunk)
    except FileNotFoundError:
        raise Damaged(f"{source.name} is missing") from None
    if size != facts["size"]:
        raise Damaged(f"{source.name} has {size} bytes, expected {facts['size']}")
    if seen.hexdigest() != facts["sha256"]:
        raise Damaged(f"{source.name} has another digest than when it was written")


def copy_durably(source: Path, target: Path) -> dict[str, Any]:
    """Copy a file and wait until the disk has it. Returns {"size" (bytes), "sha256"}. Raises OSError."""
    seen, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while chunk := reader.read(CHUNK):
            seen.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return {"size": size, "sha256": seen.hexdigest()}


def replace_folder(files: Mapping[str, Path], folder: Path) -> Path:
    """Copies of the files, by name, in `folder`, which appears whole and takes the place of what stood there. Raises
    OSError."""
    draft, old = (folder.with_name(f".img2mv3d-{os.getpid()}-{folder.name}-{word}") for word in ("new", "old"))
    make_folder(folder.parent)
    try:
        for name, path in files.items():
            copy_durably(path, draft / name)
        sync_folder(draft)
        if folder.exists():
            os.replace(folder, old)
        os.replace(draft, folder)
        sync_folder(folder.parent)
    finally:
        for rest in (draft, old):
            shutil.rmtree(rest, ignore_errors=True)
    return folder


@contextlib.contextmanager
def waiting_lock(path: Path, seconds: float | int, waits: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file at `path`, or go on without it: after so many seconds (-1: never), and where a file system has
    no locks. waits: called once when somebody else holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    with contextlib.suppress(OSError, NotImplementedError, Timeout):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waits()
            lock.acquire(timeout=seconds, poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


def sync_file(path: Path) -> None:
    """Wait until the disk has the file's bytes. Raises OSError."""
    with open(path, "r+b") as file:  # not every system lets a reader wait
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows the names in `folder`; where a system cannot do that, go on."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_folder(folder: Path) -> None:
    """Make `folder` and whatever leads to it, and wait until the disk knows their names: what is renamed into a folder
    is lost with it. Raises OSError."""
    if not folder.is_dir():
        if folder.parent != folder:
            make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def clear(folder: Path) -> None:
    """Remove everything inside of `folder`."""
    for path in listing(folder):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def listing(folder: Path) -> list[Path]:
    """What stands in `folder`, sorted; empty when it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def files_below(folder: Path) -> list[Path]:
    """All files in `folder` and its folders, sorted. Raises OSError where one of these cannot be read: pathlib would
    leave it out."""

    def stop(error: OSError) -> None:
        raise error

    return sorted(Path(place, name) for place, _, names in os.walk(folder, onerror=stop) for name in names)


def is_alive(process: int) -> bool:
    """Is another process of this number at work?"""
    from psutil import pid_exists

    return process != os.getpid() and pid_exists(process)

"""Where a shared store lies: a folder that several machines see, or a bucket behind fsspec.

In: a URL. Out: whole bytes by name, put at once or not at all. Nothing is ever appended or overwritten in part, no
listing is trusted, and what is missing is None, whatever the store calls that.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable
from urllib.parse import unquote, urlsplit

from img2mv3d.errors import UsageError
from img2mv3d.files.durable import draft_name, listing, make_folder, sync_folder

T = TypeVar("T")
STALE = 24 * 3600.0  # s after which a draft has lost its writer for certain
MISSING = (FileNotFoundError, NotADirectoryError)
# Seconds of a single request, where the client can be told so: the deadline around it would leave a thread behind.
S3 = {"connect_timeout": 5, "read_timeout": 20, "retries": {"max_attempts": 2}}
DIRECT = {"max_concurrency": 1}  # else s3fs asks for the size before each read, and lists the place of what is missing


@runtime_checkable
class Place(Protocol):
    """Bytes by name. get: None where there are none. put: they are there whole, or this raises; what was there is
    replaced. put_new: the same, but what is there already stays: False then. Raises OSError and what clients raise.
    """

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, data: bytes) -> None: ...

    def put_new(self, name: str, data: bytes) -> bool: ...


def place_of(url: str) -> Place:
    """The place of a URL such as s3://bucket/prefix or file:///shared/store. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return Folder(Path(unquote(parts.path)))
    if parts.scheme in ("", "file") or not parts.netloc:
        raise UsageError(f"--store {url}: expected a URL such as s3://bucket/prefix or file:///shared/store")
    bucket = Bucket(url)
    bucket.check()
    return bucket


class Folder:
    """A folder, on a network drive perhaps: drafts that are linked or renamed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tidied = False

    def get(self, name: str) -> bytes | None:
        """Whole bytes."""
        try:
            return (self.folder / name).read_bytes()
        except MISSING:
            return None

    def put(self, name: str, data: bytes) -> None:
        """By rename."""
        self._put(name, data, os.replace)

    def put_new(self, name: str, data: bytes) -> bool:
        """By a link, which fails where something is."""
        try:
            self._put(name, data, os.link)
        except FileExistsError:
            return False
        return True

    def _put(self, name: str, data: bytes, install: Callable[[Path, Path], None]) -> None:
        path, drafts = self.folder / name, self.folder / "tmp"
        make_folder(path.parent)
        make_folder(drafts)
        self._tidy(drafts)
        draft = drafts / draft_name()
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            install(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)

    def _tidy(self, drafts: Path) -> None:
        """Remove, once, what lost its writer: another machine's process can only be told by age."""
        if not self._tidied:
            self._tidied = True
            for draft in listing(drafts):
                with contextlib.suppress(OSError):
                    if time.time() - draft.stat().st_mtime > STALE:
                        draft.unlink()


class Bucket:
    """A prefix of a bucket. The client is made in the process that uses it, and anew after a failure: credentials
    expire, and a forked one hangs."""

    def __init__(self, url: str, make: Callable[[], tuple[Any, str]] | None = None) -> None:
        self.url, self._make = url, make or self._opened
        self._client: tuple[int, Any, str] | None = None
        self._strict: bool | None = None  # does the store keep what is there? not known yet

    def check(self) -> None:
        """Raises UsageError where nothing can be made of the URL; asks nobody."""
        self._make()

    def get(self, name: str) -> bytes | None:
        """A direct request: listings lag behind. Who may not list is told "forbidden" where nothing is, and so is
        whoever's credentials have expired: a new client tells which."""
        for _ in range(2):
            try:
                return self._with(lambda client, path: bytes(client.cat_file(path)), name)
            except MISSING:
                return None
            except PermissionError:
                continue
        return None

    def put(self, name: str, data: bytes) -> None:
        """One request with all bytes: a file that is opened and left by an error would be published half."""
        self._with(lambda client, path: client.pipe_file(path, data), name)

    def put_new(self, name: str, data: bytes) -> bool:
        """Where the store does not keep what is there, a look comes first: two writers then may both be sure, and the
        later one wins with bytes that are as good."""
        if self._strict is None:
            self._strict = self._keeps_what_is_there()
        if not self._strict and self.get(name) is not None:
            return False
        return self._created(name, data) if self._strict else self.put(name, data) is None

    def _keeps_what_is_there(self) -> bool:
        """Some stores, and clients, take "create only" for "write"."""
        probe = f"probe/{draft_name()}"
        try:
            if not self._created(probe, b"first"):
                return False
            return not self._created(probe, b"second") and self.get(probe) == b"first"
        except (NotImplementedError, TypeError, ValueError):
            return False
        finally:
            self._with(lambda client, path: client.rm_file(path), probe)

    def _created(self, name: str, data: bytes) -> bool:
        try:
            self._with(lambda client, path: client.pipe_file(path, data, mode="create"), name)
        except FileExistsError:
            return False
        return True

    def _with(self, call: Callable[[Any, str], T], name: str) -> T:
        if self._client is None or self._client[0] != os.getpid():
            self._client = os.getpid(), *self._make()
        _, client, root = self._client
        try:
            return call(client, f"{root}/{name}")
        except (*MISSING, FileExistsError, NotImplementedError, TypeError, ValueError):
            raise
        except Exception:
            self._client = None
            raise

    def _opened(self) -> tuple[Any, str]:
        scheme = urlsplit(self.url).scheme
        try:
            import fsspec

            more = {"config_kwargs": S3, **DIRECT} if scheme in ("s3", "s3a") else {}
            client, root = fsspec.core.url_to_fs(self.url, skip_instance_cache=True, use_listings_cache=False, **more)
        except (ImportError, ValueError) as error:
            words = " ".join(str(error).split())
            raise UsageError(f"--store {self.url}: {words}; pip install 'img2mv3d[cluster]' has s3") from None
        return client, root.rstrip("/")


def within(seconds: float, call: Callable[[], T]) -> T:
    """What the call gives, or TimeoutError after so many seconds: a store that hangs must hold up nobody. What hangs is
    left behind in its thread."""
    found: list[T] = []
    wrong: list[BaseException] = []

    def work() -> None:
        try:
            found.append(call())
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if wrong:
        raise wrong[0]
    if not found:
        raise TimeoutError(f"no answer within {seconds:g} s")
    return found[0]

"""Every call on files below a folder, seen, counted, and made to fail or to be the last one: open, read, write, fsync,
rename, link, unlink, mkdir, stat, list, lock, mmap.

In: a folder, and a `Judge` that is asked before each call and told after it. Out: nothing of its own. What native code
does by itself (safetensors, USD, torch's own reader) is not seen.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import fcntl
import io
import mmap
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = str(Path(__file__).parents[2] / "img2mv3d") + os.sep
DEPTH = 3  # functions of the package that tell one call site from another


class Call(NamedTuple):
    """kind: of the call; make is an open that makes the file. site: where in the package, innermost first. path: of the
    file or folder. other: the second path of a rename or link; of an open, whether it empties the file."""

    kind: str
    site: str
    path: str
    other: str = ""


class Judge:
    """Asked before each call, told after it; this one lets everything pass."""

    def before(self, call: Call) -> None:
        """Raises OSError in place of the call."""

    def room(self, call: Call, size: int) -> int:
        """How many of `size` bytes a write may take."""
        return size

    def after(self, call: Call) -> None:
        """The call went well."""


@dataclass
class Listing(Judge):
    """Writes down every call."""

    calls: list[Call]

    def before(self, call: Call) -> None:
        self.calls.append(call)


class Watch:
    """The patched functions, as long as `watching` lasts."""

    def __init__(self, root: Path, judge: Judge) -> None:
        self.root, self.judge = os.path.realpath(root), judge
        self._handles: dict[int, str] = {}
        self._busy = False

    def ours(self, path: Any, dir_fd: int | None = None) -> str | None:
        """The whole path, where it lies below the root."""
        if isinstance(path, int):
            return self._handles.get(path)
        try:
            text = os.fsdecode(path)
        except TypeError:
            return None
        if dir_fd is not None:
            if dir_fd not in self._handles:
                return None
            text = os.path.join(self._handles[dir_fd], text)
        text = os.path.normpath(os.path.join(self._here(), text))
        return text if text == self.root or text.startswith(self.root + os.sep) else None

    def _here(self) -> str:
        try:
            return os.getcwd()
        except OSError:
            return os.sep

    def site(self) -> str:
        """The innermost functions of the package that are at work, "" where there are none."""
        found: list[str] = []
        frame: Any = sys._getframe(2)
        while frame is not None and len(found) < DEPTH:
            name = frame.f_code.co_filename
            if name.startswith(PACKAGE):
                found.append(f"{name[len(PACKAGE) :]}:{frame.f_code.co_name}:{frame.f_lineno}")
            frame = frame.f_back
        return " < ".join(found)

    @contextlib.contextmanager
    def step(self, kind: str, path: str | None, other: str = "") -> Iterator[Call | None]:
        """One call, between the two questions to the judge."""
        site = "" if path is None or self._busy else self.site()
        if not site or path is None:
            yield None
            return
        call = Call(kind, site, path, other)
        self._busy = True
        try:
            self.judge.before(call)
        finally:
            self._busy = False
        yield call
        self._busy = True
        try:
            self.judge.after(call)
        finally:
            self._busy = False

    # ------------------------------------------------------------------------------------------------ what is patched

    def patches(self) -> list[tuple[Any, str, Any]]:
        """(module, name, function in its place)"""
        one = {
            "rmdir": "unlink",
            "unlink": "unlink",
            "remove": "unlink",
            "mkdir": "mkdir",
            "stat": "stat",
            "lstat": "stat",
            "statvfs": "stat",
            "access": "stat",
            "scandir": "list",
            "listdir": "list",
            "utime": "utime",
            "chmod": "utime",
            "truncate": "write",
        }
        found: list[tuple[Any, str, Any]] = [(os, name, self._one(name, kind)) for name, kind in one.items()]
        found += [(os, name, self._two(name, "rename")) for name in ("rename", "replace")]
        found += [(os, "link", self._two("link", "link"))]
        found += [(os, "open", self._open_handle()), (os, "close", self._close_handle())]
        found += [(os, "fsync", self._handle(os.fsync, "fsync")), (fcntl, "flock", self._handle(fcntl.flock, "lock"))]
        found += [(mmap, "mmap", self._handle(mmap.mmap, "mmap"))]
        return [*found, (builtins, "open", self._open()), (io, "open", self._open())]

    def _one(self, name: str, kind: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(path: Any = ".", *words: Any, **more: Any) -> Any:
            with self.step(kind, self.ours(path, more.get("dir_fd")), name):
                return real(path, *words, **more)

        return call

    def _two(self, name: str, kind: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(source: Any, target: Any, **more: Any) -> Any:
            to = self.ours(target, more.get("dst_dir_fd"))
            with self.step(kind, self.ours(source, more.get("src_dir_fd")), str(to)):
                return real(source, target, **more)

        return call

    def _handle(self, real: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(handle: Any, *words: Any, **more: Any) -> Any:
            number = handle if isinstance(handle, int) else handle.fileno()
            with self.step(kind, self._handles.get(number)):
                return real(handle, *words, **more)

        return call

    def _open_handle(self) -> Callable[..., Any]:
        real = os.open

        def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            place = self.ours(path, dir_fd)
            made = flags & os.O_CREAT and place is not None and not os.path.lexists(place)
            with self.step("make" if made else "open", place):
                handle = real(path, flags, mode, dir_fd=dir_fd)
            if place is not None:
                self._handles[handle] = place
            return handle

        return call

    def _close_handle(self) -> Callable[[int], None]:
        real = os.close

        def call(handle: int) -> None:
            self._handles.pop(handle, None)
            real(handle)

        return call

    def _open(self) -> Callable[..., Any]:
        real = io.open

        def call(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            place = None if isinstance(file, int) or opener is not None else self.ours(file)
            if place is None or not self.site():
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            made = "r" not in mode and not os.path.lexists(place)
            with self.step("make" if made else "open", place, "emptied" if "w" in mode else ""):
                raw = _Raw(file, "".join(letter for letter in mode if letter in "rwax+"))
            raw.watch, raw.place = self, place
            self._handles[raw.fileno()] = place
            if buffering == 0:
                return raw
            size = io.DEFAULT_BUFFER_SIZE
            kinds = {"+": io.BufferedRandom, "r": io.BufferedReader}
            kind = next((k for letter, k in kinds.items() if letter in mode), io.BufferedWriter)
            buffered = kind(raw, size)
            if "b" in mode:
                return buffered
            text = io.TextIOWrapper(buffered, io.text_encoding(encoding), errors, newline)
            text.mode = mode  # type: ignore[misc]
            return text

        return call


class _Raw(io.FileIO):
    """A file whose reads and writes are seen; buffers and texts are laid over it as `open` does."""

    watch: Watch
    place: str

    def readinto(self, buffer: Any) -> int:
        with self.watch.step("read", self.place):
            return super().readinto(buffer)

    def readall(self) -> bytes:
        with self.watch.step("read", self.place):
            return super().readall()

    def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        with self.watch.step("read", self.place):
            return super().read(-1 if size is None else size)

    def write(self, data: Any) -> int:
        with self.watch.step("write", self.place) as call:
            view = memoryview(data).cast("B")
            return super().write(view[: self.watch.judge.room(call, len(view))] if call else view)

    def truncate(self, size: int | None = None) -> int:
        with self.watch.step("write", self.place):
            return super().truncate(size)

    def close(self) -> None:
        if not self.closed:
            self.watch._handles.pop(self.fileno(), None)
        super().close()


@contextlib.contextmanager
def watching(root: Path, judge: Judge) -> Iterator[None]:
    """Ask the judge before each call that the package makes on files below `root`."""
    patches = Watch(root, judge).patches()
    kept = [(module, name, getattr(module, name)) for module, name, _ in patches]
    try:
        for module, name, function in patches:
            setattr(module, name, function)
        yield
    finally:
        for module, name, function in kept:
            setattr(module, name, function)


def failure(number: int, path: str) -> OSError:
    """What the system raises with this number."""
    return OSError(number, os.strerror(number), path)


NUMBERS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES", "EMFILE", "ENOMEM", "ENOLCK")}

"""The content-addressed cache: what a stage made, under a digest of everything that it was made from.

In: a key, a folder of files. Out: verified copies of those files, or a miss. An entry is a folder that is written under
a unique temporary name and renamed; its manifest comes last; every read is verified. A broken or unwritable cache is a
miss with a warning, never an error; locks only save work.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from img2mv3d import machine
from img2mv3d.files.durable import (
    Damaged,
    clear,
    copy_durably,
    copy_verified,
    digest_of,
    files_below,
    is_alive,
    listing,
    read_sealed,
    sync_folder,
    waiting_lock,
    write_sealed,
)
from img2mv3d.files.forms import ANY, fits
from img2mv3d.flow.graph import Stage

ENTRY_FORMAT = "img2mv3d-entry/1"
FORM = {"stage": str, "files": {ANY: {"size": int, "sha256": str}}, "made?": dict}
LOCK_WAIT = 900.0  # s; a stage that takes longer elsewhere is rather computed twice
GRAVE = "removed"  # how names of entries begin that are going
TRIES = 5  # to read what others remove and put anew
STALE = 24 * 3600.0  # s after which a temporary folder has lost its writer for certain


def key(
    stage: Stage,
    options: Mapping[str, Any],
    inputs: Mapping[str, str | None],
    *,
    weights: str | None = None,
    seed: int | None = None,
    arithmetic: str | None = None,
) -> str:
    """The key (64 hexadecimal digits) of a stage's output: a digest of everything that its record declares.

    options: every field of the stage's options.
    inputs: name to digest; None where an optional one is not there.
    weights, seed, arithmetic: given where the record says so. The number of threads, paths, names and the bundle's
        name are left out on purpose.

    Raises ValueError when an ingredient that is declared is missing or an undeclared one is given.
    """
    given = {"weights": weights, "seed": seed, "arithmetic": arithmetic}
    declared = {"weights" if use == "decoder" else use for use in stage.uses}
    if set(inputs) != {i.name for i in stage.inputs} or set(options) != set(stage.option_names):
        raise ValueError(f"key of {stage.name}: {sorted(inputs)}, {sorted(options)} are not what its record declares")
    if wrong := [name for name in given if (name in declared) != (given[name] is not None)]:
        raise ValueError(f"key of {stage.name}: {', '.join(wrong)} given or left out against its record")
    there = {name: digest for name, digest in inputs.items() if digest is not None}
    made_from = {"stage": stage.name, "version": stage.version, "options": dict(options), "inputs": there, **given}
    return digest_of(made_from)


def default_folder() -> Path:
    """Where the cache stands: IMG2MV3D_CACHE, else the place that this system has for caches."""
    if named := os.environ.get("IMG2MV3D_CACHE"):
        return Path(os.path.expanduser(named))
    return machine.own_place("cache")


@dataclass(frozen=True)
class Entry:
    """One thing in the cache. files: relative name to {"size" (bytes), "sha256"}. made: what its maker wrote down about
    it (seconds, peak memory in bytes, warnings). used: seconds since 1970.
    """

    key: str
    stage: str
    files: dict[str, dict[str, Any]]
    made: dict[str, Any]
    used: float

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(int(f["size"]) for f in self.files.values())


class Verified(NamedTuple):
    """good: how many entries are whole. aside: keys of those that were damaged and are set aside now. stuck: keys of
    those that cannot be read, or are damaged and cannot be moved."""

    good: int
    aside: list[str]
    stuck: list[str]


class Store:
    """The cache in `folder`; with None nothing is kept and nothing is found. warn: gets one sentence per mishap."""

    def __init__(self, folder: Path | None, warn: Callable[[str], None] = lambda line: None) -> None:
        self.folder = None if folder is None else folder.absolute()
        self._warn = warn
        self._said: set[str] = set()

    def problem(self) -> str:
        """Why nothing can be kept here, empty when it can. It leaves nothing behind."""
        if self.folder is None:
            return ""
        place = next(p for p in (self.folder, *self.folder.parents) if os.path.exists(p))
        try:
            os.rmdir(tempfile.mkdtemp(dir=place, prefix=".img2mv3d-"))  # permissions alone say too little
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def get(self, key: str, into: Path) -> Entry | None:
        """Copy the entry's files into the folder `into`, verified byte by byte; None is a miss. A damaged entry is set
        aside with a warning and counts as a miss.
        """
        if self.folder is None:
            return None
        place = self._place(key)
        try:
            if (entry := self._whole(place, key, into)) is not None:
                with contextlib.suppress(OSError):
                    os.utime(place / "entry.json")  # the last use, for prune
            return entry
        except OSError as error:
            clear(into)
            if place.exists():
                self._once(f"the cache in {self.folder} cannot be read ({error.strerror or error}); computing instead")
        return None

    def put(self, key: str, stage: str, source: Path, names: Iterable[str], made: Mapping[str, Any]) -> bool:
        """Keep copies of the files `names` of the folder `source` under `key`. False when that was not possible."""
        if self.folder is None:
            return False
        draft = self.folder / "tmp" / f"{key[:16]}-{os.getpid()}-{uuid.uuid4().hex}"
        try:
            files = {name: copy_durably(source / name, draft / "files" / name) for name in sorted(names)}
            write_sealed(
                draft / "entry.json",
                {"format": ENTRY_FORMAT, "key": key, "stage": stage, "files": files, "made": dict(made)},
            )
            written = [p.relative_to(self.folder / "tmp") for p in files_below(draft)]
            for folder in sorted({folder for path in written for folder in path.parents}, reverse=True):
                sync_folder(self.folder / "tmp" / folder)
            self._install(draft, self._place(key), key)
            return True
        except OSError as error:
            self._once(f"the cache in {self.folder} cannot be written ({error.strerror or error}); going on without it")
            return False
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def holds(self, key: str) -> bool:
        """Is there an entry, and is every byte of it right? A damaged one is set aside with a warning."""
        if self.folder is None:
            return False
        place = self._place(key)
        try:
            return self._whole(place, key, None) is not None
        except OSError:
            return False

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Hold the lock of `key` while computing; True when another process held it meanwhile (so look again).
        It only saves work: without locks, or after LOCK_WAIT seconds, two processes just compute the same.
        """
        if self.folder is None:
            yield False
            return
        path, told = self.folder / "locks" / key[:32], []
        with waiting_lock(path, LOCK_WAIT, lambda: told.append(key)):
            yield bool(told)
            with contextlib.suppress(OSError):  # while it is held: who waits for it holds a file without a name then
                path.unlink()

    def entries(self) -> list[Entry]:
        """All entries whose manifest can be read, the last used first. Their files are not verified here."""
        found = []
        for place in self._places():
            with contextlib.suppress(Damaged, OSError):
                if entry := self._read(place, place.name):
                    found.append(entry)
        return sorted(found, key=lambda e: -e.used)

    def size(self) -> int:
        """Bytes that the whole cache takes, set-aside and temporary files included."""
        if self.folder is None:
            return 0
        total = 0
        for place, _, names in os.walk(self.folder):  # which does not mind folders that go meanwhile
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(place, name)).st_size
        return total

    def prune(self, max_bytes: int) -> tuple[int, int]:
        """Remove what was set aside, what lost its writer, then the entries used longest ago, until the entries take at
        most `max_bytes`. Returns (entries removed, bytes freed).
        """
        if self.folder is None:
            return 0, 0
        before = self.size()
        shutil.rmtree(self.folder / "bad", ignore_errors=True)
        places = self._places()  # first: what is put meanwhile is not doomed
        readable = self.entries()
        keys = {e.key for e in readable}
        doomed = [p for p in places if p.name not in keys]
        total = sum(e.size for e in readable)
        for entry in reversed(readable):
            if total <= max_bytes:
                break
            total -= entry.size
            doomed.append(self._place(entry.key))
        for place in doomed:
            self._remove(place)
        for draft in listing(self.folder / "tmp"):
            with contextlib.suppress(OSError):
                kind, writer, *_ = *draft.name.split("-"), ""
                # an entry that lost files while it is written would be damaged
                left = max_bytes == 0 and not (writer.isdigit() and is_alive(int(writer)))
                if left or kind == GRAVE or time.time() - draft.stat().st_mtime > STALE:
                    shutil.rmtree(draft, ignore_errors=True)
        return len(doomed), max(0, before - self.size())

    def verify(self) -> Verified:
        """Read every byte; what is damaged is set aside with a warning each."""
        good, aside, stuck = 0, list[str](), list[str]()
        for place in self._places(stuck):
            try:
                found = self._examined(place, place.name, None)
            except OSError as error:
                self._warn(f"cache entry {place.name[:12]} in {place} cannot be read ({error.strerror or error})")
                stuck.append(place.name)
                continue
            if isinstance(found, Entry):
                good += 1
            elif found is not None:  # or somebody removed it after it was listed
                (aside if self._set_aside(place, place.name, str(found)) else stuck).append(place.name)
        return Verified(good, aside, stuck)

    def _place(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / "entries" / key[:2] / key

    def _places(self, unread: list[str] | None = None) -> list[Path]:
        """Where entries stand. unread: gets the names of folders of entries that cannot be listed."""
        if self.folder is None:
            return []
        return [p for group in self._listed(self.folder / "entries", unread) for p in self._listed(group, unread)]

    def _listed(self, folder: Path, unread: list[str] | None) -> list[Path]:
        try:
            return sorted(folder.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            if unread is not None:
                self._warn(f"{folder}: cannot be read ({error.strerror or error})")
                unread.append(folder.name)
            return []

    def _read(self, place: Path, key: str) -> Entry | None:
        try:
            facts = read_sealed(place / "entry.json")
        except FileNotFoundError:
            if place.is_dir():
                raise Damaged("entry.json is missing") from None
            return None
        except NotADirectoryError:  # something that somebody else left there
            return None
        told = facts.get("format") == ENTRY_FORMAT and facts.get("key") == key and fits(facts, FORM)
        if not told or not safe_names(facts["files"]):
            raise Damaged("entry.json is of another form")
        used = (place / "entry.json").stat().st_mtime
        return Entry(key, str(facts["stage"]), facts["files"], facts.get("made", {}), used)

    def _whole(self, place: Path, key: str, into: Path | None) -> Entry | None:
        """The entry, every byte of it verified and copied into the folder `into`; None where there is none, or only a
        damaged one, which is set aside. Raises OSError."""
        found = self._examined(place, key, into)
        if isinstance(found, Damaged):
            self._set_aside(place, key, str(found))
            return None
        return found

    def _examined(self, place: Path, key: str, into: Path | None) -> Entry | Damaged | None:
        """The entry, as `_whole`; what is wrong with it; None where there is none. Raises OSError."""
        for _ in range(TRIES):  # one that somebody removes or replaces meanwhile only looks damaged
            seen = _identity(place)
            try:
                entry = self._read(place, key)
                for name, facts in entry.files.items() if entry else ():
                    copy_verified(place / "files" / name, into and into / name, facts)
                return entry
            except Damaged as reason:
                if into is not None:
                    clear(into)
                if _identity(place) == seen:
                    return reason
        return None

    def _install(self, draft: Path, place: Path, key: str) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(draft, place)
        except OSError:
            # Somebody was faster. Theirs holds the same unless it is damaged, which `holds` finds out and sets aside.
            if self.holds(key):
                return
            os.rename(draft, place)
        sync_folder(place.parent)

    def _set_aside(self, place: Path, key: str, reason: str) -> bool:
        """Move a damaged entry out of the way; False when that was not possible."""
        assert self.folder is not None
        aside = self.folder / "bad" / f"{key[:16]}-{uuid.uuid4().hex[:8]}"
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            os.rename(place, aside)
            self._warn(f"cache entry {key[:12]} is damaged ({reason}): set aside as {aside}, made anew")
            return True
        except OSError:
            self._warn(f"cache entry {key[:12]} in {place} is damaged ({reason}) and cannot be moved; made anew")
            return False

    def _remove(self, place: Path) -> None:
        assert self.folder is not None
        grave = self.folder / "tmp" / f"{GRAVE}-{os.getpid()}-{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            grave.parent.mkdir(parents=True, exist_ok=True)
            os.rename(place, grave)  # first out of sight, then file by file
        shutil.rmtree(grave, ignore_errors=True)

    def _once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._warn(line)


def _identity(place: Path) -> tuple[int, int] | None:
    """What tells one folder of a name from the next; None where there is none."""
    try:
        told = place.stat()
    except OSError:
        return None
    return told.st_ino, told.st_mtime_ns


def safe_names(names: Iterable[str]) -> bool:
    """Does none of the names lead out of an entry?"""
    paths = [PurePosixPath(name) for name in names]
    return all(path.parts and not path.is_absolute() and ".." not in path.parts for path in paths)

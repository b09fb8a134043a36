"""A store that many machines share, behind the cache of each.

In: a URL. Out: a `Store` that looks into the local cache, then into the shared place, and fills both. Objects stand
under the digest of their bytes, an entry is a sealed manifest of digests that is written once and last; every byte is
verified on its way in. A place that is dead, slow or wrong costs a warning and some seconds, never a run.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from img2mv3d.cluster.places import Place, place_of, within
from img2mv3d.files.durable import clear, sealed, unsealed
from img2mv3d.files.forms import fits
from img2mv3d.flow.store import ENTRY_FORMAT, FORM, Entry, Store, safe_names

T = TypeVar("T")
DEADLINE = 20.0  # s for one object, and for each 10 MB of it
PAUSE, MOST = 5.0, 320.0  # s for which a place that failed is left alone; twice as long each time, up to MOST
OWED = 1000  # entries that wait for a place that is away


class Remote:
    """A place, and what this process knows of it: whether it is away, what it shall still get, what went in and out.

    clock: seconds.
    """

    def __init__(self, url: str, place: Place, clock: Callable[[], float] = time.monotonic) -> None:
        self.url, self._place, self._clock = url, place, clock
        self._until, self._pause = 0.0, PAUSE
        self.owed: deque[str] = deque(maxlen=OWED)
        self.traffic = {"gets": 0, "puts": 0, "bytes_in": 0, "bytes_out": 0}

    def asked(self, call: Callable[[], T], warn: Callable[[str], None]) -> T | None:
        """What `call` gives; None where the place is away, which is said when it begins."""
        if self._clock() < self._until:
            return None
        try:
            found = call()
        except Exception as error:  # a client's errors are of every kind, and none of them is worth a run
            self._until, self._pause = self._clock() + self._pause, min(2 * self._pause, MOST)
            words = " ".join(str(error).split()) or type(error).__name__
            warn(f"the store {self.url} cannot be used ({words[:200]}); going on without it")
            return None
        self._pause = PAUSE
        return found

    def get(self, name: str) -> bytes | None:
        """Whole bytes; None where there are none. Raises what clients raise."""
        found = within(DEADLINE, lambda: self._place.get(name))
        self._count("gets", "bytes_in", len(found or b""))
        return found

    def put(self, name: str, data: bytes) -> None:
        """Whole bytes, in the place of what is there."""
        self._count("puts", "bytes_out", len(data))
        within(DEADLINE * (1 + len(data) // 10_000_000), lambda: self._place.put(name, data))

    def put_new(self, name: str, data: bytes) -> bool:
        """Whole bytes, unless something is there: False."""
        self._count("puts", "bytes_out", len(data))
        return within(DEADLINE, lambda: self._place.put_new(name, data))

    def _count(self, calls: str, size: str, count: int) -> None:
        self.traffic[calls] += 1
        self.traffic[size] += count


@functools.cache
def remote_of(url: str) -> Remote:
    """One for each URL in a process, whose client and knowledge stay from photo to photo. Raises UsageError."""
    return Remote(url, place_of(url))


class SharedStore(Store):
    """The cache in `folder` in front of a shared place."""

    def __init__(self, folder: Path, remote: Remote, warn: Callable[[str], None] = lambda line: None) -> None:
        super().__init__(folder, warn)
        self._remote = remote

    def get(self, key: str, into: Path) -> Entry | None:
        """As `Store.get`; what only the shared place has is kept here, too."""
        entry = super().get(key, into)
        if entry is None and (found := self._asked(lambda: self._fetched(key))) is not None:
            folder, facts = found
            try:
                super().put(key, str(facts["stage"]), folder, facts["files"], facts.get("made", {}))
                entry = super().get(key, into)
                if entry is None:  # nothing can be kept here
                    for name in facts["files"]:
                        (into / name).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(folder / name, into / name)
                    entry = Entry(key, str(facts["stage"]), facts["files"], facts.get("made", {}), time.time())
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return entry

    def put(self, key: str, stage: str, source: Path, names: Iterable[str], made: Mapping[str, Any]) -> bool:
        """As `Store.put`. Another writer's entry under this key stays: ours is as good, and others hold theirs."""
        names = sorted(names)
        kept = super().put(key, stage, source, names, made)
        if self._asked(lambda: self._stored(key, stage, source, names, made)) is None:
            if kept:
                self._remote.owed.append(key)
        else:
            self._pay()
        return kept

    def _pay(self) -> None:
        """Store what could not be stored before, as long as that goes well."""
        owed = self._remote.owed
        while owed and self._paid(owed[0]):
            owed.popleft()

    def _paid(self, key: str) -> bool:
        with tempfile.TemporaryDirectory() as place:
            entry = super().get(key, Path(place))
            if entry is None:  # removed meanwhile: nothing is left to be stored
                return True
            told = partial(self._stored, key, entry.stage, Path(place), entry.files, entry.made)
            return self._asked(told) is not None

    def _fetched(self, key: str) -> tuple[Path, dict[str, Any]] | None:
        """A folder with the entry's files, verified, and its manifest; None where there is none that is whole."""
        data = self._remote.get(f"entries/{key[:2]}/{key}.json")
        if data is None:
            return None
        try:
            facts = unsealed(data)
            told = facts.get("format") == ENTRY_FORMAT and facts.get("key") == key and fits(facts, FORM)
            if not told or not safe_names(facts["files"]):
                raise ValueError("its manifest is of another form")
        except (ValueError, RecursionError) as error:
            self._once(f"{self._remote.url}: entry {key[:12]} is damaged ({error}); computing instead")
            return None
        folder = Path(tempfile.mkdtemp(prefix="img2mv3d-"))
        try:
            for name, about in facts["files"].items():
                found = self._remote.get(_object(about["sha256"]))
                if found is None or hashlib.sha256(found).hexdigest() != about["sha256"]:
                    self._once(f"{self._remote.url}: {name} of entry {key[:12]} is damaged; computing instead")
                    clear(folder)
                    folder.rmdir()
                    return None
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(found)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder, facts

    def _stored(self, key: str, stage: str, source: Path, names: Iterable[str], made: Mapping[str, Any]) -> bool:
        """Objects, then the manifest that names them: who reads it finds them all. True, whoever wrote it."""
        files = {}
        for name in names:
            data = (source / name).read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            files[name] = {"size": len(data), "sha256": digest}
            self._remote.put(_object(digest), data)
        facts = {"format": ENTRY_FORMAT, "key": key, "stage": stage, "files": files, "made": dict(made)}
        name, data = f"entries/{key[:2]}/{key}.json", sealed(facts)
        if not self._remote.put_new(name, data) and not self._sound(name):
            self._remote.put(name, data)  # a damaged one would be read in vain for ever
        return True

    def _sound(self, name: str) -> bool:
        with contextlib.suppress(ValueError, RecursionError):
            unsealed(self._remote.get(name) or b"")
            return True
        return False

    def _asked(self, call: Callable[[], T]) -> T | None:
        return self._remote.asked(call, self._once)


def _object(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"

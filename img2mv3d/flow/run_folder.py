"""A run's folder: what stands in out/, who put it there, and what somebody edited since.

In: a folder, files that a stage made. Out: the same files under out/, replaced atomically, and run.json that holds the
digest of each. A file whose digest differs from run.json was edited; nothing that we did not write ourselves is ever
overwritten or deleted: it is moved into set-aside-N/. The run of another input goes into previous-N/, as a whole, once
the first files of the new one are there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from img2mv3d.errors import BusyError, ResourceError, UsageError
from img2mv3d.files.durable import (
    copy_durably,
    digest_file,
    draft_name,
    files_below,
    listing,
    make_folder,
    remove_lost_drafts,
    sealed,
    sync_file,
    sync_folder,
    unsealed,
    write_atomically,
)
from img2mv3d.files.forms import ANY, NUMBER, fits
from img2mv3d.files.owner import Taken, owned
from img2mv3d.flow.entry import Source, digest_files, stage_files
from img2mv3d.flow.graph import GRAPH

RUN_FORMAT = "img2mv3d-run/1"
LOCK = ".img2mv3d.lock"
OWNER = ".img2mv3d.owner"  # says the same where a drive's locks do nothing
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # errors that no other word of the user mends
_FACTS = {"stage": str, "size": int, "sha256": str}
_MADE_WITH = {"options?": dict, "seed?": int, "weights?": dict}
_STAGE = {
    **{"key?": (str, None), "original?": (str, None), "version?": int, "inputs?": {ANY: (str, None)}},
    **{"names?": [str], "edited?": [str], "warnings?": [str], "made_with?": _MADE_WITH},
    **{"seconds?": NUMBER, "peak_bytes?": NUMBER},
}
FORM = {
    **{"source?": ({"kind": str, "name": str, "digest": str}, None), "settings?": (dict, None)},
    **{"stages?": {ANY: _STAGE}, "files?": {ANY: _FACTS}, "pending?": {ANY: [str]}, "warnings?": [str], "moving?": str},
    **{"last?": {ANY: {"how": str, "seconds": NUMBER}}, "seconds?": NUMBER, "result?": str, "version?": str},
}
BESIDE = ("report.html",)  # what stands beside the stages' files and tells of them


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the run's folder, which is made. Raises BusyError when another run holds it, UsageError when it cannot be
    made (or ResourceError, when that is the disk's fault); where a file system has no locks, go on without."""
    from filelock import FileLock, Timeout

    try:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: is a file, expected a folder; give another one with -o")
        make_folder(folder)
    except OSError as error:
        kind = ResourceError if error.errno in OF_THE_DISK else UsageError
        raise kind(f"{shown(folder)}: cannot be made ({error.strerror}); give another folder with -o") from None
    lock, busy = (
        FileLock(folder / LOCK),
        BusyError(f"{folder}: another run is at work in this folder; wait for its end, or give another folder with -o"),
    )
    try:
        lock.acquire(timeout=0)
    except Timeout:  # an OSError, too
        raise busy from None
    except (OSError, NotImplementedError):
        pass
    try:
        with owned(folder / OWNER):
            yield
    except Taken:
        raise busy from None
    finally:
        with contextlib.suppress(OSError):
            if lock.is_locked:  # while it is held, or it could be somebody else's
                (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def check_outside(source: Source, out: Path) -> None:
    """Raises UsageError when a picture that a run begins with has the place of one that the run writes."""
    base = Path(os.path.realpath(out))
    others = (path for _, path in source.sides)
    for path in (source.path if source.kind == "photo" else None, source.mask, source.back, *others):
        place = None if path is None else Path(os.path.realpath(path))
        if place is None or not place.is_relative_to(base):
            continue
        name = place.relative_to(base)
        if any(fnmatch(name.as_posix(), pattern) for stage in GRAPH.values() for pattern in stage.files):
            raise UsageError(f"{path} is a file of the run in {out}; use --from {path}, or -o another folder")


def shown(path: Path) -> str:
    """A path for a message: a very long one is cut."""
    text = str(path)
    return text if len(text) <= 200 else f"{text[:80]}...{text[-40:]}"


class RunFolder:
    """The folder of one run. note: gets one sentence for everything that a person may want to know.

    record: run.json's content; its "files" say what we wrote last at each path: {"stage", "size" (bytes), "sha256"}.
    """

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self.folder = folder.absolute()
        self._note = note
        self._aside: Path | None = None
        self._former: dict[str, Any] | None = None
        self.record = self._read()

    def tidy(self) -> None:
        """Remove what killed runs left unfinished; for whoever holds the folder, since a reader must harm nothing."""
        remove_lost_drafts(self.folder)

    def draft(self) -> Path:
        """A new empty folder on the same file system, for files that are not finished. The caller removes it."""
        folder = self.folder / draft_name()
        folder.mkdir()
        return folder

    def files(self, stage: str) -> dict[str, str]:
        """Relative names to digests (sha256) of what we last wrote for `stage`."""
        return {name: facts["sha256"] for name, facts in self.record["files"].items() if facts["stage"] == stage}

    def present(self, names: Iterable[str]) -> dict[str, str]:
        """Relative names to digests (sha256) of those files that are there."""
        return {name: digest for name in sorted(names) if (digest := self._digest(name)) is not None}

    def edited(self, stage: str) -> list[str]:
        """The stage's files that are there, but neither as we wrote them nor as we were about to write them."""
        written, pending = self.files(stage), self.record["pending"]
        return [n for n, d in self.present(written).items() if d != written[n] and d not in pending.get(n, ())]

    def unrecorded(self, stage: str) -> bool:
        """Are files of the stage there that a run was cut off before it wrote down what they are?"""
        pending = {n: d for n, d in self.record["pending"].items() if n in stage_files(self.folder, stage)}
        written = self.files(stage)
        return any(d in pending[n] and d != written.get(n) for n, d in self.present(pending).items())

    def marks(self, stage: str) -> dict[str, Any]:
        """What is known of edits to the stage's files: "edited" (names) and "original" (the key of what they were);
        empty where there are none."""
        about = self.record["stages"].get(stage, {})
        names = sorted({*self.edited(stage), *about.get("edited", ())})
        return {"edited": names, "original": about.get("original", about.get("key"))} if names else {}

    def replace(self, stage: str, draft: Path, about: dict[str, Any], *, keep: Iterable[str] = ()) -> None:
        """Move the files of the folder `draft` to their places as the output of `stage`, and write down `about` it.

        What stands there and is not ours is set aside first, but `keep`, which is left alone. Killed anywhere in
        between, the next run knows old and new files as ours.
        """
        self._set_former_aside()
        new: dict[str, dict[str, Any]] = {
            str(p.relative_to(draft)): {"stage": stage, "size": p.stat().st_size, "sha256": digest_file(p)}
            for p in files_below(draft)
        }
        old = self.files(stage)
        stale = [n for n in old if n not in new and stage != "export"]  # an earlier export's other format stays
        for name in [n for n in new if n not in keep] + stale:
            self._make_room(name, new.get(name, {}).get("sha256"))
        for name, facts in new.items():
            self.record["pending"].setdefault(name, []).append(facts["sha256"])
            sync_file(draft / name)
        self.save()  # from here on both old and new digests are known as ours
        for name, facts in new.items():
            if name not in keep and self._digest(name) != facts["sha256"]:
                make_folder((self.folder / name).parent)
                os.replace(draft / name, self.folder / name)
        for name in stale:
            (self.folder / name).unlink(missing_ok=True)
            self.record["files"].pop(name)
        self._sync(self.folder / name for name in (*new, *stale))
        self.record["files"].update(new)
        for name in new:
            self.record["pending"].pop(name)
        self.record["stages"][stage] = about
        self.save()

    def forget(self, stage: str) -> None:
        """Take the stage's output away, since nothing of this run has one: edits are set aside."""
        if not (names := list(self.files(stage))):
            return
        for name in names:
            self._make_room(name, None)
            (self.folder / name).unlink(missing_ok=True)
            self.record["files"].pop(name)
        self.record["stages"].pop(stage, None)
        self.save()

    def restart(self, source: dict[str, Any]) -> None:
        """Another run begins. The former one stays as it is until this one has something to put in its place."""
        self._former = self.record
        self.record = _empty() | {"source": source}

    def adopt(self, other: RunFolder, stages: Iterable[str]) -> None:
        """Copies of what `stages` left in another run's folder, with what is known of them. An edited file counts as
        given; one that was edited in here stays."""
        for stage in stages:
            names = stage_files(other.folder, stage)
            if not names:
                continue
            draft = self.draft()
            try:
                self.copy_in(names, draft)
                about = dict(other.record["stages"].get(stage, {}))
                if marks := other.marks(stage):
                    about |= {"key": digest_files(names), "version": 0, **marks}
                self.replace(stage, draft, about, keep=self.edited(stage))
            finally:
                shutil.rmtree(draft, ignore_errors=True)

    def save(self) -> None:
        """Write run.json. Raises OSError."""
        self._set_former_aside()
        write_atomically(self.folder / "run.json", sealed(self.record | {"format": RUN_FORMAT}))

    def copy_in(self, sources: dict[str, Path], draft: Path) -> None:
        """Copy files from anywhere into the folder `draft`, under relative names."""
        for name, path in sources.items():
            copy_durably(path, draft / name)
            with contextlib.suppress(OSError):  # which of two files was edited later must still be told
                os.utime(draft / name, (path.stat().st_atime, path.stat().st_mtime))

    def _set_former_aside(self) -> None:
        """Move the former run into previous-N/, with its own run.json. Killed in between, the next run goes on."""
        former, self._former = self._former, None
        if former is None:
            return
        names = [n for n in (*former["files"], *BESIDE) if (self.folder / n).is_file()]
        if not names:
            return
        place = self.folder / former.setdefault("moving", self._free("previous"))
        write_atomically(self.folder / "run.json", sealed(former | {"format": RUN_FORMAT}))
        make_folder(place)
        remove_lost_drafts(place)
        told = {name: value for name, value in former.items() if name != "moving"}
        write_atomically(place / "run.json", sealed(told | {"format": RUN_FORMAT}))
        for name in names:
            make_folder((place / name).parent)
            os.rename(self.folder / name, place / name)
        self._sync(place / name for name in names)
        for folder in {(self.folder / name).parent for name in names} - {self.folder}:
            with contextlib.suppress(OSError):  # somebody's own files are in there
                folder.rmdir()
        sync_folder(self.folder)
        of = (former["source"] or {}).get("name") or "another input"
        self._note(f"the run of {of} that stood in {self.folder} is now in {place}")

    def _sync(self, paths: Iterable[Path]) -> None:
        """Wait until the disk knows what these files are called, or that they are gone."""
        for folder in {path.parent for path in paths}:
            sync_folder(folder)

    def _free(self, word: str) -> str:
        """A name "word-N" that nothing in the folder has."""
        number = 1 + sum(p.name.startswith(f"{word}-") for p in listing(self.folder))
        while (self.folder / f"{word}-{number}").exists():
            number += 1
        return f"{word}-{number}"

    def _make_room(self, name: str, wanted: str | None) -> None:
        found = self._digest(name)
        facts = self.record["files"].get(name)
        ours = {facts["sha256"] if facts else None, wanted, *self.record["pending"].get(name, ())}
        if found is None or found in ours:
            return
        if self._aside is None:
            self._aside = self.folder / self._free("set-aside")
        make_folder((self._aside / name).parent)
        os.rename(self.folder / name, self._aside / name)
        self._sync([self._aside / name])
        self._note(f"{name} in {self.folder} is not from this run: moved to {self._aside / name}")

    def _digest(self, name: str) -> str | None:
        try:
            return digest_file(self.folder / name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _read(self) -> dict[str, Any]:
        path = self.folder / "run.json"
        try:
            record = unsealed(path.read_bytes())
        except FileNotFoundError:
            return _empty()
        except (
            ValueError,
            RecursionError,
        ) as reason:  # not OSError: it is there, and who takes it for gone moves files
            self._note(f"{path} cannot be read ({str(reason).splitlines()[0]}): the folder is taken as unknown")
            return _empty()
        if record.get("format") != RUN_FORMAT:
            self._note(
                f"{path} has format {json.dumps(record.get('format'))}, expected {RUN_FORMAT!r}: taken as unknown"
            )
            return _empty()
        if not fits(record := _empty() | record, FORM):
            self._note(f"{path} is not as a run leaves it: taken as unknown")
            return _empty()
        return record


def _empty() -> dict[str, Any]:
    return {"source": None, "settings": None, "stages": {}, "files": {}, "pending": {}, "warnings": []}

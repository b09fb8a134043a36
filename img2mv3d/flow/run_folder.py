"""A run's folder: what stands in out/, who put it there, and what somebody edited since.

In: a folder, files that a stage made. Out: the same files under out/, replaced atomically, and run.json that holds the
digest of each. A file whose digest differs from run.json was edited; nothing that we did not write ourselves is ever
overwritten or deleted: it is moved into set-aside-N/.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from img2mv3d.errors import UsageError
from img2mv3d.files.durable import (
    copy_durably,
    digest_file,
    draft_name,
    listing,
    remove_lost_drafts,
    sealed,
    sync_file,
    unsealed,
    write_atomically,
)

RUN_FORMAT = "img2mv3d-run/1"


class RunFolder:
    """The folder of one run. note: gets one sentence for everything that a person may want to know.

    record: run.json's content; its "files" say what we wrote last at each path: {"stage", "size" (bytes), "sha256"}.
    Raises UsageError when the folder cannot be made or written.
    """

    def __init__(self, folder: Path, note: Callable[[str], None]) -> None:
        self.folder = folder.absolute()
        self._note = note
        self._aside: Path | None = None
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{folder}: is a file, expected a folder; give another one with -o")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be made ({error.strerror}); give another folder with -o") from None
        self.record = self._read()
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

    def replace(self, stage: str, draft: Path, about: dict[str, Any], *, keep: Iterable[str] = ()) -> None:
        """Move the files of the folder `draft` to their places as the output of `stage`, and write down `about` it.

        What stands there and is not ours is set aside first, but `keep`, which is left alone. Killed anywhere in
        between, the next run knows old and new files as ours.
        """
        new: dict[str, dict[str, Any]] = {
            str(p.relative_to(draft)): {"stage": stage, "size": p.stat().st_size, "sha256": digest_file(p)}
            for p in sorted(draft.rglob("*"))
            if p.is_file()
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
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(draft / name, self.folder / name)
        for name in stale:
            (self.folder / name).unlink(missing_ok=True)
            self.record["files"].pop(name)
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
        """Forget the run in here, since another one begins: edits are set aside, our own files removed."""
        names = list(self.record["files"])
        for name in names:
            self._make_room(name, None, say=False)
        if self._aside is not None:
            self._note(f"another input than before: edited files were moved to {self._aside}")
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
        self.record = _empty() | {"source": source}
        self.save()

    def save(self) -> None:
        """Write run.json. Raises OSError."""
        write_atomically(self.folder / "run.json", sealed(self.record | {"format": RUN_FORMAT}))

    def copy_in(self, sources: dict[str, Path], draft: Path) -> None:
        """Copy files from anywhere into the folder `draft`, under relative names."""
        for name, path in sources.items():
            copy_durably(path, draft / name)

    def _make_room(self, name: str, wanted: str | None, *, say: bool = True) -> None:
        found = self._digest(name)
        facts = self.record["files"].get(name)
        ours = {facts["sha256"] if facts else None, wanted, *self.record["pending"].get(name, ())}
        if found is None or found in ours:
            return
        if self._aside is None:
            number = 1 + sum(p.name.startswith("set-aside-") for p in listing(self.folder))
            while (self.folder / f"set-aside-{number}").exists():
                number += 1
            self._aside = self.folder / f"set-aside-{number}"
        (self._aside / name).parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.folder / name, self._aside / name)
        if say:
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
        except (OSError, ValueError, RecursionError) as reason:
            self._note(f"{path} cannot be read ({str(reason).splitlines()[0]}): the folder is taken as unknown")
            return _empty()
        if record.get("format") != RUN_FORMAT:
            self._note(
                f"{path} has format {json.dumps(record.get('format'))}, expected {RUN_FORMAT!r}: taken as unknown"
            )
            return _empty()
        return _empty() | record


def _empty() -> dict[str, Any]:
    return {"source": None, "settings": None, "stages": {}, "files": {}, "pending": {}, "warnings": []}

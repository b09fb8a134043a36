"""Where each stage's output comes from: user-supplied, edited, kept, cached, or computed; the first that is true.

In: a stage, its inputs by digest, a way to compute it. Out: its files under out/, and one word that says how.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from img2mv3d.errors import InputError
from img2mv3d.flow.entry import Source, digest_files, same_place, stage_files
from img2mv3d.flow.graph import GRAPH, order_of
from img2mv3d.flow.inputs import Node
from img2mv3d.flow.run_folder import RunFolder
from img2mv3d.flow.store import Store

Digests = dict[str, str | None]


class Outputs:
    """The outputs of one run that begins with `source` and ends with the stage `until`.

    in_place: the source lies in the run's own folder. note: gets one sentence for everything that a person may want to
    know.
    """

    def __init__(
        self, source: Source, folder: RunFolder, store: Store, until: str, note: Callable[[str], None]
    ) -> None:
        self.source, self.folder, self.until = source, folder, until
        self.in_place = same_place(folder.folder, source.root) and source.kind != "photo"
        self._store, self._note = store, note

    def settle(
        self,
        stage: str,
        inputs: dict[str, Node],
        key: Callable[[Digests], str],
        compute: Callable[[Path], dict[str, Any]],
    ) -> str | None:
        """Make the stage's files stand under out/, and say how; None when there is no way to them.

        key: the store's key for these digests of the inputs. compute: writes the files into a folder and says what
        there is to know about them, their "names" among it. Raises InputError when an input is missing.
        """
        folder, source = self.folder, self.source
        if source.stage is not None and order_of(stage) <= order_of(source.stage):
            return self._take(stage)  # given, or lying beside what was given
        if stage in ("prepare", "back", "sides") and source.kind == "run":
            return "kept" if stage_files(folder.folder, stage) else None
        digests = {name: node.digest for name, node in inputs.items()}
        missing = [i.name for i in GRAPH[stage].inputs if not i.optional and digests[i.name] is None]
        if source.kind == "run" and stage != self.until:
            if stage_files(folder.folder, stage) and (missing or self._follows(stage, digests)):
                return "edited" if folder.edited(stage) else "kept"
            if missing or self._passed_over(stage):
                return None
        if missing:
            raise InputError(f"{source.path}: {stage} needs {' and '.join(missing)}, not found there")
        return self._produce(stage, key(digests), digests, compute)

    def _follows(self, stage: str, digests: Digests) -> bool:
        """Was the stage's output made from just these inputs, as far as is known? How does not matter here: a run from
        another machine or version stays as it is.
        """
        if self.folder.unrecorded(stage):  # from the cache once more, or the mesh could not say what it is made with
            return False
        made_from = self.folder.record["stages"].get(stage, {}).get("inputs", {})
        return all(made_from.get(name, digest) == digest for name, digest in digests.items() if name != "given")

    def _passed_over(self, stage: str) -> bool:
        """Did the run never have the stage's output, and has that of a later one? Then nothing depends on it: making it
        would cost a network's time, and the mesh would name settings and weights that it is not made with.
        """
        later = [s for s in GRAPH if order_of(stage) < order_of(s) < order_of(self.until)]
        known = stage in self.folder.record["stages"] or stage_files(self.folder.folder, stage)
        return not known and any(stage_files(self.folder.folder, s) for s in later)

    def _take(self, stage: str) -> str | None:
        files = self.source.files(stage)
        if not files:
            return None
        if self.in_place and all(path == self.folder.folder / name for name, path in files.items()):
            return "given"
        if names := self.folder.edited(stage):
            return self._keep_edited(stage, names)

        def copy(draft: Path) -> tuple[str, dict[str, Any]]:
            self.folder.copy_in(files, draft)
            marks = (
                RunFolder(self.source.root, self._note).marks(stage) if (self.source.root / "run.json").exists() else {}
            )
            return "given", {"key": digest_files(files), "inputs": {}, "version": 0, **marks}

        return self._replace(stage, copy)

    def _produce(self, stage: str, name: str, digests: Digests, compute: Callable[[Path], dict[str, Any]]) -> str:
        folder = self.folder
        written = self._own(stage, folder.files(stage))
        edited = [n for n in folder.edited(stage) if n in written]
        if edited and set(folder.present(written)) == set(written):
            return self._keep_edited(stage, edited)
        about = folder.record["stages"].get(stage, {})
        if not edited and about.get("key") == name and written and folder.present(written) == written:
            if not self._store.holds(name):  # lost or damaged there: what stands here is as good
                self._store.put(name, stage, folder.folder, written, about)
            return "kept"

        def fetch(draft: Path) -> tuple[str, dict[str, Any]]:
            how, about = self._fetch(stage, name, draft, compute)
            return how, {**about, "key": name, "inputs": digests}

        how = self._replace(stage, fetch, keep=edited)
        return self._keep_edited(stage, edited) if edited else how

    def _own(self, stage: str, written: dict[str, str]) -> dict[str, str]:
        """Of the files on record those of the last output: an earlier export's other format is not among them."""
        names = self.folder.record["stages"].get(stage, {}).get("names", written)
        return {n: digest for n, digest in written.items() if n in names}

    def _fetch(
        self, stage: str, name: str, draft: Path, compute: Callable[[Path], dict[str, Any]]
    ) -> tuple[str, dict[str, Any]]:
        entry = self._store.get(name, draft)
        if entry is None:
            with self._store.lock(name) as look_again:
                entry = self._store.get(name, draft) if look_again else None
                if entry is None:
                    about = compute(draft)
                    self._store.put(name, stage, draft, about["names"], about)
                    return "computed", about
        return "cached", entry.made

    def _replace(
        self, stage: str, fill: Callable[[Path], tuple[str, dict[str, Any]]], keep: list[str] | None = None
    ) -> str:
        """Let `fill` write into a draft and put it in the place of the stage's output but `keep`; how `fill` did it."""
        draft = self.folder.draft()
        try:
            how, about = fill(draft)
            self.folder.replace(stage, draft, about, keep=keep or ())
            return how
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _keep_edited(self, stage: str, names: list[str]) -> str:
        shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self._note(f"{shown} was edited: it is used as it is, what depends on it is recomputed (delete it to undo)")
        return "edited"

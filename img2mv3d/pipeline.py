"""The flow, one line per verb: the only place where stages, weights, store and a run's folder meet.

In: a photo or the file of any stage, a Plan. Out: files under out/, `Result`. A stage's inputs are read and its modules
imported only when it must compute, so that a run whose every stage is known loads no torch. Why here: stages are pure;
somebody has to know where things come from.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from img2mv3d import machine
from img2mv3d.durable import digest_of
from img2mv3d.errors import InputError, UsageError
from img2mv3d.plans import Plan
from img2mv3d.runs import RunFolder
from img2mv3d.sources import Source, digest_files, digest_input, stage_files
from img2mv3d.store import RECIPES, Store, key
from img2mv3d.values import Depth, Latents, Subject, Surface, Views, load_views
from img2mv3d.verbs import VERBS, matting_digest

STAGES = ("prepare", "generate", "depth", "decode", "reconstruct", "export")
NOUNS = {
    "prepare": Subject,
    "encode": Latents,
    "generate": Latents,
    "depth": Depth,
    "decode": Views,
    "reconstruct": Surface,
}
OPTIONAL = dict.fromkeys((*STAGES, "encode"), ()) | {  # inputs that a stage can do without
    "prepare": ("mask", "matting"),
    "depth": ("given",),
    "export": ("subject",),
}
RESULTS = {  # what a run that ends with the stage points to
    "prepare": "subject.png",
    "generate": "latents.pt",
    "depth": "depth.npz",
    "decode": "views",
    "reconstruct": "surface.npz",
}


def run(
    source: Source,
    out: Path,
    plan: Plan,
    *,
    until: str = "export",
    store: Store | None = None,
    report: Report | None = None,
    verbs: Mapping[str, Callable[..., Any]] = VERBS,
    bundle: Any = None,
) -> Result:
    """Carry `source` through the flow as far as `until`, with every stage's files under `out`.

    store: where results are kept between runs; None keeps nothing. verbs: stage to function(flow, **inputs), which
    gives a value with `save(folder)`. bundle: weights already opened, else `plan.bundle`. Raises Img2mv3dError of every
    kind, and MemoryError and OSError as they come.
    """
    flow = Flow(source, out, plan, until, store or Store(None), report or Silence(), verbs, bundle)
    subject = flow.cached("prepare", photo=flow.photo, mask=flow.mask, matting=flow.matting)
    latents = flow.cached("generate", subject=subject)
    if source.kind == "pictures":
        latents = flow.cached("encode", pictures=flow.pictures)
    depth = flow.cached("depth", latents=latents, given=flow.given_depth)
    views = flow.cached("decode", latents=latents, depth=depth)
    surface = flow.cached("reconstruct", views=views)
    flow.cached("export", surface=surface, views=views, subject=subject)
    return flow.finish()


@runtime_checkable
class Report(Protocol):
    """What a run tells while it goes on. Commands give one that draws; a subclass that adds nothing keeps quiet."""

    def begin(self, stage: str, number: int, total: int) -> None:
        """A stage starts to compute; it is `number` of `total`."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` steps of the stage are through."""

    def end(self, stage: str, how: str, seconds: float) -> None:
        """The stage's output stands: computed, cached, kept, edited or given, after `seconds` here and now."""

    def note(self, line: str) -> None:
        """One sentence that a person should read now."""


class Silence(Report):
    """Tells nothing."""


@dataclass(frozen=True)
class Result:
    """path: the absolute path of what was wanted. warnings: sentences, in the order of the stages. stages: name to what
    run.json says about it (how, seconds, peak_bytes, ...). seconds: of the whole run.
    """

    path: Path
    warnings: tuple[str, ...]
    stages: dict[str, dict[str, Any]]
    seconds: float


@dataclass(frozen=True, eq=False)
class Node:
    """Something on disk that a stage takes: its digest (None: not there), and a way to its value for whoever must
    compute from it.
    """

    digest: str | None = None
    read: Callable[[], Any] = lambda: None

    @cached_property
    def value(self) -> Any:
        """The noun itself, read once."""
        return self.read()


class Flow:
    """One run: decides for each stage whether its output is given, edited, kept, cached or must be computed."""

    def __init__(
        self,
        source: Source,
        out: Path,
        plan: Plan,
        until: str,
        store: Store,
        report: Report,
        verbs: Mapping[str, Callable[..., Any]],
        bundle: Any,
    ) -> None:
        if until not in STAGES:
            raise UsageError(f"--until {until}: expected one of {', '.join(STAGES)}")
        if source.stage and _order(source.stage) >= _order(until):
            raise UsageError(f"{source.path} is what {source.stage} gives: nothing is left to do until {until}")
        self.source, self.plan, self.until = source, plan, until
        self._store, self._report, self._verbs, self._bundle = store, report, verbs, bundle
        self._started = time.perf_counter()
        self._done: dict[str, dict[str, Any]] = {}
        identity = self._identity()  # reads the input: a missing photo must not leave an empty out/
        self.folder = RunFolder(out, report.note)
        self._in_place = self.folder.folder == source.root and source.kind != "photo"
        self._begin(identity)

    # ----------------------------------------------------------------------------------------- what the verbs use

    @property
    def bundle(self) -> Any:
        """The weights of `plan.bundle`; opening them reads the manifest and loads no torch."""
        if self._bundle is None:
            from img2mv3d.weights import load_bundle

            self._bundle = load_bundle(self.plan.bundle)
        return self._bundle

    @cached_property
    def device(self) -> str:
        """ "cpu" or "cuda": what the plan names, or what seems to be there."""
        return machine.guess_device() if self.plan.device == "auto" else self.plan.device

    @property
    def arithmetic(self) -> str:
        """Device and number format, part of the keys of everything that a network computes."""
        return "cpu-float32" if self.device == "cpu" else "cuda-float16"

    @property
    def framing_px(self) -> int:
        """The long side of the silhouette in px of 256: the plan's, else the bundle's."""
        return self.plan.prepare.framing_px or self.bundle.framing_px

    def seed_of(self, stage: str) -> int:
        """The seed (63 bits) of a stage's own random numbers, so that cached and fresh runs agree."""
        return int(digest_of([self.plan.seed, stage])[:16], 16) >> 1

    def progress(self, stage: str) -> Callable[[int, int], None]:
        """The callback progress(done, total) for a stage."""
        return lambda done, total: self._report.progress(stage, done, total)

    # ---------------------------------------------------------------------------------------------- what is given

    @property
    def photo(self) -> Node:
        """The photo's file, where the run begins with one."""
        if self.source.kind != "photo":
            return Node()
        return Node(digest_input(self.source.path), lambda: self.source.path)

    @property
    def mask(self) -> Node:
        """The mask's file that came with the photo."""
        if self.source.mask is None:
            return Node()
        return Node(digest_input(self.source.mask), lambda: self.source.mask)

    @property
    def matting(self) -> Node:
        """The model that the remover `auto` would use: a photo cut out without it is cut out anew once it is there."""
        by_model = self.source.kind == "photo" and self.plan.prepare.remover in ("auto", "u2netp")
        return Node(matting_digest() if by_model and self.source.mask is None else None)

    @property
    def pictures(self) -> Node:
        """The folder of views that must be encoded first."""
        return Node(digest_files(self.source.files("decode")), lambda: load_views(self.source.path))

    @property
    def given_depth(self) -> Node:
        """What stands in for the quick fit: "none" or a file."""
        if self.source.depth in (None, "neus"):
            return Node()
        if self.source.depth == "none":
            return Node("none", lambda: "none")
        path = Path(self.source.depth)
        return Node(digest_input(path), lambda: path)

    # ------------------------------------------------------------------------------------------------- the stages

    def cached(self, stage: str, **inputs: Node | None) -> Node | None:
        """The stage's output, from wherever it comes cheapest; None where this run does not go."""
        if _order(stage) > _order(self.until) or (self.source.kind == "pictures" and stage in ("prepare", "generate")):
            return None
        started = time.perf_counter()
        how = self._settle(stage, {name: inputs.get(name) or Node() for name in RECIPES[stage].inputs})
        if how is None:
            return None
        seconds = time.perf_counter() - started
        about = self.folder.record["stages"].get(stage, {})
        self._done[stage] = {**about, "how": how, "now_seconds": round(seconds, 3)}
        self._report.end(stage, how, seconds)
        if stage == "export":
            return None
        files = stage_files(self.folder.folder, stage)
        return Node(digest_files(files), lambda: NOUNS[stage].load(self.folder.folder))

    def finish(self) -> Result:
        """Write the last of run.json and say where the result is."""
        seconds = time.perf_counter() - self._started
        warnings = list(dict.fromkeys(w for about in self._done.values() for w in about.get("warnings", ())))
        name = RESULTS.get(self.until, f"mesh.{self.plan.export.format}")
        summary = {
            "warnings": warnings,
            "result": name,
            "last": {s: {"how": a["how"], "seconds": a["now_seconds"]} for s, a in self._done.items()},
            "seconds": round(seconds, 3),
        }
        self.folder.record.update(summary)
        self.folder.save()
        return Result(self.folder.folder / name, tuple(warnings), self._done, seconds)

    def _identity(self) -> dict[str, Any]:
        """What this run begins with, by content: another one in the same folder is another run."""
        source = self.source
        if source.kind == "run":
            return {"kind": "run", "name": source.path.name, "digest": None}
        if source.kind == "photo":
            digest = digest_input(source.path)
        else:
            files = source.files(source.stage or "decode")
            if not files:
                raise InputError(f"{source.path}: no such file")
            digest = digest_files(files)
        return {"kind": source.kind, "name": source.path.name, "digest": digest}

    def _begin(self, identity: dict[str, Any]) -> None:
        record = self.folder.record
        before = record["source"]
        if not self._in_place and before is not None and before["digest"] != identity["digest"]:
            self.folder.restart(identity)
        record = self.folder.record
        if record["source"] is None:
            record["source"] = identity
        from img2mv3d import __version__

        record.update(version=__version__, settings=asdict(self.plan), seed=self.plan.seed, device=self.device)
        record.update(arithmetic=self.arithmetic, until=self.until)

    def _settle(self, stage: str, inputs: dict[str, Node]) -> str | None:
        """Make the stage's files stand under out/, and say how; None when there is no way to them."""
        folder, source = self.folder, self.source
        before_source = source.stage is not None and _order(stage) < _order(source.stage)
        if stage == source.stage or before_source:  # given, or lying beside what was given
            return self._take(stage)
        if stage == "prepare" and source.kind == "run":
            return "kept" if stage_files(folder.folder, stage) else None
        digests = {name: node.digest for name, node in inputs.items()}
        missing = [n for n, digest in digests.items() if digest is None and n not in OPTIONAL[stage]]
        if source.kind == "run" and stage != self.until:
            if stage_files(folder.folder, stage) and (missing or self._follows(stage, digests)):
                return "edited" if folder.edited(stage) else "kept"
            if missing:
                return None
        if missing:
            raise InputError(f"{source.path}: {stage} needs {' and '.join(missing)}, not found there")
        return self._produce(stage, inputs, digests)

    def _follows(self, stage: str, digests: dict[str, str | None]) -> bool:
        """Was the stage's output made from just these inputs, as far as is known? How does not matter here: a run from
        another machine or version stays as it is.
        """
        made_from = self.folder.record["stages"].get(stage, {}).get("inputs", {})
        return all(made_from.get(name, digest) == digest for name, digest in digests.items() if name != "given")

    def _take(self, stage: str) -> str | None:
        files = self.source.files(stage)
        if not files:
            return None
        if self._in_place and all(path == self.folder.folder / name for name, path in files.items()):
            return "given"
        about = {"key": digest_files(files), "inputs": {}, "version": 0}
        if names := self.folder.edited(stage):
            return self._keep_edited(stage, names)
        draft = self.folder.draft()
        try:
            self.folder.copy_in(files, draft)
            self.folder.replace(stage, draft, about)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return "given"

    def _produce(self, stage: str, inputs: dict[str, Node], digests: dict[str, str | None]) -> str:
        folder, name = self.folder, self._key(stage, digests)
        written = self._own(stage, folder.files(stage))
        edited = [n for n in folder.edited(stage) if n in written]
        if edited and set(folder.present(written)) == set(written):
            return self._keep_edited(stage, edited)
        about = folder.record["stages"].get(stage, {})
        if not edited and about.get("key") == name and written and folder.present(written) == written:
            if not self._store.holds(name):  # lost or damaged there: what stands here is as good
                self._store.put(name, stage, folder.folder, written, about)
            return "kept"
        draft = folder.draft()
        try:
            how, about = self._fetch(stage, name, inputs, draft)
            about = {**about, "key": name, "inputs": digests}
            folder.replace(stage, draft, about, keep=edited)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return self._keep_edited(stage, edited) if edited else how

    def _own(self, stage: str, written: dict[str, str]) -> dict[str, str]:
        """Of the files on record those of the last output: an earlier export's other format is not among them."""
        names = self.folder.record["stages"].get(stage, {}).get("names", written)
        return {n: digest for n, digest in written.items() if n in names}

    def _fetch(self, stage: str, name: str, inputs: dict[str, Node], draft: Path) -> tuple[str, dict[str, Any]]:
        entry = self._store.get(name, draft)
        if entry is None:
            with self._store.lock(name) as look_again:
                entry = self._store.get(name, draft) if look_again else None
                if entry is None:
                    return "computed", self._compute(stage, name, inputs, draft)
        return "cached", entry.made

    def _compute(self, stage: str, name: str, inputs: dict[str, Node], draft: Path) -> dict[str, Any]:
        order = _order(stage) + 1
        self._report.begin(stage, order, _order(self.until) + 1)
        machine.reset_peak_memory()
        started = time.perf_counter()
        value = self._verbs[stage](self, **{key: node.value for key, node in inputs.items()})
        value.save(draft)
        names = sorted(str(p.relative_to(draft)) for p in draft.rglob("*") if p.is_file())
        about = {
            "version": version_of(stage),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_bytes": machine.peak_memory(),
            "warnings": list(getattr(value, "warnings", ())),
            "names": names,
        }
        self._store.put(name, stage, draft, names, about)
        return about

    def _key(self, stage: str, digests: dict[str, str | None]) -> str:
        recipe = RECIPES[stage]
        options = {} if not recipe.options else asdict(getattr(self.plan, stage))
        if stage == "prepare":
            options["framing_px"] = self.framing_px
        return key(
            stage,
            version_of(stage),
            {name: options[name] for name in recipe.options},
            digests,
            weights=self.bundle.digest if recipe.weights else None,
            seed=self.plan.seed if recipe.seed else None,
            arithmetic=self.arithmetic if recipe.arithmetic else None,
        )

    def _keep_edited(self, stage: str, names: list[str]) -> str:
        shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        self._report.note(f"{shown} was edited: taken as it is, what depends on it is redone (delete it to undo)")
        return "edited"


def version_of(stage: str) -> int:
    """VERSION of the stage's module, read from its source, since importing it would load torch."""
    path = Path(__file__).parent / "stages" / f"{stage}.py"
    found = re.search(r"^VERSION(?::\s*int)?\s*=\s*(\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} has no VERSION")
    return int(found.group(1))


def _order(stage: str) -> int:
    return STAGES.index("generate" if stage == "encode" else stage)

"""The flow, one line per stage: the only place where stages, weights, store and a run's folder meet.

In: a photo or the file of any stage, a Plan. Out: files under out/, `Result`. A stage's inputs are read and its modules
imported only when it must compute, so that a run whose every stage is known loads no torch.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from img2mv3d import machine
from img2mv3d.bundles.decoders import NAMES
from img2mv3d.conventions import IMAGE_SIZE
from img2mv3d.errors import InputError, UsageError
from img2mv3d.files.durable import digest_of, files_below
from img2mv3d.flow.context import StageContext
from img2mv3d.flow.entry import Source, digest_files, digest_input, stage_files
from img2mv3d.flow.graph import GRAPH, STAGES, Stage, imported, order_of
from img2mv3d.flow.inputs import (
    Node,
    back,
    back_matting,
    given_depth,
    mask,
    matting,
    photo,
    pictures,
    side_matting,
    sides,
)
from img2mv3d.flow.progress import Report, Silence
from img2mv3d.flow.provenance import provenance
from img2mv3d.flow.resolve import Outputs
from img2mv3d.flow.run_folder import RunFolder, check_outside, held
from img2mv3d.flow.runners import check_device, check_format
from img2mv3d.flow.store import Store, key
from img2mv3d.flow.watch import check_numbers, starved
from img2mv3d.plans import Plan

CHANGED = "changed while this run was at work (an editor, another program?); the same command goes on from there"


def run(
    source: Source,
    out: str | Path,
    plan: Plan,
    *,
    until: str = "export",
    store: Store | None = None,
    report: Report | None = None,
    runners: Mapping[str, Callable[..., Any]] | None = None,
    bundle: Any = None,
) -> Result:
    """Carry `source` through the flow as far as `until`, with every stage's files under `out`.

    store: where results are kept between runs; None keeps nothing.
    runners: of some stages in place of those that the graph names: function(context, **inputs), which gives a value
        with `save(folder)`.
    bundle: weights already opened, else `plan.bundle`.

    Raises Img2mv3dError of every kind, and MemoryError and OSError as they come.
    """
    with Flow(source, Path(out), plan, until, store or Store(None), report or Silence(), runners or {}, bundle) as flow:
        subject = flow.cached(
            "prepare", photo=photo(source), mask=mask(source), matting=matting(source, plan.prepare.remover)
        )
        behind, others = flow.back(subject), flow.sides(subject)
        body = flow.body(subject, others)
        latents = flow.cached("generate", subject=subject, body=body)
        if source.kind == "pictures":
            latents = flow.cached("encode", pictures=pictures(source))
        body = flow.still_meant(body)
        depth = flow.cached("depth", latents=latents, body=body, given=given_depth(source))
        views = flow.cached(
            "decode", latents=latents, depth=depth, back=behind, body=body, subject=flow.photo_for_views(subject)
        )
        surface, views = flow.cached("reconstruct", views=views, body=body), flow.with_paint(views)
        made_of = {"surface": surface, "views": views, "subject": subject, "back": behind}
        made_of |= {"body": body, "sides": others}
        flow.cached("export", **made_of, provenance=flow.provenance(made_of))
        return flow.finish()


@dataclass(frozen=True)
class Result:
    """path: the absolute path of what was wanted. warnings: sentences, in the order of the stages. stages: name to what
    run.json says about it (how, seconds, peak_bytes, ...). seconds: of the whole run.
    """

    path: Path
    warnings: tuple[str, ...]
    stages: dict[str, dict[str, Any]]
    seconds: float


class Flow:
    """One run: decides for each stage whether its output is given, edited, kept, cached or must be computed. Entered,
    it holds the folder; nothing is written before."""

    folder: RunFolder
    _outputs: Outputs

    def __init__(
        self,
        source: Source,
        out: Path,
        plan: Plan,
        until: str,
        store: Store,
        report: Report,
        runners: Mapping[str, Callable[..., Any]],
        bundle: Any,
    ) -> None:
        if until not in STAGES:
            raise UsageError(f"--until {until}: expected one of {', '.join(STAGES)}")
        if source.stage and order_of(source.stage) >= order_of(until):
            raise UsageError(f"{source.path} is what {source.stage} gives: nothing is left to do until {until}")
        if until == "export":
            check_format(plan.export.format)
        check_device(plan.device)
        self.source, self.plan, self.until = source, plan, until
        self._report, self._runners, self._bundle = report, runners, bundle
        before = source.kind != "run" and (source.stage is None or order_of(source.stage) < order_of("decode"))
        if plan.decode.decoder in NAMES and before and order_of(until) >= order_of("decode"):
            _ = self.decoder  # missing weights are told before all the work
        self._started = time.perf_counter()
        self._done: dict[str, dict[str, Any]] = {}
        self._out, self._store, self._held = out, store, ExitStack()

    def __enter__(self) -> Flow:
        identity = self._identity()  # reads the input: a missing photo must not leave an empty out/
        check_outside(self.source, self._out)
        self._held.enter_context(held(self._out))
        try:
            self.folder = RunFolder(self._out, self._report.note)
            self.folder.tidy()
            self._outputs = Outputs(self.source, self.folder, self._store, self.until, self._report.note)
            self._begin(identity)
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._held.close()

    # ----------------------------------------------------------------------------------------- what the stages use

    @property
    def bundle(self) -> Any:
        """The weights of `plan.bundle`; opening them reads the manifest and loads no torch."""
        if self._bundle is None:
            from img2mv3d.bundles.weights import load_bundle

            self._bundle = load_bundle(self.plan.bundle)
        return self._bundle

    @cached_property
    def decoder(self) -> Any:
        """The `decoders.Decoder` that the plan means. Raises WeightsError when its weights are missing."""
        from img2mv3d.bundles.decoders import choose

        return choose(self.plan.decode.decoder, self.bundle)

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

    @cached_property
    def path(self) -> tuple[str, ...]:
        """The stages that this run goes through, in their order."""
        return tuple(stage for stage in GRAPH if self._goes_through(stage))

    def provenance(self, made_of: Mapping[str, Node | None]) -> Node:
        """What the mesh's file says about where it comes from; part of the mesh's key, since it is part of the file."""
        edited = [stage for stage in self.folder.record["stages"] if stage != "export" and self.folder.edited(stage)]
        digests = {name: node.digest for name, node in made_of.items() if node}
        told = provenance(self.folder.record, edited, asdict(self.plan.export), digests)
        return Node(digest_of(told), lambda: told)

    # ------------------------------------------------------------------------------------------------- the stages

    def cached(self, stage: str, **inputs: Node | None) -> Node | None:
        """The stage's output, from wherever it comes cheapest; None where this run does not go."""
        if stage not in self.path:
            return None
        started = time.perf_counter()
        record = GRAPH[stage]
        nodes = {i.name: inputs.get(i.name) or Node() for i in record.inputs}
        how = self._outputs.settle(stage, nodes, partial(self._key, record), partial(self._compute, record, nodes))
        if how is None:
            return None
        seconds = time.perf_counter() - started
        about = self.folder.record["stages"].get(stage, {})
        self._done[stage] = {**about, "how": how, "now_seconds": round(seconds, 3)}
        self._report.end(stage, how, seconds)
        if record.value is None:
            return None
        digest = digest_files(stage_files(self.folder.folder, stage))
        return Node(digest, partial(self._load, stage, digest))

    def back(self, subject: Node | None) -> Node | None:
        """The user's own photo of the back, where there is one. A run of the photo alone forgets an earlier one; what
        stands in a run's folder, or beside the file that a run begins with, goes on.
        """
        if "back" not in self.path:
            if self.source.kind == "photo":
                self.folder.forget("back")
            return None
        model = back_matting(self.source, self.plan.prepare.remover)
        return self.cached("back", photo=back(self.source), subject=subject, matting=model)

    def sides(self, subject: Node | None) -> Node | None:
        """The user's own photos of other sides, where there are any; as `back`."""
        if "sides" not in self.path:
            if self.source.kind == "photo":
                self.folder.forget("sides")
            return None
        model = side_matting(self.source, self.plan.prepare.remover)
        return self.cached("sides", photos=sides(self.source), subject=subject, matting=model)

    def body(self, subject: Node | None, sides: Node | None) -> Node | None:
        """The body that the bundle's shape network predicts, or the one that lies beside what the run begins with; None
        where there is neither. A run that was made without one stays so."""
        if "shape" not in self.path:
            if self.source.kind in ("photo", "subject") and self.until != "prepare":
                self.folder.forget("shape")
            return None
        return self.cached("shape", subject=subject, sides=sides)

    def still_meant(self, body: Node | None) -> Node | None:
        """The body, unless somebody put other latents in the place of those that were made from it."""
        if body is None or not self.folder.edited("generate"):
            return body
        self._report.note("latents.pt was edited: the body in shape.npz is ignored")
        return None

    def photo_for_views(self, subject: Node | None) -> Node | None:
        """The subject, where views are asked for that hold more of its photo than the latents do."""
        return subject if self.plan.decode.resolution > IMAGE_SIZE else None

    def with_paint(self, views: Node | None) -> Node | None:
        """The views, marked where somebody painted on their colours: the mesh shows it above everything else."""
        marks = self.folder.marks("decode") if views is not None and self.until == "export" else {}
        names = [name for name in marks.get("edited", ()) if Path(name).name.startswith("color_")]
        if views is None or not names:
            return views
        key = marks["original"]
        return Node(digest_of([views.digest, "painted", names]), lambda: self._painted(views.value, names, key))

    def _painted(self, views: Any, names: list[str], key: str | None) -> Any:
        """`views` marked where they differ from what was decoded; all of a picture whose original nobody has."""
        from img2mv3d.values import paint_on

        colors = {Path(name).stem.removeprefix("color_") for name in names}
        with tempfile.TemporaryDirectory() as kept:
            entry = None if key is None else self._store.get(key, Path(kept))
            original = None if entry is None else imported("img2mv3d.values:Views").load(Path(kept))
        return replace(views, painted=paint_on(views, original, colors))

    def _goes_through(self, stage: str) -> bool:
        source = self.source
        if order_of(stage) > order_of(self.until):
            return False
        if source.kind == "pictures" or stage == "encode":
            return source.kind == "pictures" and (stage == "encode" or order_of(stage) > order_of("encode"))
        if source.stage is not None and order_of(stage) <= order_of(source.stage):
            return bool(source.files(stage))  # given, or lying beside what was given
        if stage == "back":
            return source.back is not None if source.kind == "photo" else bool(source.files("back"))
        if stage == "sides":
            return bool(source.sides if source.kind == "photo" else source.files("sides"))
        if stage == "shape":
            return bool(source.files("shape")) if source.kind == "run" else "shape" in self.bundle.parts()
        return True

    def finish(self) -> Result:
        """Write the last of run.json and say where the result is."""
        seconds = time.perf_counter() - self._started
        warnings = list(dict.fromkeys(w for about in self._done.values() for w in about.get("warnings", ())))
        name = GRAPH[self.until].result.format(format=self.plan.export.format)
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
            return {"kind": "run", "name": source.path.name, "digest": digest_of(os.path.realpath(source.root))}
        if source.kind == "photo":
            digest = digest_input(source.path)
        else:
            files = source.files(source.stage or "decode")
            if not files:
                raise InputError(f"{source.path}: no such file")
            digest = digest_files(files)
        return {"kind": source.kind, "name": source.path.name, "digest": digest}

    def _begin(self, identity: dict[str, Any]) -> None:
        before, in_place = self.folder.record["source"], self._outputs.in_place
        if not in_place and before is not None and before["digest"] != identity["digest"]:
            self.folder.restart(identity)
        record = self.folder.record
        record.pop("moving", None)
        if record["source"] is None:
            record["source"] = identity
        if self.source.kind == "run" and not in_place:
            earlier = [name for name in GRAPH if order_of(name) < order_of(self.until) and name != "encode"]
            self.folder.adopt(RunFolder(self.source.root, self._report.note), earlier)
            record = self.folder.record
        from img2mv3d import __version__

        record.update(version=__version__, settings=asdict(self.plan), seed=self.plan.seed, device=self.device)
        record.update(arithmetic=self.arithmetic, until=self.until)

    def _compute(self, stage: Stage, inputs: dict[str, Node], draft: Path) -> dict[str, Any]:
        """Call the stage's runner, leave its files in `draft`, and say what there is to know about them."""
        self._report.begin(stage.name, self.path.index(stage.name) + 1, len(self.path))
        machine.reset_peak_memory()
        started = time.perf_counter()
        runner = self._runners.get(stage.name) or imported(stage.run)
        try:
            value = runner(self._context(stage), **{name: node.value for name, node in inputs.items()})
        except Exception as error:
            if (told := starved(stage.name, error)) is not None:
                raise told from error
            raise
        if changed := [name for name, node in inputs.items() if node.changed()]:
            raise UsageError(f"{self.source.path}: the {changed[0]} {CHANGED}")
        check_numbers(stage.name, value)
        value.save(draft)
        return {
            "version": stage.version,
            "seconds": round(time.perf_counter() - started, 3),
            "peak_bytes": machine.peak_memory(),
            "warnings": list(getattr(value, "warnings", ())),
            "made_with": self._made_with(stage),
            "names": [str(p.relative_to(draft)) for p in files_below(draft)],
        }

    def _load(self, stage: str, digest: str) -> Any:
        """The stage's output as it stands; what had to be mended in it is said. Raises UsageError when it is no longer
        what has that digest: what is made from it would stand in the cache under a wrong name."""
        value = imported(str(GRAPH[stage].value)).load(self.folder.folder)
        if digest_files(stage_files(self.folder.folder, stage)) != digest:
            raise UsageError(f"{self.folder.folder}: what {stage} left there {CHANGED}")
        known = self.folder.record["stages"].get(stage, {}).get("warnings", ())
        for line in getattr(value, "warnings", ()):
            if line not in known:
                self._report.note(line)
        return value

    def _context(self, stage: Stage) -> StageContext:
        return StageContext(
            stage=stage.name,
            options=self._options(stage),
            device=self.device,
            networks=self._networks(stage),
            seed=self.plan.seed,
            vram=self.plan.vram,
            last=stage.name == self.until,
            progress=partial(self._report.progress, stage.name),
            note=self._report.note,
        )

    def _key(self, stage: Stage, digests: dict[str, str | None]) -> str:
        networks = self._networks(stage)
        return key(
            stage,
            self._plain_options(stage),
            digests,
            weights=None if networks is None else networks.digest,
            seed=self.plan.seed if "seed" in stage.uses else None,
            arithmetic=self.arithmetic if "arithmetic" in stage.uses else None,
        )

    def _networks(self, stage: Stage) -> Any:
        """What makes the stage's networks, with name and digest; None where it has none."""
        return self.decoder if "decoder" in stage.uses else self.bundle if "weights" in stage.uses else None

    def _options(self, stage: Stage) -> Any:
        """The stage's options as its output depends on them: no weights are looked at after this."""
        options = stage.options_in(self.plan)
        return replace(options, framing_px=self.framing_px) if hasattr(options, "framing_px") else options

    def _plain_options(self, stage: Stage) -> dict[str, Any]:
        told = {} if stage.options is None else asdict(self._options(stage))
        if "remover" in told:  # of a network that was named by its path the name; its digest is an input
            told["remover"] = Path(told["remover"]).name
        return told

    def _made_with(self, stage: Stage) -> dict[str, Any]:
        """What the stage's output may say about itself later: nothing that its key does not cover."""
        told: dict[str, Any] = {"options": self._plain_options(stage)}
        if "seed" in stage.uses:
            told["seed"] = self.plan.seed
        if (used := self._networks(stage)) is not None:
            told["weights"] = {"name": used.name, "digest": used.digest, "licence": used.licence}
        return told

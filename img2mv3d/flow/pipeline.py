"""The flow, one line per verb: the only place where stages, weights, store and a run's folder meet.

In: a photo or the file of any stage, a Plan. Out: files under out/, `Result`. A stage's inputs are read and its modules
imported only when it must compute, so that a run whose every stage is known loads no torch. Why here: stages are pure;
somebody has to know where things come from.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from img2mv3d import machine
from img2mv3d.errors import InputError, UsageError
from img2mv3d.files.durable import digest_of
from img2mv3d.flow.entry import STAGES, Source, digest_files, digest_input, order_of, stage_files
from img2mv3d.flow.nodes import Node, back, back_matting, given_depth, mask, matting, photo, pictures
from img2mv3d.flow.progress import Report, Silence
from img2mv3d.flow.provenance import provenance
from img2mv3d.flow.resolve import Outputs
from img2mv3d.flow.run_folder import RunFolder
from img2mv3d.flow.runners import VERBS, check_format
from img2mv3d.flow.store import RECIPES, Store, key
from img2mv3d.flow.watch import check_numbers, starved
from img2mv3d.plans import Plan
from img2mv3d.values import BackSubject, Depth, Latents, Subject, Surface, Views

NOUNS = {
    "prepare": Subject,
    "back": BackSubject,
    "encode": Latents,
    "generate": Latents,
    "depth": Depth,
    "decode": Views,
    "reconstruct": Surface,
}
ASKED = ("mini", "svd", "sd")  # decoders that somebody named
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
    subject = flow.cached(
        "prepare", photo=photo(source), mask=mask(source), matting=matting(source, plan.prepare.remover)
    )
    behind = flow.back(subject)
    latents = flow.cached("generate", subject=subject)
    if source.kind == "pictures":
        latents = flow.cached("encode", pictures=pictures(source))
    depth = flow.cached("depth", latents=latents, given=given_depth(source))
    views = flow.cached("decode", latents=latents, depth=depth, back=behind)
    surface = flow.cached("reconstruct", views=views)
    made_of = {"surface": surface, "views": views, "subject": subject, "back": behind}
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
        if source.stage and order_of(source.stage) >= order_of(until):
            raise UsageError(f"{source.path} is what {source.stage} gives: nothing is left to do until {until}")
        if until == "export":
            check_format(plan.export.format)
        self.source, self.plan, self.until = source, plan, until
        self._report, self._verbs, self._bundle = report, verbs, bundle
        before = source.kind != "run" and (source.stage is None or order_of(source.stage) < order_of("decode"))
        if plan.decode.decoder in ASKED and before and order_of(until) >= order_of("decode"):
            _ = self.decoder  # missing weights are told before all the work
        self._started = time.perf_counter()
        self._done: dict[str, dict[str, Any]] = {}
        identity = self._identity()  # reads the input: a missing photo must not leave an empty out/
        self.folder = RunFolder(out, report.note)
        self._outputs = Outputs(source, self.folder, store, until, report.note)
        self._begin(identity)

    # ----------------------------------------------------------------------------------------- what the verbs use

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

    def seed_of(self, stage: str) -> int:
        """The seed (63 bits) of a stage's own random numbers, so that cached and fresh runs agree."""
        return int(digest_of([self.plan.seed, stage])[:16], 16) >> 1

    def progress(self, stage: str) -> Callable[[int, int], None]:
        """The callback progress(done, total) for a stage."""
        return lambda done, total: self._report.progress(stage, done, total)

    def note(self, line: str) -> None:
        """One sentence that a person may want to know now."""
        self._report.note(line)

    def provenance(self, made_of: Mapping[str, Node | None]) -> Node:
        """What the mesh's file says about where it comes from; part of the mesh's key, since it is part of the file."""
        edited = [stage for stage in self.folder.record["stages"] if stage != "export" and self.folder.edited(stage)]
        digests = {name: node.digest for name, node in made_of.items() if node}
        told = provenance(self.folder.record, edited, asdict(self.plan.export), digests)
        return Node(digest_of(told), lambda: told)

    # ------------------------------------------------------------------------------------------------- the stages

    def cached(self, stage: str, **inputs: Node | None) -> Node | None:
        """The stage's output, from wherever it comes cheapest; None where this run does not go."""
        if order_of(stage) > order_of(self.until) or (
            self.source.kind == "pictures" and stage in ("prepare", "generate")
        ):
            return None
        started = time.perf_counter()
        nodes = {name: inputs.get(name) or Node() for name in RECIPES[stage].inputs}
        how = self._outputs.settle(stage, nodes, partial(self._key, stage), partial(self._compute, stage, nodes))
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

    def back(self, subject: Node | None) -> Node | None:
        """The user's own photo of the back, where there is one. A run of the photo alone forgets an earlier one; what
        stands in a run's folder, or beside the file that a run begins with, goes on.
        """
        source = self.source
        if source.kind == "photo" and source.back is None:
            self.folder.forget("back")
            return None
        if source.kind == "pictures" or (source.kind != "photo" and not source.files("back")):
            return None
        model = back_matting(source, self.plan.prepare.remover)
        return self.cached("back", photo=back(source), subject=subject, matting=model)

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
        if not self._outputs.in_place and before is not None and before["digest"] != identity["digest"]:
            self.folder.restart(identity)
        record = self.folder.record
        if record["source"] is None:
            record["source"] = identity
        from img2mv3d import __version__

        record.update(version=__version__, settings=asdict(self.plan), seed=self.plan.seed, device=self.device)
        record.update(arithmetic=self.arithmetic, until=self.until)

    def _compute(self, stage: str, inputs: dict[str, Node], draft: Path) -> dict[str, Any]:
        """Call the verb, leave its files in `draft`, and say what there is to know about them."""
        self._report.begin(stage, order_of(stage) + 1, order_of(self.until) + 1)
        machine.reset_peak_memory()
        started = time.perf_counter()
        try:
            value = self._verbs[stage](self, **{key: node.value for key, node in inputs.items()})
        except Exception as error:
            if (told := starved(stage, error)) is not None:
                raise told from error
            raise
        check_numbers(stage, value)
        value.save(draft)
        return {
            "version": version_of(stage),
            "seconds": round(time.perf_counter() - started, 3),
            "peak_bytes": machine.peak_memory(),
            "warnings": list(getattr(value, "warnings", ())),
            "made_with": self._made_with(stage),
            "names": sorted(str(p.relative_to(draft)) for p in draft.rglob("*") if p.is_file()),
        }

    def _key(self, stage: str, digests: dict[str, str | None]) -> str:
        recipe = RECIPES[stage]
        return key(
            stage,
            version_of(stage),
            self._options(stage),
            digests,
            weights=self._weights(stage).digest if recipe.weights else None,
            seed=self.plan.seed if recipe.seed else None,
            arithmetic=self.arithmetic if recipe.arithmetic else None,
        )

    def _weights(self, stage: str) -> Any:
        """What the stage's networks come from: something with name and digest."""
        return self.decoder if stage == "decode" else self.bundle

    def _options(self, stage: str) -> dict[str, Any]:
        """The options of the stage that its output depends on."""
        recipe = RECIPES[stage]
        options = {} if not recipe.options else asdict(getattr(self.plan, "prepare" if stage == "back" else stage))
        if stage == "prepare":
            options["framing_px"] = self.framing_px
        return {name: options[name] for name in recipe.options}

    def _made_with(self, stage: str) -> dict[str, Any]:
        """What the stage's output may say about itself later: nothing that its key does not cover."""
        recipe = RECIPES[stage]
        told: dict[str, Any] = {"options": self._options(stage)}
        if recipe.seed:
            told["seed"] = self.plan.seed
        if recipe.weights:
            used = self._weights(stage)
            licence = used.licence if stage == "decode" else used.manifest.get("licence")
            told["weights"] = {"name": used.name, "digest": used.digest, "licence": licence}
        return told


def version_of(stage: str) -> int:
    """VERSION of the stage's module, read from its source, since importing it would load torch."""
    path = Path(__file__).parents[1] / "stages" / f"{stage}.py"
    found = re.search(r"^VERSION(?::\s*int)?\s*=\s*(\d+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{path} has no VERSION")
    return int(found.group(1))

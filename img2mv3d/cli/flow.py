"""The commands that carry something through the flow: `run` and the six verbs.

In: paths and flags as typed. Out: files, one absolute path on stdout. Why here: what a path means for which verb and
where its results go is decided in one place; everything else is pipeline's.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.cli.flags import FLAGS, checked
from img2mv3d.errors import Img2mv3dError, InputError, UsageError
from img2mv3d.plans import PLANS, STANDARD, Plan

if TYPE_CHECKING:
    from img2mv3d.flow.entry import Source
    from img2mv3d.flow.pipeline import Result


@dataclass(frozen=True)
class Many:
    """How often a run is done. jobs: processes, each with a photo of its own. seeds: tried for each photo. pick: "auto"
    or the seed that was chosen by eye.
    """

    jobs: int = 1
    seeds: int = 1
    pick: str = "auto"


ONE = Many()


def run_all(words: list[str], start: Path | None, until: str | None, given: Mapping[str, Any], many: Many) -> None:
    """`run`: from photos or the file of any stage as far as `until`; out/ unless -o says otherwise. given["dry_run"]:
    only say what it would take.
    """
    from img2mv3d.flow.entry import Source, source_of

    if (not words) == (start is None):
        raise UsageError("give a photo, or the file of a stage with --from; see `img2mv3d run --help`")
    until, report, dry = until or "export", not given.get("no_report"), bool(given.get("dry_run"))
    if start is not None:
        if many != ONE:
            raise UsageError("--jobs, --seeds and --pick go with photos, not with --from")
        source = source_of(start)
        out = given.get("out") or (Path("out") if source.kind == "views" else source.root)
        return foretell_or_carry(source, Path(out), until, given, dry, report)
    from img2mv3d.cli.wanted import is_one, photos_of

    if not is_one(words):
        from img2mv3d.cli.many import run_many

        if dry:
            raise UsageError("--dry-run takes one photo")
        return run_many(photos_of(words), Path(given.get("out") or "out"), until, given, many)
    if many.jobs > 1:
        raise UsageError("--jobs is for several photos")
    source, out = Source("photo", Path(words[0])), Path(given.get("out") or "out")
    foretell_or_carry(source, out, until, given, dry, report, many)


def foretell_or_carry(
    source: Source, out: Path, until: str, given: Mapping[str, Any], dry: bool, report: bool, many: Many = ONE
) -> None:
    """What a dry run says, or the run itself."""
    if not dry:
        return carry(source, out, until, given, report=report, many=many)
    from img2mv3d.cli.dry import foretell

    print(foretell(plan_of(checked(given), source)))


def run_verb(
    verb: str, path: Path, given: Mapping[str, Any], depth: str | None = None, layout: str | None = None
) -> None:
    """One verb on what it takes; results go to -o, else to the folder of the input (out/ for a photo). Views of another
    program become ours first, in foreign/ under the results."""
    from img2mv3d.flow.entry import source_of
    from img2mv3d.flow.graph import GRAPH, name_of

    takes = GRAPH[verb].takes
    if verb in ("decode", "reconstruct") and (ours := brought(verb, path, given, layout)) is not None:
        given = {**given, "out": given.get("out") or ours.parent}
        path = ours
    source = source_of(path)
    if source.kind == "views" and "pictures" in takes:
        source = replace(source, kind="pictures")
    if source.kind not in takes:
        wanted = " or ".join(map(name_of, takes))
        more = f"; `img2mv3d run {path} --until {verb}` goes on from a photo" if source.kind == "photo" else ""
        raise UsageError(f"{verb} takes {wanted}; {path} is {name_of(source.kind)}{more}")
    if depth is not None:
        source = replace(source, depth=_depth_source(depth))
    out = given.get("out") or (Path("out") if source.kind == "photo" else source.root)
    if source.kind == "pictures" and (Path(out) / "views").absolute() == path.absolute():
        raise UsageError(f"{path} would be overwritten by its own result; give another folder with -o")
    carry(source, Path(out), verb, given)


def brought(verb: str, path: Path, given: Mapping[str, Any], layout: str | None) -> Path | None:
    """The folder to which views of another program were written as ours; None when `path` is none of theirs. Raises
    ViewsError, UsageError."""
    from img2mv3d.readers.third_party_views import LAYOUTS, layout_of, read_foreign, resized
    from img2mv3d.values import save_views

    if layout is not None and layout not in LAYOUTS:
        raise UsageError(f"--layout {layout}: expected one of {', '.join(LAYOUTS)}")
    name = layout or layout_of(path)
    if name is None:
        return None
    views = read_foreign(path, name)
    out = Path(given.get("out") or (path if path.is_dir() else path.parent))
    save_views(resized(views) if verb == "decode" else views, out / "foreign")
    rig = f"{len(views.rig)} {views.rig.kind} views"
    print(f"note: {path}: views of {name}, {rig}, written as ours to {out / 'foreign'}", file=sys.stderr)
    return out / "foreign"


def run_here() -> Path:
    """The run that `export` means when nobody names one: in out/, else here. Raises InputError."""
    for folder in (Path("out"), Path()):
        if (folder / "surface.npz").exists():
            return folder
    raise InputError("no run in out/ or here (surface.npz); name its folder: img2mv3d export FOLDER")


def carry(
    source: Source, out: Path, until: str, given: Mapping[str, Any], *, report: bool = False, many: Many = ONE
) -> None:
    """Run the pipeline with a screen, then say in words what went wrong and print where the result is.

    report: write report.html when there is a mesh and something is new. many: how many seeds are tried.
    """
    from img2mv3d.cli.screen import screen_for

    typed = checked(given)
    with screen_for(quiet="quiet" in typed or "json" in typed) as screen:
        result, more = carry_one(source, out, until, typed, screen, report=report, many=many)
    for line in result.warnings:
        screen.warn(line)
    peaks = [about["peak_bytes"] for about in result.stages.values() if about["how"] == "computed"]
    screen.close(result.seconds, max(peaks, default=0))
    print(json.dumps(facts_of(result) | more) if "json" in typed else result.path)
    sys.stdout.flush()


def carry_one(
    source: Source, out: Path, until: str, typed: Mapping[str, Any], screen: Any, *, report: bool, many: Many
) -> tuple[Result, dict[str, Any]]:
    """Run the pipeline once, after the best seed was chosen if several are wanted; the result, and what else there is
    to tell about it in JSON. typed: flags that were `checked`.
    """
    from img2mv3d.flow.pipeline import run

    if "mask" in typed:
        source = replace(source, mask=typed["mask"])
    if "back" in typed:
        if source.kind != "photo":
            raise UsageError("--back goes with a photo, not with --from; give both photos")
        source = replace(source, back=typed["back"])
    plan, store = plan_of(typed, source), open_store(typed, screen.note)
    more: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        if many.seeds > 1:
            from img2mv3d.cli.seeds import pick_seed

            if store.folder is None:  # or the chosen one would be made twice
                store = type(store)(Path(stack.enter_context(tempfile.TemporaryDirectory())), screen.note)
            choice = pick_seed(source, out, plan, until, many, store, screen)
            plan, more = replace(plan, seed=choice.seed), choice.facts()
        elif many.pick != "auto":
            raise UsageError("--pick chooses among several --seeds")
        result = run(source, out, plan, until=until, store=store, report=screen)
    page = write_report(source, out, result, screen.note) if report and until == "export" else None
    return result, {"report": page and str(page), **more}


def facts_of(result: Result) -> dict[str, Any]:
    """What --json tells of a result."""
    told = {"result": str(result.path), "warnings": result.warnings, "seconds": round(result.seconds, 3)}
    return told | {"stages": result.stages}


def write_report(source: Source, out: Path, result: Result, note: Callable[[str], None]) -> Path | None:
    """report.html of a run that has just ended, where it is; None where it could not be, which is told."""
    from img2mv3d.cli.look import NAME, save_report

    target = out.absolute() / NAME
    if target.exists() and all(about["how"] == "kept" for about in result.stages.values()):
        return target
    try:
        return save_report(out, source.path if source.kind == "photo" else None, target)
    except Img2mv3dError as error:  # the mesh is there: a page about it must not make the run a failure
        note(f"no report: {error}")
        return None


def plan_of(typed: Mapping[str, Any], source: Source) -> Plan:
    """The plan: a preset (or what the run in the source's folder was made with), then what was typed."""
    plan = PLANS[typed["quality"]] if "quality" in typed else recorded_plan(source)
    if "size" in typed and "height" in typed:
        raise UsageError("--size and --height are two ways to say one thing; give one of them")
    if "size" in typed or "height" in typed:  # the one takes the place of the other on record
        plan = replace(plan, export=replace(plan.export, size_mm=None, height_mm=None))
    for name, value in typed.items():
        home = FLAGS[name].home if name in FLAGS else ""
        stage, _, field = home.rpartition(".")
        if stage:
            plan = replace(plan, **{stage: replace(getattr(plan, stage), **{field: value})})
        elif field:
            plan = replace(plan, **{field: value})
    return plan


def recorded_plan(source: Source) -> Plan:
    """What run.json beside the source says about settings; the standard plan where there is none or for a photo."""
    if source.kind == "photo":
        return STANDARD
    from img2mv3d.flow.run_folder import RunFolder

    if not (source.root / "run.json").exists():
        return STANDARD
    settings = RunFolder(source.root, lambda line: None).record["settings"]
    return _filled(STANDARD, settings) if isinstance(settings, dict) else STANDARD


def open_store(typed: Mapping[str, Any], warn: Any) -> Any:
    """The cache that the flags --cache and --no-cache mean."""
    from img2mv3d.flow.store import Store, default_folder

    return Store(None if "no_cache" in typed else typed.get("cache") or default_folder(), warn)


def _filled(options: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass with those of its fields replaced that `values` has; unknown names come from other versions."""
    known = {}
    for field in fields(options):
        if field.name not in values:
            continue
        before, value = getattr(options, field.name), values[field.name]
        if is_dataclass(before):
            known[field.name] = _filled(before, value) if isinstance(value, dict) else before
        else:
            known[field.name] = value
    return replace(options, **known)


def _depth_source(depth: str) -> str:
    if depth in ("neus", "none") or Path(depth).is_file():
        return depth
    raise UsageError(f"--depth {depth}: expected neus, none, a depth.npz or a mesh; there is no file of that name")

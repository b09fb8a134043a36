"""What all commands that run stages share: flags into a plan, the run with a screen, the path of the result.

In: a `Source`, flags as typed. Out: files, one absolute path (or a line of JSON) on stdout.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from img2mv3d.cli.flags import FLAGS, ONE_PHOTO
from img2mv3d.cli.other_sides import sides_of
from img2mv3d.cli.seeds import ONE, Seeds, pick_seed
from img2mv3d.cli.target import put
from img2mv3d.errors import Img2mv3dError, UsageError
from img2mv3d.plans import PLANS, STANDARD, Plan, ShapeOptions

if TYPE_CHECKING:
    from img2mv3d.flow.entry import Source
    from img2mv3d.flow.pipeline import Result
    from img2mv3d.flow.store import Store


def carry(
    source: Source,
    out: Path,
    until: str,
    typed: Mapping[str, Any],
    *,
    report: bool = False,
    seeds: Seeds = ONE,
    target: Path | None = None,
) -> None:
    """Run the pipeline with a screen, then say in words what went wrong and print where the result is.

    typed: flags that were typed.
    target: a file that the mesh is copied to.
    report: write report.html when there is a mesh and something is new.
    seeds: how many are tried.
    """
    from img2mv3d.cli.screen import screen_for

    with screen_for(quiet="quiet" in typed or "json" in typed) as screen:
        result, more = carry_one(source, out, until, typed, screen, report=report, seeds=seeds)
        if target is not None:
            result = replace(result, path=put(result.path, target, screen.note))
    for line in result.warnings:
        screen.warn(line)
    screen.close(result.stages, result.seconds)
    print(json.dumps(facts_of(result) | more) if "json" in typed else result.path)
    sys.stdout.flush()
    if until == "export":
        screen.look(out)


def carry_one(
    source: Source,
    out: Path,
    until: str,
    typed: Mapping[str, Any],
    screen: Any,
    *,
    report: bool,
    seeds: Seeds = ONE,
    bundles: Callable[[str], Any] | None = None,
) -> tuple[Result, dict[str, Any]]:
    """Run the pipeline once, after the best seed was chosen if several are wanted; the result, and what else there is
    to tell about it in JSON. bundles: weights that are open already, by name."""
    from img2mv3d.flow.pipeline import run

    source = with_photos(source, typed)
    plan, store = plan_of(typed, source), open_store(typed, screen.note)
    if recalled := ", ".join(recalled_settings(source, typed)):
        screen.note(f"as the run in {source.root} was made: {recalled}")
    more: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        if seeds.count > 1:
            if store.folder is None:  # or the chosen one would be made twice
                store = type(store)(Path(stack.enter_context(tempfile.TemporaryDirectory())), screen.note)
            choice = pick_seed(source, out, plan, until, seeds, store, screen)
            plan, more = replace(plan, seed=choice.seed), choice.facts()
        elif seeds.pick != "auto":
            raise UsageError("--pick needs several --seeds")
        opened = None if bundles is None else bundles(plan.bundle)
        result = run(source, out, plan, until=until, store=store, report=screen, bundle=opened)
    page = write_report(source, out, result, screen.note) if report and until == "export" else None
    return result, {"report": page and str(page), **more}


def with_photos(source: Source, typed: Mapping[str, Any]) -> Source:
    """The source with the mask and the photos of other sides that go with it. Raises InputError, UsageError."""
    others = [f"--{name}" for name in ONE_PHOTO if name in typed and name != "mask"]
    if others and source.kind != "photo":
        raise UsageError(f"{others[0]} needs a photo, not --from; give both photos")
    return replace(source, mask=typed.get("mask"), back=typed.get("back"), sides=sides_of(typed))


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
        raise UsageError("--size and --height exclude each other; give one of them")
    if "box" in typed:
        for other in ("size", "height", "depth_ratio"):
            if other in typed:
                flag = FLAGS[other].decls[0]
                raise UsageError(f"--size-mm says already what {flag} says; give one of them")
        plan = replace(plan, shape=_no_depth(plan.shape), export=replace(plan.export, height_mm=typed["box"][1]))
    elif "depth_ratio" in typed:  # takes the place of a box on record
        plan = replace(plan, shape=_no_depth(plan.shape))
    for name, value in typed.items():
        home = FLAGS[name].home if name in FLAGS else ""
        stage, _, field = home.rpartition(".")
        if stage:
            plan = replace(plan, **{stage: replace(getattr(plan, stage), **{field: value})})
        elif field:
            plan = replace(plan, **{field: value})
    return plan


def _no_depth(shape: ShapeOptions) -> ShapeOptions:
    return replace(shape, depth_ratio=None, box_mm=None)


def recorded_plan(source: Source) -> Plan:
    """What run.json beside the source says about settings, but those of the mesh's file and of the machine; the
    standard plan where there is none or for a photo."""
    if source.kind == "photo":
        return STANDARD
    from img2mv3d.flow.run_folder import RunFolder

    if not (source.root / "run.json").exists():
        return STANDARD
    settings = RunFolder(source.root, lambda line: None).record["settings"]
    if not isinstance(settings, dict):
        return STANDARD
    return _filled(STANDARD, {n: value for n, value in settings.items() if n not in ("export", "device", "vram")})


def recalled_settings(source: Source, typed: Mapping[str, Any]) -> list[str]:
    """Flags and values that a run's record stands in for: nobody typed them, and they are no default."""
    if "quality" in typed:
        return []
    plan = recorded_plan(source)
    found = {name: _field(plan, flag.home) for name, flag in FLAGS.items() if flag.home and name not in typed}
    return [f"{FLAGS[n].decls[-1]} {value}" for n, value in found.items() if value != FLAGS[n].default]


def _field(plan: Plan, home: str) -> Any:
    value: Any = plan
    for name in home.split("."):
        value = getattr(value, name)
    return value


def open_store(typed: Mapping[str, Any], warn: Callable[[str], None]) -> Store:
    """The cache that the flags --cache, --no-cache and --store mean. Raises UsageError."""
    from img2mv3d.flow.store import Store, default_folder

    folder = None if "no_cache" in typed else typed.get("cache") or default_folder()
    if "store" not in typed:
        return Store(folder, warn)
    if folder is None:
        raise UsageError("--store needs the cache in front of it; leave --no-cache out")
    from img2mv3d.cluster.shared_store import SharedStore, remote_of

    return SharedStore(folder, remote_of(typed["store"]), warn)


def _filled(options: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass with those of its fields replaced that `values` has; unknown names come from other versions, and a
    value of another kind than the field's says nothing."""
    known, kinds = {}, get_type_hints(type(options))
    for field in fields(options):
        if field.name not in values:
            continue
        before, value = getattr(options, field.name), values[field.name]
        if is_dataclass(before):
            known[field.name] = _filled(before, value) if isinstance(value, dict) else before
            continue
        with contextlib.suppress(ValueError):
            known[field.name] = _read(value, kinds[field.name])
    return replace(options, **known)


def _read(value: Any, kind: Any) -> Any:
    """A value of JSON as an annotated kind: a class, a tuple of them, or a choice among them. Raises ValueError."""
    if get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            with contextlib.suppress(ValueError):
                return _read(value, one)
        raise ValueError(value)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) != len(get_args(kind)):
            raise ValueError(value)
        return tuple(map(_read, value, get_args(kind)))
    if type(value) is int and kind is float:
        return float(value)
    if type(value) is not kind:
        raise ValueError(value)
    return value

"""`run` with many photos: one after the other or side by side, each with its own folder, its own line, its own error.

In: photos, flags as typed. Out: a folder for each, lines, an exit status. A bad photo does not end the batch.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from img2mv3d.cli.board import News, board_for
from img2mv3d.cli.carry import open_store, plan_of
from img2mv3d.cli.flags import ONE_PHOTO
from img2mv3d.cli.guard import one_line
from img2mv3d.cli.lines import say
from img2mv3d.cli.pools import Lost, in_processes
from img2mv3d.cli.seeds import Seeds
from img2mv3d.cli.tally import NAME as SUMMARY
from img2mv3d.cli.tally import Tally, listed
from img2mv3d.cli.tasks import Outcome, Task, short, work
from img2mv3d.cli.wanted import names_for
from img2mv3d.errors import Img2mv3dError, PhotoError, ResourceError, UsageError

if TYPE_CHECKING:
    from img2mv3d.cli.lists import Wanted
    from img2mv3d.plans import Plan

PAGE = 2000  # results that one page shows


def run_many(
    wanted: list[Wanted],
    out: Path,
    until: str,
    typed: Mapping[str, Any],
    *,
    jobs: int | None,
    seeds: Seeds,
    report: bool,
    cluster: str | None = None,
) -> None:
    """Carry every photo into `out`/NAME, `jobs` at a time; lines and JSON as they end; at last a page of all results,
    warnings and a summary.

    Ends with status 0 when all went well, else with the failures' common exit status, 1 when they differ. Raises
    UsageError before anything is done when the flags make no sense.
    """
    plans = _check(wanted, until, typed)
    from img2mv3d import machine

    side_by_side = jobs or 1
    threads = max(1, machine.thread_count() // side_by_side) if side_by_side > 1 else None
    paths = [w.path for w in wanted]
    tasks = [
        Task(w.path, out / name, until, {**typed, **w.typed}, seeds, report, threads, number, w.carried)
        for number, (w, name) in enumerate(zip(wanted, names_for(paths), strict=True))
    ]
    if renamed := [t.out for t in tasks if t.out.name not in (t.photo.stem, t.photo.name)]:
        say(f"note: {listed([str(p) for p in renamed[:3]], len(renamed))}: named so since other photos have that name")
    started, tally, run_id = time.perf_counter(), Tally(paths), secrets.token_hex(6)
    try:
        with board_for(len(tasks), side_by_side, quiet="quiet" in typed) as board:
            missing = [t for t in tasks if not os.path.exists(t.photo)]
            gone = {t.number for t in missing}
            there = [t for t in tasks if t.number not in gone]
            if cluster is None:
                ended, chat = _outcomes(there, side_by_side, board.hear), None
            else:
                from img2mv3d.cli.nodes import Chat, on_engine

                chat = Chat(run_id, board.hear, tally.counters, tell="json" in typed)
                ended = on_engine(there, cluster, jobs, plans, out, chat)
            for number, outcome in itertools.chain(_missing(missing), ended):
                tally.add(number, outcome)
                with board.ending(outcome.photo, failed=outcome.status != 0):
                    tell(outcome, typed, f"[{tally.ended}/{len(tasks)}] ", chat and chat.head("photo"))
    finally:  # an interrupt, too, leaves a page and a summary
        seconds = time.perf_counter() - started
        if "quiet" not in typed:
            for line in tally.warnings():
                say(f"warning: {line}")
        few = tally.ended <= PAGE  # which a browser opens
        if report and few and (page := write_gallery(out, tally.failed)) is not None and "quiet" not in typed:
            say(f"all results on one page: {short(str(page.absolute()))}")
        if cluster is not None:
            _write_summary(out, {"run": run_id} | tally.summary(seconds))
            if "json" in typed:
                print(json.dumps({"run": run_id, "event": "end", **tally.counters.plain()}), flush=True)
        say(tally.line(seconds))
    if tally.statuses:
        raise typer.Exit(tally.statuses.pop() if len(tally.statuses) == 1 else 1)


def _check(wanted: list[Wanted], until: str, typed: Mapping[str, Any]) -> list[Plan]:
    """The plans of the photos, each once, the first photo's first. Raises UsageError when flags make no sense."""
    from img2mv3d.flow.entry import Source
    from img2mv3d.flow.runners import check_device, check_format

    if "mask" in typed:
        raise UsageError("--mask takes one photo; for many photos, give PNG files with transparency")
    if given := [f"--{name}" for name in ONE_PHOTO if name in typed]:
        raise UsageError(f"{given[0]} is for one photo; run the photos one by one")
    apart: dict[str, Wanted] = {}
    for one in wanted:
        apart.setdefault(repr(one.typed), one)
    plans: dict[Plan, None] = {}
    for one in apart.values():
        try:
            plans[plan_of({**typed, **one.typed}, Source("photo", one.path))] = None
        except UsageError as error:
            raise UsageError(f"{one.path}: {error}" if one.typed else str(error)) from None
    for plan in plans:
        if until == "export":
            check_format(plan.export.format)
        check_device(plan.device)
    open_store(typed, say)
    return list(plans)


def _missing(tasks: list[Task]) -> Iterator[tuple[int, Outcome]]:
    """What is missing is told at once and not in the morning."""
    for task in tasks:
        error = f"{task.photo}: no such file"
        yield task.number, Outcome(task.photo, PhotoError.exit_code, error, kind=PhotoError.__name__)


def _outcomes(tasks: list[Task], jobs: int, hear: Callable[[Path, News | None], None]) -> Iterator[tuple[int, Outcome]]:
    """By number, as they end; in this process when one at a time is wanted."""
    if jobs == 1:
        for task in tasks:
            hear(task.photo, None)
            yield task.number, work(task, lambda news, photo=task.photo: hear(photo, news))  # type: ignore[misc]
        return
    for task, outcome in in_processes(work, tasks, jobs, lambda task, news: hear(task.photo, news)):
        if isinstance(outcome, Lost):
            lost = "its process was killed, perhaps because memory ran out; try fewer --jobs or --quality draft"
            yield task.number, Outcome(task.photo, ResourceError.exit_code, lost, kind=ResourceError.__name__)
        else:
            yield task.number, outcome


def write_gallery(out: Path, failed: Mapping[str, str] | None = None) -> Path | None:
    """index.html of all results in `out`; a page that cannot be written makes no batch a failure. failed: why, by
    photo."""
    from img2mv3d.report.gallery import save_gallery

    try:
        return save_gallery(out, failed or {})
    except (Img2mv3dError, OSError) as error:
        say(f"note: no page of all results: {one_line(error)}")
        return None


def tell(outcome: Outcome, typed: Mapping[str, Any], head: str = "", first: Mapping[str, Any] | None = None) -> None:
    """One line about a photo to stderr, after `head`; its result, or a line of JSON, to stdout. first: goes into JSON
    before the rest."""
    if "json" in typed:
        print(json.dumps({**(first or {}), **outcome.plain()}), flush=True)
    elif outcome.status == 0:
        print(outcome.facts["result"], flush=True)
    if outcome.trace and "debug" in typed:
        print(outcome.trace, file=sys.stderr)
    if outcome.status or "quiet" not in typed:
        say(f"{head}{outcome.line()}")


def _write_summary(out: Path, told: Mapping[str, Any]) -> None:
    from img2mv3d.files.durable import make_folder, write_atomically

    try:
        make_folder(out.absolute())
        write_atomically(out / SUMMARY, (json.dumps(told, indent=1) + "\n").encode())
    except OSError as error:
        say(f"note: no {SUMMARY}: {one_line(error)}")

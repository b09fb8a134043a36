"""The command `run`: a photo into a mesh, many photos into one each, or the file of any stage carried on.

In: the words on the command line. Out: files, one path a photo on stdout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from img2mv3d.cli.flags import FOR_RESEARCH, ONE_PHOTO, PHOTO_TO_MESH, RUN, TEXT, command, flags_of, of_a_run, typed_in
from img2mv3d.cli.lines import say
from img2mv3d.cli.seeds import ONE, Seeds
from img2mv3d.errors import UsageError
from img2mv3d.flow.graph import STAGES

app = typer.Typer(**TEXT)

Photos = Annotated[
    list[str] | None,
    typer.Argument(help="Photos of one object each (PNG, JPEG, WebP, ...), folders of them, 'globs', lists (.csv)."),
]
Start = Annotated[
    Path | None,
    typer.Option("--from", help="Start from the file of any stage, or from a run's folder.", rich_help_panel=RUN),
]
Until = Annotated[
    Literal[*STAGES],
    typer.Option("--until", metavar="STAGE", help=f"Last stage: {', '.join(STAGES)}.", rich_help_panel=RUN),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        max=100_000,
        metavar="N",
        help="Photos at a time, each in its own process.",
        rich_help_panel=RUN,
        show_default="1; with --cluster as many as fit",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local|ray[://HOST:PORT]|slurm",
        help="Engine that many photos are carried by.",
        rich_help_panel=RUN,
    ),
]
Count = Annotated[
    int,
    typer.Option(
        "--seeds", min=1, max=64, metavar="N", help="Number of seeds to try, starting at --seed.", rich_help_panel=RUN
    ),
]
Pick = Annotated[
    str,
    typer.Option("--pick", metavar="auto|N", help="auto, or the seed to continue with.", rich_help_panel=RUN),
]
NoReport = Annotated[bool, typer.Option("--no-report", help="Write no HTML pages.", rich_help_panel=RUN)]
Watch = Annotated[
    Path | None,
    typer.Option(
        "--watch", metavar="DIR", help="Run every photo that comes into DIR, until Ctrl-C.", rich_help_panel=RUN
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only estimate memory and time.", rich_help_panel=RUN)]


@command(
    app,
    *of_a_run(*ONE_PHOTO, *(name for name in flags_of("shape", *STAGES) if name not in FOR_RESEARCH)),
    group=PHOTO_TO_MESH,
)
def run(
    photos: Photos = None,
    start: Start = None,
    until: Until = "export",
    jobs: Jobs = None,
    cluster: Cluster = None,
    seeds: Count = 1,
    pick: Pick = "auto",
    dry_run: DryRun = False,
    no_report: NoReport = False,
    watch: Watch = None,
    **flags: Any,
) -> None:
    """Turn a photo into a textured mesh, or many photos into one each.

    The files of every stage stay in out/ and can be edited: the next run uses them as they are and recomputes what
    depends on them. report.html shows everything on one page.

    \b
    img2mv3d run photo.png -o out/
    img2mv3d run photo.png --quality draft --seed 3
    img2mv3d run photo.png --mask mask.png --until decode
    img2mv3d run photo.png --back photo2.png
    img2mv3d run --from out/views -o other/
    img2mv3d run photo.png --dry-run

    Several photos go to out/NAME/, one line each; if one fails, the others continue. out/index.html shows all results.
    --seeds tries several seeds for each photo: out/seeds.png shows them, and --pick auto continues with the one whose
    views agree best.

    \b
    img2mv3d run cup.png chair.jpg shoes/ 'toys/*.png' --jobs 4
    img2mv3d run photo.png --seeds 4
    img2mv3d run photos.csv --cluster ray --store s3://bucket/prefix

    A - instead of the photo reads it from stdin; -o - writes the mesh, and nothing else, to stdout.

    \b
    cat photo.png | img2mv3d run - -o - > mesh.glb
    img2mv3d run --watch inbox/ -o out/
    """
    typed, more = typed_in(flags), {"seeds": Seeds(seeds, pick), "report": not no_report}
    if [bool(photos), start is not None, watch is not None].count(True) != 1:
        raise UsageError("give a photo, or the file of a stage with --from; see `img2mv3d run --help`")
    if watch is not None:
        return _watch(watch, until, typed, **more)
    if photos and (cluster is not None or _several(photos)):
        return _many(photos, until, typed, jobs, cluster, dry=dry_run, **more)
    if cluster is not None:
        raise UsageError("--cluster needs photos, or a list with a column `from`")
    if (jobs or 1) > 1 or (start is not None and more["seeds"] != ONE):
        raise UsageError("--jobs needs several photos; --seeds and --pick need photos, not --from")
    _carry(photos, start, until, typed, dry=dry_run, **more)


def _several(photos: list[str]) -> bool:
    from img2mv3d.cli.lists import is_list
    from img2mv3d.cli.wanted import is_one

    return any(map(is_list, photos)) or not is_one(photos)


def _watch(folder: Path, until: str, typed: Mapping[str, Any], *, seeds: Seeds, report: bool) -> None:
    from img2mv3d.cli.watching import watch

    watch(folder, until, typed, seeds, report=report)


def _many(
    photos: list[str],
    until: str,
    typed: Mapping[str, Any],
    jobs: int | None,
    cluster: str | None,
    *,
    seeds: Seeds,
    dry: bool,
    report: bool,
) -> None:
    from img2mv3d.cli.lists import wanted_of
    from img2mv3d.cli.many import run_many
    from img2mv3d.cli.target import target_of
    from img2mv3d.cli.wanted import left_out

    if dry or typed.get("out") == Path("-"):
        raise UsageError("--dry-run and -o - take one photo")
    if target_of(typed, until)[1] is not None:
        raise UsageError(f"-o {typed['out']}: names a mesh file; several photos need a folder")
    if cluster is not None:
        from img2mv3d.cluster.start import check_engine

        check_engine(cluster)
    meant = wanted_of(photos)
    if others := left_out(photos):
        names = ", ".join(p.name for p in others[:5]) + (", ..." if len(others) > 5 else "")
        say(f"note: {len(others)} file{'s' * (len(others) > 1)} of other kinds left out: {names}")
    out, more = Path(typed.get("out") or "out"), {"seeds": seeds, "report": report, "cluster": cluster}
    run_many(meant, out, until, typed, jobs=jobs, **more)


def _carry(
    photos: list[str] | None,
    start: Path | None,
    until: str,
    typed: Mapping[str, Any],
    *,
    seeds: Seeds,
    dry: bool,
    report: bool,
) -> None:
    from img2mv3d.cli.carry import carry
    from img2mv3d.cli.pipes import is_piped, run_piped
    from img2mv3d.cli.target import target_of

    if is_piped(photos, typed) and not dry:
        return run_piped(photos, start, until, typed, seeds, report=report)
    typed, target = target_of(typed, until)
    source, out = _one(photos, start, typed.get("out"))
    if dry:
        return _estimate(source, typed)
    carry(source, out, until, typed, report=report, seeds=seeds, target=target)


def _one(photos: list[str] | None, start: Path | None, out: Path | None) -> tuple[Any, Path]:
    """The source, and where its results go: out/ for a photo and for views, else the folder of the file."""
    from img2mv3d.flow.entry import Source, source_of

    if start is None:
        return Source("photo", Path((photos or [""])[0])), out or Path("out")
    source = source_of(start)
    return source, out or (Path("out") if source.kind == "views" else source.root)


def _estimate(source: Any, typed: Mapping[str, Any]) -> None:
    from img2mv3d.cli.carry import plan_of
    from img2mv3d.cli.dry import foretell

    print(foretell(plan_of(typed, source)))

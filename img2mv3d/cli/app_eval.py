"""The commands that measure what was trained.

In: the words on the command line. Out: tables. Why here: the help of a command is its docstring here; `tables` does the
work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from img2mv3d.cli.app_lab import DataFolder, Debug, OutFolder
from img2mv3d.cli.flags import TEXT

app = typer.Typer(**TEXT)
eval_app = typer.Typer(help="Measure what was trained.", **TEXT)
app.add_typer(eval_app, name="eval")

Arms = Annotated[
    list[str] | None, typer.Option("--arm", metavar="NAME=BUNDLE", help="A cross-view decoder; again for more.")
]


@eval_app.command("consistency")
def eval_consistency(
    data: DataFolder,
    out: OutFolder = Path("consistency"),
    bundle: Annotated[str, typer.Option("--bundle", help="Whose encoder, denoiser and plain decoder.")] = "mini",
    arm: Arms = None,
    count: Annotated[int, typer.Option("--count", help="Held-out objects.")] = 60,
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", help="exact, spoilt, generated; again for more. [exact and spoilt]"),
    ] = None,
    rerender: Annotated[
        bool, typer.Option("--rerender", help="Final fits to every arm's views, seen again: a minute an object.")
    ] = False,
    meshes: Annotated[
        Path | None, typer.Option("--meshes", help="Corpus of DATA (rendered with seed 0): F-scores of these fits.")
    ] = None,
    zooms: Annotated[
        int, typer.Option("--zooms", min=0, help="Sheets of the first so many objects: the same points enlarged.")
    ] = 0,
    more: Annotated[
        bool, typer.Option("--more", help="Each arm also with its other parts off, with true depth, in a second pass.")
    ] = False,
    soften: Annotated[
        str | None,
        typer.Option("--soften", metavar="NAME", help="This arm and every other one at equal sharpness."),
    ] = None,
    debug: Debug = False,
) -> None:
    """How well decoded views agree: PSNR, SSIM, warp error, matches.

    \b
    exact      latents of the true views, true depth
    spoilt     latents that disagree from view to view, depth of a quick fit to what they show; truth known
    generated  what the bundle makes of the photo: no truth, each arm by the surface of its own views

    --rerender adds, for spoilt and generated ones, what the final fit to an arm's views looks like from their cameras.
    --zooms shows what the figures mean: a row an arm, neighbouring views enlarged round the same surface points
    (exact and spoilt; OUT/zooms).
    --soften makes warp errors fair, since whatever is blurred agrees better: in two more rows a pair of arms, the
    sharper one blurred view by view (exact and spoilt).
    Figures that OUT holds are kept as long as bundles are the same.

    \b
    img2mv3d eval consistency DATA --arm mine=runs/decoder/rough-outlines/bundle
    img2mv3d eval consistency DATA --setting generated --rerender --count 20
    """
    from img2mv3d.cli import tables

    settings = setting or ["exact", "spoilt"]
    tables.consistency(data, out, bundle, arm or [], count, settings, rerender, meshes, zooms, more, soften)


@eval_app.command("protocol")
def eval_protocol(
    which: Annotated[str, typer.Argument(metavar="gso30|val", help="Whose objects, see below.")],
    meshes: Annotated[Path, typer.Argument(help="Folder of their meshes.")],
    out: OutFolder = Path("protocol"),
    arm: Annotated[
        list[str] | None,
        typer.Option("--arm", metavar="NAME=BUNDLE|FOLDER", help="A bundle or views by object; again for more. [mini]"),
    ] = None,
    bundle: Annotated[str, typer.Option("--bundle", help="Generates for arms that have no denoiser.")] = "mini",
    count: Annotated[int | None, typer.Option("--count", help="Only the first so many objects.")] = None,
    rerender: Annotated[bool, typer.Option("--rerender", help="Final fits to every arm's views, seen again.")] = False,
    debug: Debug = False,
) -> None:
    """The same objects from the same sides for everybody, and one table.

    \b
    gso30   thirty objects of Google Scanned Objects, from your copy: MESHES/alarm/**/*.obj and so on
    val     held-out objects of a corpus with manifest.tsv and objects/, as `data render` takes it

    OUT/photos holds the photos for other programs; put what they make of NAME.png into FOLDER/NAME/. Layouts:
    wonder3d, era3d, syncdreamer, zero123plus, ours. OUT/protocol.json has digests of all that was rendered: figures
    compare where they are equal.

    \b
    img2mv3d eval protocol gso30 GSO --arm mini --arm wonder3d=theirs/
    """
    from img2mv3d.cli import tables

    tables.protocol(which, meshes, out, bundle, arm or [], count, rerender)

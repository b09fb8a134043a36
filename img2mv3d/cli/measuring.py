"""The commands of `eval`: measure what was trained.

In: folders and names as typed. Out: tables on stdout, records under a folder. Why here: what goes together is checked
before anything is loaded; `eval` measures.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from img2mv3d.cli.flags import TEXT, command
from img2mv3d.cli.lines import say
from img2mv3d.cli.training import DataFolder, Debug, OutFolder, check_data, ready_torch
from img2mv3d.errors import InputError, UsageError

SETTINGS = ("exact", "spoilt", "generated")
Settings = StrEnum("Settings", {name: name for name in SETTINGS})  # typer takes no list of literals
PROTOCOLS = ("gso30", "val")

app = typer.Typer(**TEXT)
eval_app = typer.Typer(help="Measure what was trained.", **TEXT)
app.add_typer(eval_app, name="eval")

Whose = Annotated[str, typer.Option("--bundle", help="Whose encoder, denoiser and plain decoder.")]
Generates = Annotated[str, typer.Option("--bundle", help="Generates for arms that have no denoiser.")]
Arms = Annotated[
    list[str] | None, typer.Option("--arm", metavar="NAME=BUNDLE", help="A cross-view decoder; again for more.")
]
AnyArms = Annotated[
    list[str] | None,
    typer.Option("--arm", metavar="NAME=BUNDLE|FOLDER", help="A bundle or views by object; again for more (mini)."),
]
Count = Annotated[int, typer.Option("--count", min=1, help="Held-out objects.")]
First = Annotated[int | None, typer.Option("--count", min=1, help="Only the first so many objects.")]
Setting = Annotated[
    list[Settings] | None,
    typer.Option("--setting", help="What is decoded; again for more.", show_default="exact and spoilt"),
]
Rerender = Annotated[
    bool, typer.Option("--rerender", help="Final fits to every arm's views, seen again: a minute an object.")
]
Meshes = Annotated[
    Path | None, typer.Option("--meshes", help="Corpus of DATA (rendered with seed 0): F-scores of these fits.")
]
Zooms = Annotated[
    int, typer.Option("--zooms", min=0, help="Sheets of the first so many objects: the same points enlarged.")
]
More = Annotated[
    bool, typer.Option("--more", help="Each arm also with its other parts off, with true depth, in a second pass.")
]
Soften = Annotated[
    str | None, typer.Option("--soften", metavar="NAME", help="This arm and every other one at equal sharpness.")
]
Which = Annotated[Literal[*PROTOCOLS], typer.Argument(help="Whose objects, see below.")]
TheirMeshes = Annotated[Path, typer.Argument(help="Folder of their meshes.")]


@command(eval_app, name="consistency")
def eval_consistency(
    data: DataFolder,
    out: OutFolder = Path("consistency"),
    bundle: Whose = "mini",
    arm: Arms = None,
    count: Count = 60,
    setting: Setting = None,
    rerender: Rerender = False,
    meshes: Meshes = None,
    zooms: Zooms = 0,
    more: More = False,
    soften: Soften = None,
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
    settings, arms = [str(s) for s in setting or ("exact", "spoilt")], arm or []
    told = [s for s in settings if s != "generated"]
    own = [s for s in settings if s == "generated" or (rerender and s == "spoilt")]
    _check(told, own, data, rerender=rerender, meshes=meshes, zooms=zooms, more=more, soften=soften)
    ready_torch()
    from img2mv3d.eval import consistency, ownfit
    from img2mv3d.eval.zooms import compare as enlarge

    if zooms:
        enlarge(bundle, data, arms, out / "zooms", zooms, told, say)
    if told:
        print(consistency.compare(bundle, data, arms, out, count, say, told, more=more, soften=soften))
    if own:
        print(ownfit.compare(bundle, data, arms, out, count, own, rerender=rerender, meshes=meshes, report=say))


@command(eval_app, name="protocol")
def eval_protocol(
    which: Which,
    meshes: TheirMeshes,
    out: OutFolder = Path("protocol"),
    arm: AnyArms = None,
    bundle: Generates = "mini",
    count: First = None,
    rerender: Rerender = False,
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
    if which == "val" and not (meshes / "manifest.tsv").is_file():
        raise InputError(f"{meshes}: no corpus (manifest.tsv and objects/) in there")
    ready_torch()
    from img2mv3d.eval import protocol as protocols
    from img2mv3d.eval.protocol_arms import arms_of

    print(protocols.run(which, meshes, arms_of(bundle, arm or []), out, count=count, rerender=rerender, report=say))


def _check(
    told: list[str],
    own: list[str],
    data: Path,
    *,
    rerender: bool,
    meshes: Path | None,
    zooms: int,
    more: bool,
    soften: str | None,
) -> None:
    """Raises UsageError when flags do not go together, InputError when data are not there. told: settings whose truth
    is known; own: those that are fitted."""
    if rerender and not own:
        raise UsageError("--rerender: true depth needs no fit; add --setting spoilt or --setting generated")
    if meshes is not None and not rerender:
        raise UsageError("--meshes: surfaces are only fitted with --rerender")
    if zooms and not told:
        raise UsageError("--zooms: points correspond by true depth; add --setting exact or --setting spoilt")
    if (more or soften) and not told:
        word = "--more" if more else "--soften"
        raise UsageError(f"{word}: that is told with the truth at hand; add --setting exact or --setting spoilt")
    check_data(data)
    if meshes is not None and not (meshes / "objects").is_dir():
        raise InputError(f"{meshes}: no corpus (objects/) in there")

"""The commands of `eval`: measure what was trained."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from img2mv3d.cli.flags import LEARNING, TEXT, command
from img2mv3d.cli.learning import (
    AtMost,
    Corpus,
    Count,
    DataFolder,
    FormerMethods,
    Generator,
    Methods,
    OutFolder,
    Rerender,
    check_corpus,
    check_data,
    ready_torch,
)
from img2mv3d.cli.lines import say
from img2mv3d.cli.spread import MEASURING, Cluster, Jobs, Measuring, spread
from img2mv3d.errors import InputError, UsageError
from img2mv3d.eval import CONDITIONS, FORMER_CONDITIONS, FROM_ABOVE, PROTOCOLS

app = typer.Typer(**TEXT)
eval_app = typer.Typer(help="Evaluate trained weights.", **TEXT)
app.add_typer(eval_app, name="eval", rich_help_panel=LEARNING)

Conditions = Annotated[
    list[StrEnum("Condition", {name: name for name in CONDITIONS})] | None,  # typer takes no list of literals
    typer.Option(
        "--condition", metavar="NAME", help="How latents are made; repeatable.", show_default="clean and perturbed"
    ),
]
FormerConditions = Annotated[
    list[StrEnum("Setting", {name: name for name in (*CONDITIONS, *FORMER_CONDITIONS)})] | None,
    typer.Option("--setting", hidden=True),
]
Decoders = Annotated[
    list[str] | None, typer.Option("--method", metavar="NAME=BUNDLE", help="A cross-view decoder; repeatable.")
]
Measured = Annotated[str, typer.Option("--bundle", help="Whose encoder, denoiser and plain decoder.")]
Truth = Annotated[
    Path | None, typer.Option("--meshes", help="Corpus of DATA (rendered with seed 0): F-scores of these fits.")
]
CorpusOrMesh = Annotated[
    Path, typer.Argument(help="Corpus: a folder with manifest.tsv and objects/; or a mesh's file.", metavar="MESHES")
]
TrueMesh = Annotated[Path | None, typer.Argument(help="The true mesh's file, where the first one is a file.")]
Shift = Annotated[bool, typer.Option("--shift", help="With two files: first the best shift along the line of sight.")]
Which = Annotated[Literal[*PROTOCOLS], typer.Argument(help="Which objects, see above.")]
FromAbove = Annotated[
    float | None,
    typer.Option(
        "--elevation",
        min=0.0,
        max=60.0,
        help="Of the camera in gso30 and scans, degrees. [default: 30]",
        show_default=False,
    ),
]
Scans = Annotated[Path, typer.Argument(help="Folder of their meshes.")]


@command(eval_app, "debug", name="views")
def eval_views(
    meshes: Corpus,
    out: OutFolder = Path("views"),
    method: Methods = None,
    bundle: Generator = "mini",
    count: Count = 30,
    cluster: Cluster = None,
    jobs: Jobs = None,
    **flags: Any,
) -> None:
    """What is made of one photo, view by view: PSNR, SSIM, silhouettes, normals, agreement.

    Held-out objects that nothing was tuned on, each photographed once as users do. Beside every denoiser stand its
    latents decoded one by one, and the photo copied to all sides.

    \b
    img2mv3d eval views MESHES --method mine=runs/all/bundle
    """
    check_corpus(meshes)
    measure("views", meshes, out / "views", bundle, method or [], count, cluster, jobs)


@command(eval_app, "debug", name="mesh")
def eval_mesh(
    meshes: CorpusOrMesh,
    truth: TrueMesh = None,
    out: OutFolder = Path("mesh"),
    method: Methods = None,
    bundle: Generator = "mini",
    count: Count = 30,
    shift: Shift = False,
    cluster: Cluster = None,
    jobs: Jobs = None,
    **flags: Any,
) -> None:
    """What is made of one photo, as a surface: F-scores at 2, 5 and 10 %, Chamfer, volume and outline IoU.

    The objects of `eval views`. Methods that make views get the final fit; FOLDER/ID.glb (.obj, .ply, .stl) is a mesh,
    front to +Z. Every surface may first be shifted along the photo's line of sight. "true views": the fit of the truth.
    The fit reads the colours, too, so what decodes the same latents in another way gives another surface.

    With two files, PREDICTED TRUTH, the same figures of these two, as they lie (--shift: after the best shift along
    +Z), as one line of JSON.

    \b
    img2mv3d eval mesh MESHES --method mini --method theirs=FOLDER
    img2mv3d eval mesh mine.glb truth.glb
    """
    if truth is not None or meshes.is_file():
        if truth is None:
            raise UsageError(f"{meshes}: a mesh needs a second one to be measured against: PREDICTED TRUTH")
        return print(json.dumps(two_meshes(meshes, truth, shift)))
    if shift:
        raise UsageError("--shift goes with two files; surfaces of a corpus are shifted anyway")
    check_corpus(meshes)
    measure("mesh", meshes, out / "mesh", bundle, method or [], count, cluster, jobs)


@command(eval_app, "debug", name="consistency")
def eval_consistency(
    data: DataFolder,
    out: OutFolder = Path("consistency"),
    bundle: Measured = "mini",
    method: Decoders = None,
    arm: FormerMethods = None,
    count: Count = 60,
    condition: Conditions = None,
    setting: FormerConditions = None,
    rerender: Rerender = False,
    meshes: Truth = None,
    **flags: Any,
) -> None:
    """How well decoded views agree: PSNR, SSIM, reprojection error, matches.

    \b
    clean      latents of the true views, true depth
    perturbed  latents that disagree from view to view; truth known,
               depth of a coarse fit to what they show
    generated  what the bundle makes of the photo: no truth,
               each method by the surface of its own views

    --rerender adds, for perturbed and generated ones, what the final fit to a method's views looks like from their
    cameras. Figures that OUT holds are kept as long as bundles are the same.

    \b
    img2mv3d eval consistency DATA --method mine=runs/decoder/bundle
    img2mv3d eval consistency DATA --condition generated --rerender --count 20
    """
    asked = map(str, (*(condition or ()), *(setting or ())))
    conditions = [FORMER_CONDITIONS.get(name, name) for name in asked] or ["clean", "perturbed"]
    if rerender and conditions == ["clean"]:
        raise UsageError("--rerender: true depth needs no fit; add --condition perturbed or --condition generated")
    if meshes is not None and not rerender:
        raise UsageError("--meshes: surfaces are only fitted with --rerender")
    check_data(data)
    if meshes is not None:
        check_corpus(meshes)
    consistency(data, out, bundle, [*(method or ()), *(arm or ())], count, conditions, rerender, meshes)


@command(eval_app, "debug", name="protocol")
def eval_protocol(
    which: Which,
    meshes: Scans,
    out: OutFolder = Path("protocol"),
    method: Methods = None,
    arm: FormerMethods = None,
    bundle: Generator = "mini",
    count: AtMost = None,
    elevation: FromAbove = None,
    rerender: Rerender = False,
    **flags: Any,
) -> None:
    """The same objects from the same sides for everybody, and one table.

    \b
    gso30  thirty objects of Google Scanned Objects, from your copy:
           MESHES/alarm/**/*.obj and so on, those that are there
    val    held-out objects of a corpus, as `data render` takes it
    dev    twelve real scans for every choice; level and from 20 degrees
           above, with the surfaces' figures
    test   25 real scans and 40 other objects, for final tables; as dev
    scans  the 25 real scans of test, from --elevation 0 or 30 degrees

    OUT/photos holds the photos for other programs; put what they make of NAME.png into FOLDER/NAME/. Layouts:
    wonder3d, era3d, syncdreamer, zero123plus, ours. OUT/protocol.json has digests of all that was rendered: figures
    compare where they are equal.

    \b
    img2mv3d eval protocol gso30 GSO --method mini --method wonder3d=theirs/
    """
    check_elevation(which, elevation)
    if which != "gso30":
        check_corpus(meshes)
    protocol(which, meshes, out, bundle, [*(method or ()), *(arm or ())], count, rerender, elevation)


@command(eval_app, "debug", name="sheet")
def eval_sheet(
    which: Which,
    meshes: Scans,
    out: OutFolder = Path("sheets"),
    method: Methods = None,
    bundle: Generator = "mini",
    count: AtMost = None,
    elevation: FromAbove = None,
    **flags: Any,
) -> None:
    """Pictures of a protocol's objects: photo, what each method makes of it, the truth; enlarged, matches drawn.

    The objects of `eval protocol`; OUT/NAME.png of each. Green lines are matches on the epipolar line of the known
    cameras, red ones are off it.

    \b
    img2mv3d eval sheet dev MESHES --count 4
    """
    check_elevation(which, elevation)
    if which != "gso30":
        check_corpus(meshes)
    ready_torch()
    from img2mv3d.eval import protocol as protocols
    from img2mv3d.eval.methods import photo_methods
    from img2mv3d.eval.sheets import write_comparisons

    above = protocols.ELEVATION_DEG if elevation is None else elevation
    cases = protocols.planned(which, meshes, count, elevation_deg=above)
    write_comparisons(cases, photo_methods(bundle, method or []), out, print)


def check_elevation(which: str, elevation: float | None) -> None:
    """Raises UsageError for a protocol that has elevations of its own."""
    if elevation is not None and which not in FROM_ABOVE:
        raise UsageError(f"--elevation goes with {' and '.join(FROM_ABOVE)}; {which} has elevations of its own")


def two_meshes(predicted: Path, truth: Path, shift: bool) -> dict[str, float]:
    """Figures of a mesh's file against another's."""
    import numpy as np

    from img2mv3d.eval.scores import file_figures
    from img2mv3d.mesh.files import read_mesh

    pair = [(np.asarray(m.vertices), np.asarray(m.faces)) for m in map(read_mesh, (predicted, truth))]
    return {name: round(value, 4) for name, value in file_figures(pair[0], pair[1], shift).items()}


def measure(
    what: str,
    meshes: Path,
    out: Path,
    bundle: str,
    given: list[str],
    count: int,
    cluster: str | None,
    jobs: int | None,
) -> None:
    """The table of `planned` on stdout and beside the rows. cluster: an engine that makes the rows, object by
    object."""
    ready_torch()
    from img2mv3d.eval.comparison import gather, paired_table, run
    from img2mv3d.eval.of_photos import planned

    methods, planning, metrics, against = planned(what, meshes, bundle, given, count)
    cases, rows = list(planning), out.with_suffix(".tsv")
    if cluster is not None:
        from img2mv3d.cli.nodes import anywhere
        from img2mv3d.eval.methods import named

        sources = tuple(f"{name}={anywhere(source)}" for name, source in named(given or [bundle]).items())
        work = Measuring(what, meshes.absolute(), out.absolute(), anywhere(bundle), sources, count)
        spread(cluster, work, range(len(cases)), MEASURING, jobs, out.parent)
        gather(rows, [work.part(number) for number in range(len(cases))])
    table = paired_table(run(methods, cases, metrics, rows, say), against)
    out.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def consistency(
    data: Path,
    out: Path,
    name: str,
    given: list[str],
    count: int,
    conditions: list[str],
    rerender: bool,
    meshes: Path | None,
) -> None:
    """Decoders on held-out renders: by the truth, then each by the surface of its own views."""
    ready_torch()
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.eval import conditions as renders
    from img2mv3d.eval.comparison import paired_table, run
    from img2mv3d.eval.methods import PLAIN, decoders
    from img2mv3d.eval.own_surface import OwnSurface
    from img2mv3d.eval.scores import CONSISTENCY, VIEWS

    bundle, own = load_bundle(name), OwnSurface()
    methods = decoders(bundle, name, given)
    by_own = [own.consistency(), *([own.rerendering()] if rerender else []), *([own.shape()] if meshes else [])]
    shown = (
        ("consistency", [c for c in conditions if c != "generated"], [VIEWS, CONSISTENCY]),
        ("own_surface", [c for c in conditions if c == "generated" or (rerender and c == "perturbed")], by_own),
    )
    for file, wanted, metrics in shown:
        if wanted:
            cases = renders.planned(bundle, data, count, wanted, meshes)
            table = paired_table(run(methods, cases, metrics, out / f"{file}.tsv", say), PLAIN)
            (out / f"{file}.md").write_text(table, encoding="utf-8")
            print(table)


def protocol(
    which: str,
    meshes: Path,
    out: Path,
    bundle: str,
    given: list[str],
    count: int | None,
    rerender: bool,
    elevation: float | None,
) -> None:
    """Methods that see a photo on a protocol's objects."""
    ready_torch()
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.eval import protocol as protocols
    from img2mv3d.eval.comparison import paired_table, run
    from img2mv3d.eval.methods import body_methods, photo_methods
    from img2mv3d.eval.own_surface import OwnSurface
    from img2mv3d.eval.scores import CONSISTENCY, VIEWS

    above = protocols.ELEVATION_DEG if elevation is None else elevation
    protocols.check_notes(out, which, above)
    methods, objects, own = photo_methods(bundle, given), {}, OwnSurface()
    if which in ("dev", "test", "scans"):
        methods = body_methods(load_bundle(bundle)) | methods
    cases = protocols.planned(which, meshes, count, out, objects, above)
    metrics = [VIEWS, CONSISTENCY, own.consistency(), *([own.rerendering()] if rerender else [])]
    if which in ("dev", "test"):
        metrics = [VIEWS, own.shape(shift=True)]
    elif which in FROM_ABOVE:
        metrics.append(own.shape(shift=True))
    rows = run(methods, cases, metrics, out / "protocol.tsv", say)
    if not objects:
        raise InputError(f"{meshes}: no objects for the protocol {which}")
    table = paired_table(rows, next(iter(methods))) if rows else "\nno method has views of them\n"
    print(protocols.write_notes(out, which, objects, table, above))

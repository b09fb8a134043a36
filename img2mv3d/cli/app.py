"""The commands of the flow on one page, and the way to all others: what each takes, and which function does it.

In: the words on the command line. Out: files, one path on stdout, an exit status (errors.py lists them).
Why here: the help of a command is its docstring here; heavy imports wait inside of the functions that it calls.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.cli import app_care, app_eval, app_lab, app_look
from img2mv3d.cli.flags import COMMON, TEXT, flags_of, with_flags
from img2mv3d.cli.guard import Guard
from img2mv3d.flow.graph import STAGES

app = typer.Typer(
    cls=Guard,
    help="One photo of an object into a textured mesh, with views that agree to the pixel.\n\n"
    "\b\n    img2mv3d run photo.png -o out/          photo -> out/mesh.glb\n"
    "    img2mv3d decode latents.pt --depth neus latents -> pixel-aligned views\n"
    "    img2mv3d export --format obj            the run in out/ -> another format",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    **TEXT | {"add_completion": True},
)

Photo = Annotated[Path, typer.Argument(help="A photo of one object: PNG, JPEG, WebP, TIFF, ...")]
Photos = Annotated[
    list[str] | None, typer.Argument(help="Photos of one object each (PNG, JPEG, WebP, ...), folders of them, 'globs'.")
]
Input = Annotated[Path, typer.Argument(help="What the verb takes: a file of an earlier stage, or a run's folder.")]
OptionalInput = Annotated[Path | None, typer.Argument(help="A run's folder or its surface.npz [out/, else here].")]
Start = Annotated[Path | None, typer.Option("--from", help="Begin with this file of any stage, or a run's folder.")]
Until = Annotated[
    str | None, typer.Option("--until", help="Last stage (prepare, generate, depth, decode, reconstruct, export).")
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=256, help="Photos at a time, each in a process of its own.")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, max=64, help="Back sides to try, from --seed on.")]
Pick = Annotated[str, typer.Option("--pick", help="auto, or the number of the seed that you like best.")]
NoReport = Annotated[bool, typer.Option("--no-report", help="Leave report.html away.")]
DepthFrom = Annotated[
    str | None, typer.Option("--depth", help="neus (a quick fit), none, a depth.npz or a mesh. [neus]")
]
LayoutOf = Annotated[str | None, typer.Option("--layout", help="Whose views: wonder3d, era3d, ... [found out].")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what it would take: memory and time by stage.")]
MeshFile = Annotated[Path, typer.Argument(help="glb, gltf, obj, ply, stl, off, 3mf or usdz.")]
Mend = Annotated[bool, typer.Option("--repair", help="Write a mended copy beside it, as good as it gets.")]
Printable = Annotated[
    bool, typer.Option("--printable", help="Close it if needed, ask for walls of 0.8mm, or say why it cannot be.")
]
Unit = Annotated[
    str | None, typer.Option("--unit", help="What one unit of the file is: mm, cm, m, in. [mm in stl and 3mf, else m]")
]


def main() -> None:
    """The console script `img2mv3d`."""
    # Before torch is loaded: threads that wait must sleep. On two busy cores, spinning made a fit seven times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app(prog_name="img2mv3d")


def _show_version(wanted: bool) -> bool:
    if wanted:
        from img2mv3d import __version__

        print(f"img2mv3d {__version__}")
        raise typer.Exit(0)
    return wanted


@app.callback()
def entry(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Only --version lives up here; the text of the help is the app's."""


# ------------------------------------------------------------------------------------------------------- the flow


@app.command()
@with_flags("mask", "back", *COMMON, *flags_of(*STAGES))
def run(
    photos: Photos = None,
    start: Start = None,
    until: Until = None,
    no_report: NoReport = False,
    jobs: Jobs = 1,
    seeds: Seeds = 1,
    pick: Pick = "auto",
    dry_run: DryRun = False,
    **flags: Any,
) -> None:
    """Turn a photo into a textured mesh, or many photos into one each.

    Every stage's files stay in out/ and may be edited: the next run takes them as they are and redoes what depends on
    them. report.html shows all of it on one page. Numbers in [brackets] are what is taken when a flag is not given.

    \b
    img2mv3d run photo.png -o out/
    img2mv3d run photo.png --quality draft --seed 3
    img2mv3d run photo.png --mask mask.png --until decode
    img2mv3d run photo.png --back photo2.png
    img2mv3d run --from out/views -o other/
    img2mv3d run photo.png --dry-run

    Several photos go to out/NAME/, one line each; what fails is told, the rest goes on. --seeds tries several back
    sides of each: out/seeds.png shows them, --pick auto takes the one whose views agree best.

    \b
    img2mv3d run cup.png chair.jpg shoes/ 'toys/*.png' --jobs 4
    img2mv3d run photo.png --seeds 4
    """
    from img2mv3d.cli.flow import Many, run_all

    given = {**flags, "no_report": no_report, "dry_run": dry_run}
    run_all(photos or [], start, until, given, Many(jobs, seeds, pick))


@app.command()
@with_flags("mask", *COMMON, *flags_of("prepare"))
def prepare(photo: Photo, **flags: Any) -> None:
    """Cut the object out of a photo and frame it: subject.png.

    \b
    img2mv3d prepare photo.jpg --remover grabcut -o out/
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("prepare", photo, flags)


@app.command()
@with_flags("mask", *COMMON, *flags_of("prepare", "generate"))
def generate(path: Input, **flags: Any) -> None:
    """Imagine six views of the object, as latents: latents.pt. Takes a photo, subject.png or a run's folder.

    \b
    img2mv3d generate out/ --steps 30 --seed 1
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("generate", path, flags)


@app.command()
@with_flags(*COMMON, *flags_of("depth"))
def depth(path: Input, **flags: Any) -> None:
    """Decode plainly, and fit a coarse surface: depth.npz. Takes latents.pt, a folder of views or a run's folder.

    \b
    img2mv3d depth out/latents.pt
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("depth", path, flags)


@app.command()
@with_flags(*COMMON, *flags_of("depth", "decode"))
def decode(path: Input, depth: DepthFrom = None, layout: LayoutOf = None, **flags: Any) -> None:
    """Decode latents into views that agree to the pixel: views/. Takes latents.pt, a folder of views, a run's folder.

    A folder of views (color_front.png and the others) is encoded first. Results go to the folder of the input.

    \b
    img2mv3d decode latents.pt --depth neus
    img2mv3d decode VIEWS_DIR --depth mesh.glb -o better/
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("decode", path, flags, depth, layout)


@app.command()
@with_flags(*COMMON, *flags_of("reconstruct"))
def reconstruct(path: Input, layout: LayoutOf = None, **flags: Any) -> None:
    """Fit the final surface to views: surface.npz. Takes a folder of views or a run's folder.

    \b
    img2mv3d reconstruct VIEWS_DIR -o out/
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("reconstruct", path, flags, layout=layout)


@app.command()
@with_flags(*COMMON, *flags_of("export"))
def export(path: OptionalInput = None, **flags: Any) -> None:
    """Make a mesh file of a run: mesh.glb, or another format. Without a folder: the run in out/, else here.

    \b
    glb, obj      texture, +Y up; metres, one world unit is 1 m unless --size says otherwise
    ply           colours at the vertices, +Y up, as glb
    stl, 3mf      for printers: millimetres, +Z up, on the plate, 100mm unless --size says otherwise; 3mf has colours
    usdz          texture, metres, +Y up, on the ground, 100mm; needs usd-core: pip install 'img2mv3d[usd]'

    \b
    img2mv3d export --format glb
    img2mv3d export out/ --format obj --faces 5000 --elevation 20
    img2mv3d export --format 3mf --size 80mm
    img2mv3d export --format obj --up z

    After a photo from above, --elevation turns the mesh so that it stands on its base; where the base seems to lean, a
    note tells the number to type. glb and usdz fix +Y as up: with --up z their viewers show the mesh lying.
    """
    from img2mv3d.cli.flow import run_here, run_verb

    run_verb("export", run_here() if path is None else path, flags)


@app.command()
@with_flags("json", "debug")
def check(file: MeshFile, repair: Mend = False, printable: Printable = False, unit: Unit = None, **flags: Any) -> None:
    """Say whether a mesh file is a closed body: boundary and non-manifold edges, components, walls, size.

    Walls are an estimate: rays from a few hundred points straight through the body. A repaired copy goes beside the
    file, NAME_repaired, never over it; a texture becomes colours at the vertices there. Exit status: 0 when all is
    fine, with --repair or --printable also when it is after the repair; 6 when not; 3 when the file cannot be read.

    \b
    img2mv3d check out/mesh.glb
    img2mv3d check part.stl --printable --json
    """
    from img2mv3d.cli.check import check_file

    check_file(file, mend=repair, printable=printable, unit=unit, as_json=bool(flags.get("json")))


for more in (app_look.app, app_care.app, app_lab.app, app_eval.app):  # no name: their commands stand beside these
    app.add_typer(more)

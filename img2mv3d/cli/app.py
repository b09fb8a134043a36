"""All commands on one page: what each takes, and which function does it.

In: the words on the command line. Out: files, one path on stdout, an exit status (errors.py lists them).
Why here: the help of a command is its docstring here; heavy imports wait inside of the functions that it calls.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from img2mv3d.cli import add
from img2mv3d.cli.flags import COMMON, with_flags
from img2mv3d.cli.guard import Guard

TEXT: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": None, "add_completion": False}
app = typer.Typer(
    cls=Guard,
    help="One photo of an object into a textured mesh, with views that agree to the pixel.\n\n"
    "\b\n    img2mv3d run photo.png -o out/          photo -> out/mesh.glb\n"
    "    img2mv3d decode latents.pt --depth neus latents -> pixel-aligned views\n"
    "    img2mv3d export --format obj            the run in out/ -> another format",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    **TEXT,
)
cache_app = typer.Typer(help="What is kept between runs.", **TEXT)
weights_app = typer.Typer(help="The networks' weights.", **TEXT)
data_app = typer.Typer(help="Pictures to train on.", **TEXT)
train_app = typer.Typer(help="Train the networks of a bundle.", **TEXT)
for name, group in (("cache", cache_app), ("weights", weights_app), ("data", data_app), ("train", train_app)):
    app.add_typer(group, name=name)
add.register(weights_app)

STAGE_FLAGS = {
    "prepare": ("remover", "framing_px"),
    "generate": ("steps", "guidance", "solver", "eta"),
    "depth": ("depth_grid", "depth_effort"),
    "decode": ("decoder", "decode_normals"),
    "reconstruct": ("grid", "effort"),
    "export": ("format", "faces", "texture_size", "elevation", "size", "height"),
}
ALL_STAGES = tuple(flag for flags in STAGE_FLAGS.values() for flag in flags)
CARE = ("cache", "debug")

Photo = Annotated[Path, typer.Argument(help="A photo of one object: PNG, JPEG, WebP, TIFF, ...")]
OptionalPhoto = Annotated[Path | None, typer.Argument(help="A photo of one object: PNG, JPEG, WebP, TIFF, ...")]
Input = Annotated[Path, typer.Argument(help="What the verb takes: a file of an earlier stage, or a run's folder.")]
OptionalInput = Annotated[Path | None, typer.Argument(help="A run's folder or its surface.npz [out/, else here].")]
Start = Annotated[Path | None, typer.Option("--from", help="Begin with this file of any stage, or a run's folder.")]
Until = Annotated[
    str | None, typer.Option("--until", help="Last stage (prepare, generate, depth, decode, reconstruct, export).")
]
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
Bundle = Annotated[str, typer.Argument(help="Name or folder of a bundle.")]
WeightsFolder = Annotated[Path | None, typer.Option("-o", "--out", help="Where [IMG2MV3D_WEIGHTS, else user data].")]
Accept = Annotated[bool, typer.Option("--accept-licence", help="I have read the terms and accept them.")]
Minutes = Annotated[float, typer.Option("--minutes", help="Wall clock for the training.")]
FirstBundle = Annotated[str | None, typer.Option("--start", help="Begin with this bundle's networks.")]
DataFolder = Annotated[Path, typer.Argument(help="Folder that `img2mv3d data render` wrote.")]
OutFolder = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")]
Seed = Annotated[int, typer.Option("--seed", help="Of all random numbers.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")]


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
@with_flags("mask", *COMMON, *ALL_STAGES)
def run(
    photo: OptionalPhoto = None, start: Start = None, until: Until = None, dry_run: DryRun = False, **flags: Any
) -> None:
    """Turn a photo into a textured mesh.

    Every stage's files stay in out/ and may be edited: the next run takes them as they are and redoes what depends on
    them. Numbers in [brackets] are what is taken when a flag is not given.

    \b
    img2mv3d run photo.png -o out/
    img2mv3d run photo.png --quality draft --seed 3
    img2mv3d run photo.png --mask mask.png --until decode
    img2mv3d run --from out/views -o other/
    """
    from img2mv3d.cli.flow import run_all

    run_all(photo, start, until, flags, dry_run)


@app.command()
@with_flags("mask", *COMMON, *STAGE_FLAGS["prepare"])
def prepare(photo: Photo, **flags: Any) -> None:
    """Cut the object out of a photo and frame it: subject.png.

    \b
    img2mv3d prepare photo.jpg --remover grabcut -o out/
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("prepare", photo, flags)


@app.command()
@with_flags("mask", *COMMON, *STAGE_FLAGS["prepare"], *STAGE_FLAGS["generate"])
def generate(path: Input, **flags: Any) -> None:
    """Imagine six views of the object, as latents: latents.pt. Takes a photo, subject.png or a run's folder.

    \b
    img2mv3d generate out/ --steps 30 --seed 1
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("generate", path, flags)


@app.command()
@with_flags(*COMMON, *STAGE_FLAGS["depth"])
def depth(path: Input, **flags: Any) -> None:
    """Decode plainly, and fit a coarse surface: depth.npz. Takes latents.pt, a folder of views or a run's folder.

    \b
    img2mv3d depth out/latents.pt
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("depth", path, flags)


@app.command()
@with_flags(*COMMON, *STAGE_FLAGS["depth"], *STAGE_FLAGS["decode"])
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
@with_flags(*COMMON, *STAGE_FLAGS["reconstruct"])
def reconstruct(path: Input, layout: LayoutOf = None, **flags: Any) -> None:
    """Fit the final surface to views: surface.npz. Takes a folder of views or a run's folder.

    \b
    img2mv3d reconstruct VIEWS_DIR -o out/
    """
    from img2mv3d.cli.flow import run_verb

    run_verb("reconstruct", path, flags, layout=layout)


@app.command()
@with_flags(*COMMON, *STAGE_FLAGS["export"])
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
    """
    from img2mv3d.cli.flow import run_here, run_verb

    run_verb("export", run_here() if path is None else path, flags)


@app.command()
@with_flags("json", "debug")
def check(file: MeshFile, repair: Mend = False, printable: Printable = False, unit: Unit = None, **flags: Any) -> None:
    """Say whether a mesh file is a closed body: holes, crowded and twisted edges, pieces, walls, size.

    Walls are an estimate: rays from a few hundred points straight through the body. A repaired copy goes beside the
    file, NAME_repaired, never over it; a texture becomes colours at the vertices there. Exit status: 0 when all is
    fine, with --repair or --printable also when it is after the repair; 6 when not; 3 when the file cannot be read.

    \b
    img2mv3d check out/mesh.glb
    img2mv3d check part.stl --printable --json
    """
    from img2mv3d.cli.check import check_file

    check_file(file, mend=repair, printable=printable, unit=unit, as_json=bool(flags.get("json")))


# ----------------------------------------------------------------------------------------------------------- care


@cache_app.command("list")
@with_flags(*CARE)
def cache_list(**flags: Any) -> None:
    """Every entry: key, stage, size, last use."""
    from img2mv3d.cli import care

    care.cache_list(flags)


@cache_app.command("size")
@with_flags(*CARE)
def cache_size(**flags: Any) -> None:
    """How much room it takes, and where."""
    from img2mv3d.cli import care

    care.cache_size(flags)


@cache_app.command("prune")
@with_flags(*CARE)
def cache_prune(
    max_size: Annotated[str, typer.Option("--max-size", help="What may stay, such as 500M or 2G.")] = "1G", **flags: Any
) -> None:
    """Forget what was used longest ago, and what was damaged."""
    from img2mv3d.cli import care

    care.cache_prune(max_size, flags)


@cache_app.command("verify")
@with_flags(*CARE)
def cache_verify(**flags: Any) -> None:
    """Read every byte and set damaged entries aside."""
    from img2mv3d.cli import care

    care.cache_verify(flags)


@weights_app.command("list")
@with_flags("debug")
def weights_list(**flags: Any) -> None:
    """The bundles that are here."""
    from img2mv3d.cli import care

    care.weights_list()


@weights_app.command("verify")
@with_flags("debug")
def weights_verify(name: Bundle = "mini", **flags: Any) -> None:
    """Check digests, numbers and answers of a bundle's networks."""
    from img2mv3d.cli import care

    care.weights_verify(name)


@weights_app.command("inspect")
@with_flags("debug")
def weights_inspect(name: Bundle = "mini", **flags: Any) -> None:
    """What a bundle's manifest says; of a checkpoint's folder, what its files hold and what is wrong with them."""
    from img2mv3d.cli import care

    care.weights_inspect(name)


@weights_app.command("fetch")
@with_flags("debug")
def weights_fetch(
    name: Annotated[str, typer.Argument(help="wonder3d.")],
    out: WeightsFolder = None,
    revision: Annotated[str, typer.Option("--revision", help="Commit or branch [the pinned one, else newest].")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Only verify what is here; no connection.")] = False,
    accept_licence: Accept = False,
    **flags: Any,
) -> None:
    """Bring other people's weights from the hub, verified; a call that was broken off goes on where it was.

    HF_ENDPOINT names a mirror, HF_TOKEN an account, HF_HUB_OFFLINE=1 means --offline.
    """
    from img2mv3d.cli import care

    care.weights_fetch(name, out, revision, offline, accept_licence)


@weights_app.command("import")
@with_flags("debug")
def weights_import(
    source: Annotated[Path, typer.Argument(help="A copy of the published folder.")],
    out: WeightsFolder = None,
    accept_licence: Accept = False,
    **flags: Any,
) -> None:
    """Take a copy of Wonder3D's folder that you have already."""
    from img2mv3d.cli import care

    care.weights_import(source, out, accept_licence)


@app.command()
@with_flags("debug")
def licences(**flags: Any) -> None:
    """The terms of code, weights and data.

    \b
    img2mv3d licences
    """
    from img2mv3d.cli import care

    care.licences()


@app.command()
@with_flags(*CARE)
def doctor(**flags: Any) -> None:
    """What this installation and this machine have, and what they lack."""
    from img2mv3d.cli import care

    care.doctor(flags)


# ------------------------------------------------------------------------------------------------------------ lab


@data_app.command("render")
def data_render(
    meshes: Annotated[Path, typer.Argument(help="Folder with manifest.tsv and objects/.")],
    out: OutFolder = Path("data"),
    poses: Annotated[int, typer.Option("--poses", help="Random poses of an everyday object.")] = 2,
    seed: Seed = 0,
    limit: Annotated[int | None, typer.Option("--limit", help="At most so many sets.")] = None,
    debug: Debug = False,
) -> None:
    """Render six views, normals, depth and a photo of every mesh; sets that exist are kept."""
    from img2mv3d.cli import lab

    lab.render(meshes, out, poses, seed, limit)


@train_app.command("encoder")
def train_encoder(
    data: DataFolder,
    out: OutFolder = Path("runs/encoder"),
    minutes: Minutes = 60.0,
    seed: Seed = 0,
    start: FirstBundle = None,
    debug: Debug = False,
) -> None:
    """The small image encoder, on the teacher's latents."""
    from img2mv3d.cli import lab

    lab.train("encoder", data, out, minutes, seed, start)


@train_app.command("decoder")
def train_decoder(
    data: DataFolder,
    out: OutFolder = Path("runs/decoder"),
    minutes: Minutes = 120.0,
    seed: Seed = 0,
    start: FirstBundle = None,
    debug: Debug = False,
) -> None:
    """The plain decoder, then the parts that look across views."""
    from img2mv3d.cli import lab

    lab.train("decoder", data, out, minutes, seed, start)


@train_app.command("multiview")
def train_multiview(
    data: DataFolder,
    out: OutFolder = Path("runs/multiview"),
    minutes: Minutes = 240.0,
    seed: Seed = 0,
    start: FirstBundle = None,
    debug: Debug = False,
) -> None:
    """The denoiser that imagines six views."""
    from img2mv3d.cli import lab

    lab.train("multiview", data, out, minutes, seed, start)


@train_app.command("all")
def train_all(
    data: Annotated[Path | None, typer.Argument(help="As above; with --toy it is made [OUT/data].")] = None,
    out: OutFolder = Path("runs/all"),
    minutes: Minutes = 480.0,
    seed: Seed = 0,
    toy: Annotated[bool, typer.Option("--toy", help="Tiny networks on a few made-up objects: does it run?")] = False,
    debug: Debug = False,
) -> None:
    """Everything, one after the other, within the minutes; ends with a bundle that --bundle takes.

    \b
    img2mv3d train all DATA --minutes 480 -o runs/all
    img2mv3d run photo.png --bundle runs/all/bundle
    """
    from img2mv3d.cli import lab

    lab.train_all(data, out, minutes, seed, toy)

"""The commands of the six stages: each on what it takes, to the folder of its input.

In: a path as typed. Out: files, one path on stdout.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from img2mv3d.cli.flags import LAYOUTS, STAGE_BY_STAGE, TEXT, command, flags_of, of_a_run, typed_in
from img2mv3d.cli.wanted import ENDINGS
from img2mv3d.errors import InputError, UsageError

if TYPE_CHECKING:
    from img2mv3d.flow.entry import Source

app = typer.Typer(**TEXT)

Photo = Annotated[Path, typer.Argument(help="A photo of one object: PNG, JPEG, WebP, TIFF, ...")]
Input = Annotated[Path, typer.Argument(help="A file of an earlier stage, or a run's folder.")]
Run = Annotated[Path | None, typer.Argument(help="A run's folder or its surface.npz (out/, else here).")]
DepthFrom = Annotated[
    str | None, typer.Option("--depth", help="neus (a coarse fit), none, a depth.npz or a mesh.", show_default="neus")
]
LayoutOf = Annotated[
    Literal[*LAYOUTS] | None,
    typer.Option(
        "--layout", metavar="NAME", help=f"Layout of the views: {', '.join(LAYOUTS)}.", show_default="detected"
    ),
]
PhotoOf = Annotated[
    Path | None, typer.Option("--photo", help="The photo that a bare tensor of latents was generated from.")
]
RigOf = Annotated[
    str | None,
    typer.Option("--rig", metavar="FILE", help="Cameras of a bare tensor, JSON.", show_default="the six views"),
]
Unscaled = Annotated[bool, typer.Option("--unscaled", help="The bare tensor is not yet times 0.18215.")]


@command(app, *of_a_run("mask", *flags_of("prepare")), group=STAGE_BY_STAGE)
def prepare(photo: Photo, **flags: Any) -> None:
    """Cut the object out of a photo and frame it: subject.png.

    \b
    img2mv3d prepare photo.jpg --remover grabcut -o out/
    """
    run_stage("prepare", photo, typed_in(flags))


@command(app, *of_a_run("mask", *flags_of("prepare", "shape", "generate")), group=STAGE_BY_STAGE)
def generate(path: Input, **flags: Any) -> None:
    """Generate six views of the object as latents: latents.pt. Takes a photo, subject.png or a run's folder.

    \b
    img2mv3d generate out/ --steps 30 --seed 1
    """
    run_stage("generate", path, typed_in(flags))


@command(app, *of_a_run(*flags_of("depth")), group=STAGE_BY_STAGE)
def depth(path: Input, **flags: Any) -> None:
    """Decode views one by one and fit a coarse surface: depth.npz. Takes latents.pt, a folder of views, a run's folder.

    \b
    img2mv3d depth out/latents.pt
    """
    run_stage("depth", path, typed_in(flags))


@command(app, *of_a_run(*flags_of("depth", "decode")), group=STAGE_BY_STAGE)
def decode(
    path: Input,
    depth: DepthFrom = None,
    layout: LayoutOf = None,
    photo: PhotoOf = None,
    rig: RigOf = None,
    unscaled: Unscaled = False,
    **flags: Any,
) -> None:
    """Decode latents into views that agree to the pixel: views/. Takes latents.pt, a folder of views, a run's folder.

    A folder of views (color_front.png and the others) is encoded first. A bare tensor in a .pt, .npy or .safetensors
    file goes with --photo: latents [6 or 12, 4, h, w] of any generator on Stable Diffusion's autoencoder, normals
    before colours. Results go to the folder of the input.

    \b
    img2mv3d decode latents.pt --depth neus
    img2mv3d decode tensor.npy --photo photo.png --unscaled -o out/
    img2mv3d decode VIEWS_DIR --depth mesh.glb -o better/
    """
    typed = typed_in(flags)
    if photo is not None:
        path, typed = adopted(path, photo, typed, rig, unscaled)
    elif rig is not None or unscaled:
        raise UsageError("--rig and --unscaled go with a bare tensor and its --photo")
    else:
        path, typed = ours(path, typed, layout, size_matters=True)
    run_stage("decode", path, typed, depth)


@command(app, *of_a_run(*flags_of("reconstruct")), group=STAGE_BY_STAGE)
def reconstruct(path: Input, layout: LayoutOf = None, **flags: Any) -> None:
    """Fit the final surface to views: surface.npz. Takes a folder of views or a run's folder.

    \b
    img2mv3d reconstruct VIEWS_DIR -o out/
    """
    run_stage("reconstruct", *ours(path, typed_in(flags), layout, size_matters=False))


@command(app, *of_a_run(*flags_of("export")), group=STAGE_BY_STAGE)
def export(path: Run = None, **flags: Any) -> None:
    """Write the mesh of a run: mesh.glb, or another format. Without a folder: the run in out/, else here.

    \b
    glb, obj  texture, +Y up; metres, one world unit is 1 m unless --size
              says otherwise
    ply       colours at the vertices, +Y up, as glb
    stl, 3mf  for printing: millimetres, +Z up, on the plate, 100mm unless
              --size says otherwise; 3mf has colours
    usdz      texture, metres, +Y up, on the ground, 100mm; needs usd-core:
              pip install 'img2mv3d[usd]'

    \b
    img2mv3d export --format glb
    img2mv3d export out/ --format obj --faces 5000 --elevation 20
    img2mv3d export --format 3mf --size 80mm
    img2mv3d export --format obj --up z

    If the photo was taken from above, the mesh is turned upright: by the elevation that the shape network predicts,
    where it is sure, or by --elevation. Where it is not sure and the base seems to lean, a note suggests an angle. glb
    and usdz prescribe +Y as up: with --up z, their viewers show the mesh lying down.
    """
    run_stage("export", run_here() if path is None else path, typed_in(flags))


def run_stage(stage: str, path: Path, typed: Mapping[str, Any], depth: str | None = None) -> None:
    """One stage on what it takes; results go to -o, else to the folder of the input (out/ for a photo). depth: what
    stands in for the quick fit."""
    from img2mv3d.cli.carry import carry
    from img2mv3d.cli.target import target_of
    from img2mv3d.flow.entry import source_of

    typed, target = target_of(typed, stage)
    source = _taken(stage, source_of(path))
    if depth is not None:
        source = replace(source, depth=_depth_source(depth))
    out = typed.get("out") or (Path("out") if source.kind == "photo" else source.root)
    if source.kind == "pictures" and (Path(out) / "views").absolute() == path.absolute():
        raise UsageError(f"{path} would be overwritten by its own result; give another folder with -o")
    carry(source, Path(out), stage, typed, target=target)


def taken_by(stage: str, path: Path, typed: Mapping[str, Any]) -> Source:
    """The file of a stage as `stage` takes it, in a list of many; views of another program become ours under -o."""
    from img2mv3d.flow.entry import source_of

    if stage not in ("decode", "reconstruct"):
        return source_of(path)
    if path.is_dir():
        path, _ = ours(path, typed, None, size_matters=stage == "decode")
    return _taken(stage, source_of(path))


def ours(
    path: Path, typed: Mapping[str, Any], layout: str | None, *, size_matters: bool
) -> tuple[Path, Mapping[str, Any]]:
    """Views of another program become ours first, in foreign/ under the results: the path and flags to go on with.
    Others stay as they are. Raises ViewsError."""
    from img2mv3d.readers.third_party_views import layout_of, read_foreign, resized
    from img2mv3d.values import save_views

    name = layout or layout_of(path)
    if name is None:
        return path, typed
    views = read_foreign(path, name)
    out = Path(typed.get("out") or (path if path.is_dir() else path.parent))
    save_views(resized(views) if size_matters else views, out / "foreign")
    rig = f"{len(views.rig)} {views.rig.kind} views"
    print(f"note: {path}: views of {name}, {rig}, written as ours to {out / 'foreign'}", file=sys.stderr)
    return out / "foreign", {**typed, "out": out}


def adopted(
    path: Path, photo: Path, typed: Mapping[str, Any], rig: str | None, unscaled: bool
) -> tuple[Path, Mapping[str, Any]]:
    """A bare tensor becomes latents of ours first, in foreign/ under the results: the path and flags to go on with.
    Raises InputError and UsageError of every kind."""
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.flow.bare import adopt
    from img2mv3d.plans import STANDARD, PrepareOptions

    bundle = load_bundle(typed.get("bundle", STANDARD.bundle))
    latents, subject = adopt(path, photo, rig, bundle, unscaled=unscaled, options=PrepareOptions())
    out = Path(typed.get("out") or path.parent)
    (out / "foreign").mkdir(parents=True, exist_ok=True)
    latents.save(out / "foreign")
    subject.save(out / "foreign")
    kinds = "colours" if latents.normal is None else "normals and colours"
    print(f"note: {path}: {kinds} of {len(latents.rig)} views, written as ours to {out / 'foreign'}", file=sys.stderr)
    return out / "foreign" / "latents.pt", {**typed, "out": out}


def run_here() -> Path:
    """The run that `export` means when nobody names one: in out/, else here. Raises InputError."""
    for folder in (Path("out"), Path()):
        if (folder / "surface.npz").exists():
            return folder
    raise InputError("no run in out/ or here (surface.npz); name its folder: img2mv3d export FOLDER")


def _taken(stage: str, source: Source) -> Source:
    """The source as the stage takes it. Raises UsageError when it does not."""
    from img2mv3d.flow.graph import GRAPH, name_of

    takes = GRAPH[stage].takes
    if source.kind == "views" and "pictures" in takes:
        source = replace(source, kind="pictures")
    if source.kind not in takes:
        wanted = " or ".join(map(name_of, takes))
        if source.kind != "photo":
            raise UsageError(f"{stage} takes {wanted}; {source.path} is {name_of(source.kind)}")
        if source.path.suffix.lower() not in ENDINGS:  # what is of no other kind counts as a photo
            raise UsageError(f"{stage} takes {wanted}; {source.path} is none of these")
        raise UsageError(
            f"{stage} takes {wanted}; {source.path} is a photo; `img2mv3d run {source.path} --until {stage}` starts"
            " from a photo"
        )
    return source


def _depth_source(depth: str) -> str:
    if depth in ("neus", "none") or Path(depth).is_file():
        return depth
    raise UsageError(f"--depth {depth}: expected neus, none, a depth.npz or a mesh; there is no file of that name")

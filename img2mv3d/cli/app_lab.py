"""The commands of the workshop: data and train.

In: the words on the command line. Out: folders of results. Why here: the help of a command is its docstring here; `lab`
does the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from img2mv3d.cli.flags import TEXT

app = typer.Typer(**TEXT)
data_app = typer.Typer(help="Pictures to train on.", **TEXT)
train_app = typer.Typer(help="Train the networks of a bundle.", **TEXT)
app.add_typer(data_app, name="data")
app.add_typer(train_app, name="train")

Minutes = Annotated[float, typer.Option("--minutes", help="Wall clock for the training.")]
FirstBundle = Annotated[str | None, typer.Option("--start", help="Begin with this bundle's networks.")]
DataFolder = Annotated[Path, typer.Argument(help="Folder that `img2mv3d data render` wrote.")]
OutFolder = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")]
Seed = Annotated[int, typer.Option("--seed", help="Of all random numbers.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the trace of an error.")]


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
    variant: Annotated[str | None, typer.Option("--variant", hidden=True)] = None,  # of version 0.1.0
    steps: Annotated[int | None, typer.Option("--steps", help="Cross-view steps, instead of minutes.")] = None,
    keep_plain: Annotated[
        bool, typer.Option("--keep-plain", help="Stand on --start's plain decoder as it is; nothing else is taken.")
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", help="Stand on svd or sd, as `weights add` took it; no plain decoder.")
    ] = None,
    bundle: Annotated[str, typer.Option("--bundle", help="With --base: whose latents are decoded.")] = "wonder3d",
    full: Annotated[bool, typer.Option("--full-images", help="Whole pictures in every step, no bands.")] = False,
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu or cuda: where what looks across views is trained.")
    ] = "auto",
    seed: Seed = 0,
    start: FirstBundle = None,
    debug: Debug = False,
) -> None:
    """The plain decoder, then the parts that look across views: OUT/bundle.

    On several processors or cards: torchrun --nproc-per-node N -m img2mv3d train decoder ...

    \b
    img2mv3d train decoder DATA --start mini
    img2mv3d train decoder DATA --bundle wonder3d --base svd
    """
    from img2mv3d.cli import lab
    from img2mv3d.errors import UsageError

    if variant not in (None, "rough-outlines"):
        raise UsageError(f"--variant {variant}: ablations are trained by `python -m experiments.decoder.train`")
    if base is not None:
        if start is not None or keep_plain or full:
            raise UsageError("--base begins with a published decoder; leave --start, --keep-plain, --full-images out")
        lab.train_decoder_on(base, bundle, data, out, minutes, seed, steps, device)
        return
    lab.train_decoder(data, out, minutes, seed, start, steps, keep_plain, full, device)


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

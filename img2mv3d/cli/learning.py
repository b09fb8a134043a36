"""What the commands of learning and measuring share: parameters, what data must look like, torch made ready."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from img2mv3d.cli.flags import OUTPUT
from img2mv3d.errors import InputError

if TYPE_CHECKING:
    import torch

Corpus = Annotated[Path, typer.Argument(help="Corpus: a folder with manifest.tsv and objects/.")]
Corpora = Annotated[list[Path], typer.Argument(help="Folders with manifest.tsv and objects/.")]
DataFolder = Annotated[Path, typer.Argument(help="Folder that `img2mv3d data render` wrote.")]
DataOrToy = Annotated[Path | None, typer.Argument(help="As above; with --toy it is made (OUT/data).")]
ShapeFolder = Annotated[Path, typer.Argument(help="Folder that `img2mv3d data shapes` wrote.")]
OutFolder = Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.", rich_help_panel=OUTPUT)]
Minutes = Annotated[float, typer.Option("--minutes", min=0, help="Training time, wall clock.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
Start = Annotated[str | None, typer.Option("--start", help="Start from this bundle's networks.")]
Count = Annotated[int, typer.Option("--count", min=1, help="Held-out objects.")]
AtMost = Annotated[int | None, typer.Option("--count", min=1, help="Only the first N objects.")]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method", metavar="NAME=BUNDLE|FOLDER", help="A bundle, or a folder of results by object; repeatable."
    ),
]
FormerMethods = Annotated[list[str] | None, typer.Option("--arm", hidden=True)]  # of version 0.1.0
Generator = Annotated[str, typer.Option("--bundle", help="Generates latents for methods without a denoiser.")]
Rerender = Annotated[
    bool, typer.Option("--rerender", help="Render final fits to every method's views: a minute per object.")
]


def check_data(data: Path) -> None:
    """Raises InputError where no renders lie."""
    if not (data / "index.tsv").is_file():
        raise InputError(f"{data}: no renders (index.tsv) in there; `img2mv3d data render` makes them")


def check_corpus(meshes: Path) -> None:
    """Raises InputError where no corpus lies."""
    if not (meshes / "manifest.tsv").is_file() or not (meshes / "objects").is_dir():
        raise InputError(f"{meshes}: no corpus (manifest.tsv and objects/) in there")


def ready_torch(device: str = "cpu") -> torch.device:
    """As many threads as the machine has to give, shared with the processes beside this one; the device by that name,
    in a process group the card that is this process's own. Raises as `runners.ready_torch`."""
    import torch

    from img2mv3d import machine
    from img2mv3d.flow import runners

    device = machine.guess_device() if device == "auto" else device
    group = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    place = runners.ready_torch(f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and group > 1 else device)
    torch.set_num_threads(max(machine.thread_count() // group, 1))
    if place.index is not None:
        torch.cuda.set_device(place)
    return place

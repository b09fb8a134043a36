"""The commands `data`, which renders pictures to train on, and `train`, which trains the networks of a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from img2mv3d.cli.flags import LEARNING, TEXT, command
from img2mv3d.cli.learning import (
    Corpora,
    Corpus,
    DataFolder,
    DataOrToy,
    Minutes,
    OutFolder,
    Seed,
    ShapeFolder,
    Start,
    check_corpus,
    check_data,
    ready_torch,
)
from img2mv3d.cli.lines import say
from img2mv3d.cli.spread import RENDERING, Cluster, Jobs, Rendering, chunks, spread
from img2mv3d.errors import UsageError

if TYPE_CHECKING:
    from img2mv3d.bundles.weights import Bundle

app = typer.Typer(**TEXT)
data_app = typer.Typer(help="Render training data.", **TEXT)
train_app = typer.Typer(help="Train the networks of a bundle.", **TEXT)
app.add_typer(data_app, name="data", rich_help_panel=LEARNING)
app.add_typer(train_app, name="train", rich_help_panel=LEARNING)

Poses = Annotated[int, typer.Option("--poses", min=1, help="Random poses of each everyday object.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Maximum number of sets.")]
Pictures = Annotated[int, typer.Option("--pictures", min=64, help="Number of pictures, in shards of 64.")]
Workers = Annotated[int, typer.Option("--jobs", min=1, max=256, help="Number of rendering processes.")]
Variant = Annotated[str | None, typer.Option("--variant", hidden=True)]  # of version 0.1.0
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Cross-view steps, instead of minutes.")]
KeepPlain = Annotated[
    bool, typer.Option("--keep-plain", help="Keep --start's plain decoder as it is; use nothing else of it.")
]
Base = Annotated[
    Literal["svd", "sd"] | None,
    typer.Option("--base", help="Start from a decoder that `weights add` added; no plain decoder."),
]
Decoded = Annotated[str, typer.Option("--bundle", help="With --base: whose latents are decoded.")]
Full = Annotated[bool, typer.Option("--full-images", help="Train on whole pictures, not on bands.")]
Device = Annotated[str, typer.Option("--device", help="Device of the cross-view part: auto, cpu or cuda.")]
Recipe = Annotated[
    Literal["paper"] | None, typer.Option("--recipe", help="The paper's parts, latents, depth noise and loss alone.")
]
Toy = Annotated[bool, typer.Option("--toy", help="Tiny networks on a few synthetic objects, to test the setup.")]


@command(data_app, "debug", name="render")
def data_render(
    meshes: Corpus,
    out: OutFolder = Path("data"),
    poses: Poses = 2,
    seed: Seed = 0,
    limit: Limit = None,
    cluster: Cluster = None,
    jobs: Jobs = None,
    **flags: Any,
) -> None:
    """Render six views, normals, depth and a photo of every mesh; sets that exist are kept."""
    check_corpus(meshes)
    from img2mv3d.data.renders import planned_sets, render_corpus

    if cluster is not None:
        names = [f"{entry.id}.{pose}" for entry, pose in planned_sets(meshes, poses=poses, seed=seed, limit=limit)]
        work = Rendering(meshes.absolute(), out.absolute(), seed)
        spread(cluster, work, chunks(names), RENDERING, jobs, out)
    for line in render_corpus(meshes, out, poses=poses, seed=seed, limit=limit, progress=_counted("rendered")):
        say(f"skipped: {line}")
    print(out.absolute())


@command(data_app, "debug", name="shapes")
def data_shapes(
    meshes: Corpora,
    out: OutFolder = Path("shapes"),
    pictures: Pictures = 20_000,
    jobs: Workers = 1,
    seed: Seed = 0,
    **flags: Any,
) -> None:
    """Pictures of known bodies, for `train shape`; what is there is kept, and a training may read meanwhile.

    \b
    img2mv3d data shapes CORPUS -o shapes --pictures 20000 --jobs 2
    """
    from img2mv3d.data.shape_set import make_set

    make_set(meshes, out, pictures, jobs=jobs, seed=seed, report=say)
    print(out.absolute())


@command(train_app, "debug", name="shape")
def train_shape(
    data: ShapeFolder,
    out: OutFolder = Path("runs/shape"),
    minutes: Minutes = 720.0,
    seed: Seed = 0,
    start: Start = None,
    **flags: Any,
) -> None:
    """The shape network; ends with a bundle: that of --start with the new network in it.

    \b
    img2mv3d train shape shapes --start mini --minutes 120
    img2mv3d run photo.png --bundle runs/shape/bundle
    """
    ready_torch()
    from img2mv3d.train.recipes import train_shape

    print(train_shape(data, out, minutes, seed=seed, start=_bundle(start), report=say).absolute())


@command(train_app, "debug", name="encoder")
def train_encoder(
    data: DataFolder,
    out: OutFolder = Path("runs/encoder"),
    minutes: Minutes = 60.0,
    seed: Seed = 0,
    start: Start = None,
    **flags: Any,
) -> None:
    """The small image encoder, on the teacher's latents."""
    check_data(data)
    ready_torch()
    from img2mv3d.train.recipes import train_encoder

    train_encoder(data, out, minutes, seed=seed, start=_bundle(start), report=say)
    print(out.absolute())


@command(train_app, "debug", name="decoder")
def train_decoder(
    data: DataFolder,
    out: OutFolder = Path("runs/decoder"),
    minutes: Minutes = 120.0,
    variant: Variant = None,
    steps: Steps = None,
    keep_plain: KeepPlain = False,
    base: Base = None,
    bundle: Decoded = "wonder3d",
    recipe: Recipe = None,
    full: Full = False,
    device: Device = "auto",
    seed: Seed = 0,
    start: Start = None,
    **flags: Any,
) -> None:
    """The plain decoder, then the parts that look across views: OUT/bundle.

    On several processors or cards: torchrun --nproc-per-node N -m img2mv3d train decoder ...

    \b
    img2mv3d train decoder DATA --start mini
    img2mv3d train decoder DATA --bundle wonder3d --base svd
    """
    if variant not in (None, "rough-outlines"):
        raise UsageError(f"--variant {variant}: ablations are trained by `python -m experiments.decoder.train`")
    if keep_plain and start is None:
        raise UsageError("--keep-plain: say with --start whose plain decoder")
    if recipe and base == "sd":
        raise UsageError("--recipe paper: its base has temporal layers, which --base sd lacks; take --base svd")
    told = {"steps": steps, "seed": seed, "recipe": recipe}
    if base is not None:
        if start is not None or keep_plain or full:
            raise UsageError("--base begins with a published decoder; omit --start, --keep-plain and --full-images")
        return _train_on(base, bundle, data, out, minutes, device, **told)
    _train_decoder(data, out, minutes, device, start=start, keep_plain=keep_plain, full=full, **told)


@command(train_app, "debug", name="multiview")
def train_multiview(
    data: DataFolder,
    out: OutFolder = Path("runs/multiview"),
    minutes: Minutes = 240.0,
    seed: Seed = 0,
    start: Start = None,
    **flags: Any,
) -> None:
    """The denoiser that generates six views."""
    check_data(data)
    ready_torch()
    from img2mv3d.train.recipes import train_multiview

    train_multiview(data, out, minutes, seed=seed, start=_bundle(start), report=say)
    print(out.absolute())


@command(train_app, "debug", name="all")
def train_all(
    data: DataOrToy = None,
    out: OutFolder = Path("runs/all"),
    minutes: Minutes = 480.0,
    seed: Seed = 0,
    toy: Toy = False,
    **flags: Any,
) -> None:
    """Everything, one after the other, within the minutes; ends with a bundle that --bundle takes.

    \b
    img2mv3d train all DATA --minutes 480 -o runs/all
    img2mv3d run photo.png --bundle runs/all/bundle
    """
    if data is None and not toy:
        raise UsageError("give the folder that `img2mv3d data render` wrote, or --toy")
    if data is not None and not toy:
        check_data(data)
    ready_torch()
    from img2mv3d.train.recipes import train_all

    print(train_all(data or out / "data", out, minutes, toy=toy, seed=seed, report=say).absolute())


def _train_decoder(data: Path, out: Path, minutes: float, device: str, *, start: str | None, **told: object) -> None:
    check_data(data)
    place = ready_torch(device)
    from img2mv3d.train.recipes import train_decoder

    made = train_decoder(data, out, minutes, device=place, start=start, report=say, **told)
    if made is not None:
        print(made.absolute())


def _train_on(base: str, bundle: str, data: Path, out: Path, minutes: float, device: str, **told: object) -> None:
    check_data(data)
    place = ready_torch(device)
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.train.bases import train_on

    made = train_on(base, load_bundle(bundle), data, out, minutes, device=place, report=say, **told)
    if made is not None:
        say(f"`img2mv3d weights add {made}` adds it; then --decoder {base} uses it")
        print(made.absolute())


def _bundle(name: str | None) -> Bundle | None:
    from img2mv3d.bundles.weights import load_bundle

    return None if name is None else load_bundle(name)


def _counted(word: str) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            say(f"{word} {done} of {total}")

    return progress

"""The commands of the workshop: renders to train on, trainings.

In: folders and minutes as typed. Out: files under a folder, its path on stdout. Why here: they are long, resumable and
tell their progress line by line; the flow's screen would not fit them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from img2mv3d.errors import InputError, UsageError

if TYPE_CHECKING:
    import torch

    from img2mv3d.bundles.weights import Bundle


def render(meshes: Path, out: Path, poses: int, seed: int, limit: int | None) -> None:
    """Six views of every mesh of the corpus in `meshes` (manifest.tsv, objects/) into `out`."""
    if not (meshes / "manifest.tsv").is_file():
        raise InputError(f"{meshes}: no corpus (manifest.tsv and objects/) in there")
    from img2mv3d.data.renders import render_corpus

    failed = render_corpus(meshes, out, poses=poses, seed=seed, limit=limit, progress=_tell("rendered"))
    for line in failed:
        say(f"left out: {line}")
    print(out.absolute())


def train(what: str, data: Path, out: Path, minutes: float, seed: int, start: str | None) -> None:
    """Train one network for so many minutes; started again, it goes on where it stopped. start: a bundle whose
    networks it begins with, instead of random ones."""
    check_data(data)
    ready_torch()
    from img2mv3d.bundles.weights import load_bundle

    TRAININGS[what](data, out, minutes, seed, None if start is None else load_bundle(start))
    print(out.absolute())


def train_decoder(
    data: Path,
    out: Path,
    minutes: float,
    seed: int,
    start: str | None,
    steps: int | None,
    keep: bool,
    full: bool = False,
    device: str = "cpu",
) -> None:
    """The plain decoder and the cross-view decoder that stands on it; out/bundle holds both, for `eval consistency`.

    start: a bundle; its denoiser resamples half of the latents that both learn from, and its decoders are gone on with.
    keep: its plain decoder is left as it is, and the cross-view decoder starts from nothing.
    """
    if keep and start is None:
        raise UsageError("--keep-plain: say with --start whose plain decoder")
    check_data(data)
    place = ready_torch(device)
    from img2mv3d.bundles.weights import load_bundle, write_bundle
    from img2mv3d.train import crossview, decoder
    from img2mv3d.train.everything import bundle_notes
    from img2mv3d.train.process_group import joined, left

    bundle = None if start is None else load_bundle(start)
    resample = partial(decoder.resampler, None if bundle is None else bundle.generator(), seed)
    plain = None if bundle is None else bundle.plain_decoder().requires_grad_(True)
    if not keep:  # a third of the time: what looks across views stands on it
        told = {"seed": seed, "net": plain, "resample": resample((999, 999)), "report": say}
        plain = decoder.train(data, out / "plain", minutes / 3, **told)
    numbers = _numbers(bundle)
    former = bundle.crossview_decoder().state_dict() if bundle and not keep else None
    told = {"steps": steps, "seed": seed, "resample": resample((250, 999)), "report": say, "full": full}
    left_over = minutes if keep else minutes * 2 / 3
    folder = crossview.folder_in(out)
    across = crossview.train(
        data, plain.state_dict(), folder, left_over, numbers=numbers, start=former, device=place, **told
    )
    parts = {"plain_decoder": (plain.eval(), numbers), "crossview_decoder": (across, numbers)}
    if joined().first:
        words = [f"--seed {seed}", f"--steps {steps}" if steps else f"--minutes {minutes:g}"]
        words += [] if start is None else [f"--start {Path(start).name}"]
        words += ["--keep-plain"] * keep + ["--full-images"] * full
        training = {"command": " ".join(["img2mv3d train decoder DATA", *words])}
        training |= {"processes": joined().size} if joined().size > 1 else {}
        write_bundle(out / "bundle", parts, {"name": "crossview", **bundle_notes(data, training)})
        print((out / "bundle").absolute())
    left()


def train_decoder_on(
    base: str, bundle: str, data: Path, out: Path, minutes: float, seed: int, steps: int | None, device: str = "cpu"
) -> None:
    """A cross-view decoder on a published one that was brought with `weights add`, which takes what comes of it."""
    from img2mv3d.bundles.decoders import BASES

    if base not in BASES:
        raise UsageError(f"--base {base}: expected one of {', '.join(BASES)}")
    check_data(data)
    place = ready_torch(device)
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.train.bases import train_on

    told = {"steps": steps, "seed": seed, "device": place, "report": say}
    made = train_on(base, load_bundle(bundle), data, out, minutes, **told)
    say(f"`img2mv3d weights add {made}` takes it; --decoder {base} uses it then")
    print(made.absolute())


def train_all(data: Path | None, out: Path, minutes: float, seed: int, toy: bool) -> None:
    """All trainings in a row, and the bundle that comes of them. toy: made-up data, tiny networks."""
    if data is None and not toy:
        raise UsageError("give the folder that `img2mv3d data render` wrote, or --toy")
    if not toy:
        check_data(data)
    ready_torch()
    from img2mv3d.train.everything import train_all

    print(train_all(data or out / "data", out, minutes, toy=toy, seed=seed, report=say).absolute())


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def check_data(data: Path) -> None:
    """Raises InputError where no renders lie."""
    if not (data / "index.tsv").is_file():
        raise InputError(f"{data}: no renders (index.tsv) in there; `img2mv3d data render` makes them")


def ready_torch(device: str = "cpu") -> torch.device:
    """As many threads as the machine has to give, shared with the processes beside this one; the device by that name,
    in a group the card that is this process's own. Raises as `runners.ready_torch`."""
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


def _encoder(data: Path, out: Path, minutes: float, seed: int, start: Bundle | None) -> None:
    from img2mv3d.train.encoder import train

    net = None if start is None else start.encoder().requires_grad_(True)
    train(data, out, minutes, seed=seed, net=net, report=say)


def _multiview(data: Path, out: Path, minutes: float, seed: int, start: Bundle | None) -> None:
    from img2mv3d.nets.multiview import MultiViewUNet
    from img2mv3d.nets.tokens import TokenEncoder
    from img2mv3d.train.everything import TOKENS, UNET
    from img2mv3d.train.multiview import MultiViewNets, take_over, train

    net = MultiViewNets(MultiViewUNet(UNET), TokenEncoder(TOKENS))
    parts = {}
    if start is not None:
        generator = start.generator()
        take_over(net, generator.unet, generator.condition.tokens)
        parts = {"decoder": start.plain_decoder(), "encoder": start.encoder()}
    train(data, out, minutes, seed=seed, net=net, report=say, **parts)


TRAININGS: dict[str, Callable[[Path, Path, float, int, Bundle | None], None]] = {
    "encoder": _encoder,
    "multiview": _multiview,
}


def _numbers(bundle: Bundle | None) -> dict[str, object]:
    """Sizes of a bundle's plain decoder, for what stands on it."""
    if bundle is None:
        return {}
    config = bundle.manifest["parts"]["plain_decoder"]["config"]
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}


def _tell(word: str) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            say(f"{word} {done} of {total}")

    return progress

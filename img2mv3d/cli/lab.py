"""The commands of the workshop: renders to train on, trainings.

In: folders and minutes as typed. Out: files under a folder, its path on stdout. Why here: they are long, resumable and
tell their progress line by line; the flow's screen would not fit them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from img2mv3d.errors import InputError


def render(meshes: Path, out: Path, poses: int, seed: int, limit: int | None) -> None:
    """Six views of every mesh of the corpus in `meshes` (manifest.tsv, objects/) into `out`."""
    if not (meshes / "manifest.tsv").is_file():
        raise InputError(f"{meshes}: no corpus (manifest.tsv and objects/) in there")
    from img2mv3d.data.renders import render_corpus

    failed = render_corpus(meshes, out, poses=poses, seed=seed, limit=limit, progress=_tell("rendered"))
    for line in failed:
        say(f"left out: {line}")
    print(out.absolute())


def train(what: str, data: Path, out: Path, minutes: float, seed: int) -> None:
    """Train one network for so many minutes; started again, it goes on where it stopped."""
    if not (data / "index.tsv").is_file():
        raise InputError(f"{data}: no renders (index.tsv) in there; `img2mv3d data render` makes them")
    import torch

    from img2mv3d import machine

    torch.set_num_threads(machine.thread_count())
    TRAININGS[what](data, out, minutes, seed)
    print(out.absolute())


def say(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def _encoder(data: Path, out: Path, minutes: float, seed: int) -> None:
    from img2mv3d.train.encoder import train

    train(data, out, minutes, seed=seed, report=say)


def _decoder(data: Path, out: Path, minutes: float, seed: int) -> None:
    from img2mv3d.train import crossview, decoder

    # a third for the plain decoder: what looks across views stands on it
    plain = decoder.train(data, out / "plain", minutes / 3, seed=seed, report=say)
    crossview.train(data, plain.state_dict(), out / "crossview", minutes * 2 / 3, seed=seed, report=say)


def _multiview(data: Path, out: Path, minutes: float, seed: int) -> None:
    from img2mv3d.train.multiview import train

    train(data, out, minutes, seed=seed, report=say)


TRAININGS: dict[str, Callable[[Path, Path, float, int], None]] = {
    "encoder": _encoder,
    "decoder": _decoder,
    "multiview": _multiview,
}


def _tell(word: str) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            say(f"{word} {done} of {total}")

    return progress

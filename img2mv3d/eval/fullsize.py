"""The published sizes on this machine: random weights, two guided steps, one cross-view decode; seconds and memory.

In: nothing but time and memory. Out: Markdown, `python -m img2mv3d.eval.fullsize docs/fullsize.md`. Why here: without
the published file, what it will cost can be measured all the same; what 20 and 50 steps take is multiplied out.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from img2mv3d import machine
from img2mv3d.diffusion.contract import Condition, conditioned
from img2mv3d.diffusion.sampler import sample
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.eval.bench import machine as about_machine
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewDecoder
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.vae import PlainDecoder

UNET = UNetConfig(
    channels=(320, 640, 1280, 1280),
    reach=("views", "views", "views", "off", "views"),
    heads=(8, 8, 8, 8),
    token_width=768,
    layers=2,
)
STEPS = (20, 50)  # what the measured steps are multiplied out to
DISC = 0.5  # radius of the object in world units: what is hit is what the attention computes


@dataclass(frozen=True)
class Part:
    """What one part took. seconds: of the processor, all threads (others may use the machine). weights, peak: bytes, of
    the parameters and of all resident memory above what was there before the part was made.
    """

    what: str
    seconds: float
    weights: int
    peak: int


def parts(steps: int = 2, size: int = 256, only: str = "unet,plain,crossview") -> Iterator[Part]:
    """The parts named in `only`, each by itself, so that no peak hides another; pictures of `size` px."""
    if "unet" in only.split(","):
        yield measure(f"UNet, {steps} guided steps, one branch after the other", _unet, _denoise(steps, size))
    if "plain" in only.split(","):
        yield measure("plain decode of a view", PlainDecoder.stable_diffusion, _plain(size))
    if "crossview" in only.split(","):
        svd = CrossViewDecoder.stable_video_diffusion
        yield measure("cross-view decode of six views, SVD's size", svd, _crossview(size))


@torch.no_grad()
def measure(what: str, make: Callable[[], Any], call: Callable[[Any], None]) -> Part:
    """Make a network, call it once, forget it."""
    gc.collect()
    machine.reset_peak_memory()
    before = machine.peak_memory()
    net = make().eval()
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    started = time.process_time()
    call(net)
    return Part(what, time.process_time() - started, weights, machine.peak_memory() - before)


def table(found: Sequence[Part], steps: int) -> str:
    """What was measured, and what longer runs would take, as Markdown."""
    lines = ["| what | CPU seconds | weights | peak above an empty process |", "|---|---|---|---|"]
    for part in found:
        lines.append(f"| {part.what} | {part.seconds:.0f} | {_gb(part.weights)} | {_gb(part.peak)} |")
    lines += ["", "| multiplied out, not measured | " + " | ".join(f"{n} steps" for n in STEPS) + " |"]
    lines += ["|---|" + "---|" * len(STEPS)]
    for part in found:
        if "guided steps" in part.what:
            minutes = " | ".join(f"{part.seconds / steps * n / 60:.0f} min" for n in STEPS)
            lines.append(f"| {part.what.partition(', ')[2].partition(', ')[2]} | {minutes} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """python -m img2mv3d.eval.fullsize docs/fullsize.md --steps 2"""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--only", default="unet,plain,crossview")
    given = parser.parse_args(arguments)
    about, found = about_machine(), []
    for part in parts(given.steps, only=given.only):
        found.append(part)
        print(f"{part.what}: {part.seconds:.0f} s, {_gb(part.peak)}", flush=True)
        text = ABOUT.format(about=about, threads=torch.get_num_threads())
        given.out.write_text(f"{text}\n{table(found, given.steps)}\n", encoding="utf-8")


ABOUT = """# The published sizes on a CPU

Written by `python -m img2mv3d.eval.fullsize docs/fullsize.md`. {about} {threads} thread(s), fp32, random weights (the
published ones have not been opened by anybody who wrote this), guidance 3, six views of 256 px in two domains. Peaks
are resident memory above that of the process with its libraries loaded. CPU seconds of one thread: on an idle machine
about as many wall seconds.
"""


def _unet() -> MultiViewUNet:
    return MultiViewUNet(UNET)


def _denoise(steps: int, size: int) -> Callable[[Any], None]:
    def call(net: Any) -> None:
        rng = torch.Generator().manual_seed(0)
        rows = 2 * len(SIX_VIEWS)
        noise, told = (torch.randn(rows, 4, size // 8, size // 8, generator=rng) for _ in range(2))
        camera = torch.randn(rows, UNET.camera_width, generator=rng)
        condition = Condition(told, torch.randn(rows, 1, UNET.token_width, generator=rng), camera)
        denoise = conditioned(net, condition, 3.0, at_once=False)
        sample(denoise, noise, SCHEDULES["sd-1.x"], steps=steps, eta=1.0, rng=rng)

    return call


def _plain(size: int) -> Callable[[Any], None]:
    def call(net: Any) -> None:
        net.decode(torch.randn(1, 4, size // 8, size // 8))

    return call


def _crossview(size: int) -> Callable[[Any], None]:
    def call(net: Any) -> None:
        for block in net.attention:
            torch.nn.init.ones_(block.out.bias)  # a fresh block adds zeros, and what adds zeros is not computed
        grid = torch.linspace(-1, 1, size)
        inside = (grid[:, None] ** 2 + grid[None, :] ** 2).sqrt() < DISC
        z = torch.where(inside, -(DISC**2 - grid[:, None] ** 2 - grid[None, :] ** 2).clamp(min=0).sqrt(), 0.0)
        z, hit = (m.float().expand(len(SIX_VIEWS), -1, -1).contiguous() for m in (z, inside))
        net.decode(torch.randn(len(SIX_VIEWS), 4, size // 8, size // 8), z, hit, torch.ones(4, size, size), SIX_VIEWS)

    return call


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


if __name__ == "__main__":
    main()

"""Forecast beside measurement: the published sizes with random weights, and a run with mini.

`python -m experiments.benches.published_sizes OUT.md`; 20 and 50 steps are multiplied out.
"""

from __future__ import annotations

import argparse
import gc
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.benches.runs import PHOTO
from experiments.benches.runs import machine as about_machine
from img2mv3d import machine
from img2mv3d.bundles.decoders import Decoder, choose
from img2mv3d.bundles.forecast import (
    COVERED,
    EXPORT,
    FINAL_FIT,
    PREPARE,
    QUICK_FIT,
    Cost,
    Need,
    decode_need,
    depth_need,
    generate_need,
    metered,
    pace,
)
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.conventions import LATENT_FACTOR, LATENT_SCALE
from img2mv3d.diffusion.contract import Condition, conditioned
from img2mv3d.diffusion.sampler import sample
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.flow.entry import Source
from img2mv3d.flow.graph import STAGES
from img2mv3d.flow.pipeline import run
from img2mv3d.flow.progress import Report
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.clip import SdDecoder
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.vae import SD_CHANNELS
from img2mv3d.plans import STANDARD

UNET = UNetConfig(
    channels=(320, 640, 1280, 1280),
    reach=("views", "views", "views", "off", "views"),
    heads=(8, 8, 8, 8),
    token_width=768,
    layers=2,
)
VIDEO = {"channels": SD_CHANNELS, "layers_per_block": 2, "groups": 32, "scale": LATENT_SCALE, "temporal": True}
STILL = {
    "block_out_channels": SD_CHANNELS,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
STEPS = (20, 50)  # what the measured steps are multiplied out to
DISC = math.sqrt(4 * COVERED / math.pi)  # radius of the object in world units, as large as forecasts take it to be


@dataclass(frozen=True)
class Part:
    """What one part took, and what was foretold.

    seconds: of the processor, all threads (others may use the machine).
    weights, peak: bytes, of the parameters and of all resident memory above what was there before the part was made;
        peak 0: not measured.
    foretold: seconds and bytes, likewise.
    """

    what: str
    seconds: float
    weights: int
    peak: int
    foretold: tuple[float, float] = (0.0, 0.0)


def parts(steps: int = 2, size: int = 256, only: str = "unet,plain,crossview,mini") -> Iterator[Part]:
    """The parts named in `only`, each by itself, so that no peak hides another; pictures of `size` px."""
    wanted, cells = only.split(","), size // LATENT_FACTOR
    if "unet" in wanted:
        what = f"UNet, {steps} guided steps, one branch after the other"
        forecast = _need(lambda: MultiViewUNet(UNET), lambda net: net(*_given(cells)), 2 * steps)
        yield measure(what, lambda: MultiViewUNet(UNET), _denoise(steps, cells), forecast)
    if "plain" in wanted:
        forecast = _need(lambda: SdDecoder(STILL), lambda net: net.decode(torch.empty(1, 4, cells, cells)), 1)
        yield measure("plain decode of a view", lambda: SdDecoder(STILL), _plain(cells), forecast)
    if "crossview" in wanted:
        published = CrossViewConfig.from_dict(VIDEO)
        forecast = decode_need(Decoder("svd", "", "", lambda: CrossViewDecoder(published), VIDEO), size)
        what = "cross-view decode of six views, SVD's size"
        yield measure(what, lambda: CrossViewDecoder(published), _crossview(size), forecast)
    if "mini" in wanted:
        yield from stages()


@torch.no_grad()
def measure(what: str, make: Callable[[], Any], call: Callable[[Any], None], forecast: Need) -> Part:
    """Make a network, call it once, forget it.

    forecast: what was counted beforehand; its seconds are those of the pace just before the call.
    """
    gc.collect()
    machine.reset_peak_memory()
    before = machine.peak_memory()
    net = make().eval()
    weights = sum(p.numel() * p.element_size() for p in net.parameters())
    foretold = forecast.seconds(pace(clock=time.process_time))
    started = time.process_time()
    call(net)
    took = time.process_time() - started
    return Part(what, took, weights, machine.peak_memory() - before, (foretold, float(forecast.peak)))


def stages() -> Iterator[Part]:
    """The stages of a run with mini on the example photo, without a store, the second time: the first loads what is
    loaded once in a process. Of memory nothing: in one process a stage sees what the others left.
    """
    bundle, clock = load_bundle("mini"), _Clock()
    settings = bundle.manifest["generate"]
    need = generate_need(bundle, steps=settings["steps"], guidance=settings["guidance"], at_once=True)
    needs = {"generate": need, "depth": depth_need(bundle), "decode": decode_need(choose("crossview", bundle))}
    rest = {"prepare": PREPARE, "depth": QUICK_FIT, "reconstruct": FINAL_FIT, "export": EXPORT}
    with tempfile.TemporaryDirectory() as place:
        run(Source("photo", PHOTO), Path(place) / "first", STANDARD, report=clock)
        rate = pace(clock=time.process_time)
        run(Source("photo", PHOTO), Path(place) / "second", STANDARD, report=clock)
    for stage in STAGES:
        foretold = rest.get(stage, (0.0, 0.0))[0]
        if need := needs.get(stage):
            foretold += need.loading + need.seconds(rate)
        yield Part(f"mini, {stage}", clock.took[stage], 0, 0, (foretold, 0.0))


def table(found: Sequence[Part], steps: int) -> str:
    """What was measured beside what was foretold, and what longer runs would take, as Markdown."""
    lines = ["| what | CPU seconds | forecast | off by | weights | peak above an empty process | forecast | off by |"]
    lines += ["|" + "---|" * 8]
    for part in found:
        row = [part.what, f"{part.seconds:.1f}", f"{part.foretold[0]:.1f}", _off(part.foretold[0], part.seconds)]
        memory = [_gb(part.weights), _gb(part.peak), _gb(part.foretold[1]), _off(part.foretold[1], part.peak)]
        lines.append("| " + " | ".join(row + (memory if part.peak else [""] * 4)) + " |")
    lines += ["", "| multiplied out, not measured | " + " | ".join(f"{n} steps" for n in STEPS) + " |"]
    lines += ["|---|" + "---|" * len(STEPS)]
    for part in found:
        if "guided steps" in part.what:
            minutes = " | ".join(f"{part.seconds / steps * n / 60:.0f} min" for n in STEPS)
            peaks = f"| peak, the same at every step | {' | '.join([_gb(part.peak)] * len(STEPS))} |"
            lines += [f"| {part.what.partition(', ')[2].partition(', ')[2]} | {minutes} |", peaks]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The report in OUT."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--only", default="unet,plain,crossview,mini")
    given = parser.parse_args(arguments)
    about, found = about_machine(), []
    for part in parts(given.steps, only=given.only):
        found.append(part)
        print(f"{part.what}: {part.seconds:.1f} s, {_gb(part.peak)}", flush=True)
        text = ABOUT.format(about=about, threads=torch.get_num_threads())
        given.out.write_text(f"{text}\n{table(found, given.steps)}\n", encoding="utf-8")


ABOUT = """# The published sizes on a CPU

Written by `python -m experiments.benches.published_sizes OUT.md`. {about} {threads} thread(s), fp32, random weights
(the published ones have not been opened by anybody who wrote this), guidance 3, six views of 256 px in two domains. CPU
seconds: on an idle machine, of one thread, about as many wall seconds. Peaks are resident memory above that of the
process with its libraries loaded. Forecasts are those of `run --dry-run`, for the pace of this machine just before.
"""


class _Clock(Report):
    """CPU seconds of the stages."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self._begun = 0.0

    def begin(self, stage: str, number: int, total: int) -> None:
        self._begun = time.process_time()

    def end(self, stage: str, how: str, seconds: float) -> None:
        self.took[stage] = time.process_time() - self._begun


def _need(make: Callable[[], Any], call: Callable[[Any], Any], calls: int) -> Need:
    """What so many calls need, counted on a network without numbers."""
    with torch.device("meta"):
        net = make().eval()
        one: Cost = metered(lambda: call(net))
    return Need("", sum(p.numel() * 4 for p in net.parameters()), one.most, one.flops * calls, "", one.fresh * calls)


def _given(cells: int) -> tuple[torch.Tensor, ...]:
    """Inputs of one branch of a step, on the device of the day."""
    rows = 2 * len(SIX_VIEWS)
    noisy, step = torch.empty(rows, 8, cells, cells), torch.empty((), dtype=torch.long)
    return noisy, step, torch.empty(rows, 1, UNET.token_width), torch.empty(rows, UNET.camera_width)


def _denoise(steps: int, cells: int) -> Callable[[Any], None]:
    def call(net: Any) -> None:
        rng = torch.Generator().manual_seed(0)
        rows = 2 * len(SIX_VIEWS)
        noise, photo_latent = (torch.randn(rows, 4, cells, cells, generator=rng) for _ in range(2))
        camera = torch.randn(rows, UNET.camera_width, generator=rng)
        condition = Condition(photo_latent, torch.randn(rows, 1, UNET.token_width, generator=rng), camera)
        denoise = conditioned(net, condition, 3.0, at_once=False)
        sample(denoise, noise, SCHEDULES["sd-1.x"], steps=steps, eta=1.0, rng=rng)

    return call


def _plain(cells: int) -> Callable[[Any], None]:
    def call(net: Any) -> None:
        net.decode(torch.randn(1, 4, cells, cells))

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


def _gb(count: float | int) -> str:
    return f"{count / 1e9:.2f} GB"


def _off(foretold: float, measured: float | int) -> str:
    return f"{100 * (foretold / measured - 1):+.0f} %" if measured else ""


if __name__ == "__main__":
    main()

"""`run --dry-run`: the memory and time that a run would take, and what it would fetch or leave out.

In: a plan. Out: lines of text.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2mv3d.plans import Plan

if TYPE_CHECKING:
    from img2mv3d.bundles.forecast import Need

SHIPPED = Path(__file__).parents[1] / "bundles" / "counts.json"
QUICK_GRID, FINAL_GRID = 128, 192  # of the standard plan; fits grow with the nodes of theirs
MATTING = 0.5e9  # bytes of the network that cuts objects out
LATER = 0.15e9  # what the fit's libraries and results leave behind for the stages after depth


def foretell(plan: Plan) -> str:
    """A line for each stage: forecast seconds and memory, and the whole."""
    from img2mv3d import machine
    from img2mv3d.bundles import forecast
    from img2mv3d.bundles.decoders import choose
    from img2mv3d.bundles.weights import load_bundle
    from img2mv3d.flow.graph import STAGES

    bundle = load_bundle(plan.bundle)
    decoder = None if plan.decode.decoder == "plain" else choose(plan.decode.decoder, bundle)
    device = machine.guess_device() if plan.device == "auto" else plan.device
    asked = asked_of(plan, bundle, decoder)
    needs, base = shipped(asked) or remembered(asked, lambda: counted(plan, bundle, decoder))
    rate = forecast.pace()
    base_of = {"generate": base, "depth": base, "decode": base + LATER}
    lines, whole, most = {}, 0.0, 0.0
    fits_of = {"depth": _grown(forecast.QUICK_FIT, plan.depth.grid, QUICK_GRID)}
    for need in needs:
        extra = fits_of.get(need.stage, (0.0, 0.0))
        seconds = need.loading + need.seconds(rate) + extra[0]
        memory = float(base_of[need.stage] + max(need.peak, extra[1]))
        card = f"; {need.half().peak / 1e9:.1f} GB of the card" if device != "cpu" or plan.vram is not None else ""
        lines[need.stage] = _line(need.stage, seconds, memory, need.parts + card)
        whole, most = whole + seconds, max(most, memory)
    final = _grown(forecast.FINAL_FIT, plan.reconstruct.grid, FINAL_GRID)
    others = {"prepare": forecast.PREPARE, "reconstruct": final, "export": forecast.EXPORT}
    for stage, (seconds, more) in others.items():
        memory = more if stage == "prepare" else base + more
        words = "as measured; 0.5 GB more where the matting model is used" if stage == "prepare" else "as measured"
        lines[stage] = _line(stage, seconds, memory, words)
        whole, most = whole + seconds, max(most, memory)
    head = f"{'forecast':<12} {'seconds':>8} {'memory':>9}"
    total = _line("all", whole, most, "seconds of one thread of this machine, at its present load")
    return "\n".join([head, *(lines[stage] for stage in STAGES if stage in lines), total])


def needed(plan: Plan) -> tuple[int, str]:
    """Bytes that a process takes which makes one photo after the other and keeps its networks, and the device."""
    from img2mv3d import machine
    from img2mv3d.bundles import forecast
    from img2mv3d.bundles.decoders import choose
    from img2mv3d.bundles.weights import load_bundle

    bundle = load_bundle(plan.bundle)
    decoder = None if plan.decode.decoder == "plain" else choose(plan.decode.decoder, bundle)
    asked = asked_of(plan, bundle, decoder)
    needs, base = shipped(asked) or remembered(asked, lambda: counted(plan, bundle, decoder))
    quick = _grown(forecast.QUICK_FIT, plan.depth.grid, QUICK_GRID)[1]
    final = _grown(forecast.FINAL_FIT, plan.reconstruct.grid, FINAL_GRID)[1]
    work = max(*(need.work for need in needs), quick, final, forecast.EXPORT[1])
    device = machine.guess_device() if plan.device == "auto" else plan.device
    return int(base + LATER + MATTING + sum(need.weights for need in needs) + work), device


def most_needed(plans: Iterable[Plan]) -> tuple[int, str]:
    """As `needed`, for a process that may get each of these plans: the most memory, and a card where one wants it."""
    apart = {
        (p.bundle, p.device, p.vram, p.decode.decoder, p.depth.grid, p.reconstruct.grid, p.generate): p for p in plans
    }
    found = [needed(plan) for plan in apart.values()]
    return max(memory for memory, _ in found), next((device for _, device in found if device != "cpu"), "cpu")


def asked_of(plan: Plan, bundle: Any, decoder: Any) -> Any:
    """All that the counts depend on, as plain values: the networks' shapes and not their numbers, where the bundle says
    what these are, so that new weights of the same networks need no new count."""
    from img2mv3d import machine

    parts = bundle.manifest.get("parts")
    shapes = {name: part.get("config") for name, part in parts.items()} if parts else bundle.digest
    return {
        "networks": [shapes, bundle.manifest.get("generate"), bundle.framing_px],
        "decoder": decoder and [decoder.name, dict(decoder.config)],
        "asked": [plan.generate.steps, plan.generate.guidance, plan.vram],
        "cuda": machine.torch_cuda_build() is not None,  # whose libraries weigh more
    }


def counted(plan: Plan, bundle: Any, decoder: Any) -> tuple[list[Need], int]:
    """What the stages with networks take, and the bytes of a process that has their libraries."""
    from img2mv3d.bundles.forecast import decode_need, depth_need, fits, generate_need, resident
    from img2mv3d.bundles.weights import skeleton
    from img2mv3d.flow.runners import LARGE

    told = {**bundle.manifest.get("generate", bundle.manifest)}
    steps = plan.generate.steps or int(told["steps"])
    guidance = float(told["guidance"]) if plan.generate.guidance is None else plan.generate.guidance
    small = sum(p.numel() for p in skeleton(bundle, "unet").parameters()) < LARGE
    if plan.vram is not None:
        small = fits(bundle, plan.vram, steps=steps, guidance=guidance)
    needs = [generate_need(bundle, steps=steps, guidance=guidance, at_once=small), depth_need(bundle)]
    return needs + ([] if decoder is None else [decode_need(decoder)]), resident()


def shipped(asked: Any) -> tuple[list[Need], int] | None:
    """What comes with the package: mini's counts, since building networks costs more time than a forecast may take.
    None for everything else. `python -m experiments.benches.counts` writes them."""
    from img2mv3d.bundles.forecast import Need
    from img2mv3d.files.durable import digest_of

    known = json.loads(SHIPPED.read_text(encoding="utf-8")).get(digest_of(asked))
    return known and ([Need(**need) for need in known["needs"]], known["resident"])


def remembered(asked: Any, find: Callable[[], tuple[list[Need], int]]) -> tuple[list[Need], int]:
    """What `find` gives, kept in the cache under what was asked: counting takes longer than the answer is worth."""
    from img2mv3d import __version__
    from img2mv3d.bundles.forecast import Need
    from img2mv3d.files.durable import Damaged, digest_of, read_sealed, sealed, write_atomically
    from img2mv3d.flow.store import default_folder

    versions = [version(name) for name in ("torch", "diffusers")]
    path = default_folder() / "forecast" / f"{digest_of([__version__, versions, asked])[:32]}.json"
    with contextlib.suppress(OSError, Damaged, KeyError, TypeError):
        kept = read_sealed(path)
        return [Need(**need) for need in kept["needs"]], int(kept["resident"])
    needs, resident = find()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, sealed({"needs": [asdict(need) for need in needs], "resident": resident}))
    return needs, resident


def _grown(cost: tuple[float, float], grid: int, standard: int) -> tuple[float, float]:
    """Seconds and bytes of a fit at another grid."""
    factor = (grid / standard) ** 3
    return cost[0] * factor, cost[1] * factor


def _line(stage: str, seconds: float, memory: float, words: str) -> str:
    return f"{stage:<12} {seconds:>6.0f} s {memory / 1e9:>6.2f} GB  {words}"

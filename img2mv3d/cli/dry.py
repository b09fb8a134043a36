"""`run --dry-run`: the memory and time that a run would take, and what it would fetch or leave out.

In: a plan. Out: lines of text.
"""

from __future__ import annotations

from img2mv3d.plans import Plan

QUICK_GRID, FINAL_GRID = 128, 192  # of the standard plan; fits grow with the nodes of theirs
LATER = 0.15e9  # what the fit's libraries and results leave behind for the stages after depth


def foretell(plan: Plan) -> str:
    """A line for each stage: forecast seconds and memory, and the whole."""
    from img2mv3d import machine
    from img2mv3d.bundles import forecast
    from img2mv3d.bundles.decoders import choose
    from img2mv3d.bundles.forecast import decode_need, depth_need, fits, generate_need
    from img2mv3d.bundles.weights import load_bundle, skeleton
    from img2mv3d.flow.graph import STAGES
    from img2mv3d.flow.runners import LARGE

    bundle = load_bundle(plan.bundle)
    device = machine.guess_device() if plan.device == "auto" else plan.device
    told = {**bundle.manifest.get("generate", bundle.manifest)}
    steps = plan.generate.steps or int(told["steps"])
    guidance = float(told["guidance"]) if plan.generate.guidance is None else plan.generate.guidance
    small = sum(p.numel() for p in skeleton(bundle, "unet").parameters()) < LARGE
    if plan.vram is not None:
        small = fits(bundle, plan.vram, steps=steps, guidance=guidance)
    needs = [generate_need(bundle, steps=steps, guidance=guidance, at_once=small), depth_need(bundle)]
    if plan.decode.decoder != "plain":
        needs.append(decode_need(choose(plan.decode.decoder, bundle)))
    base, rate = forecast.resident(), forecast.pace()
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


def _grown(cost: tuple[float, float], grid: int, standard: int) -> tuple[float, float]:
    """Seconds and bytes of a fit at another grid."""
    factor = (grid / standard) ** 3
    return cost[0] * factor, cost[1] * factor


def _line(stage: str, seconds: float, memory: float, words: str) -> str:
    return f"{stage:<12} {seconds:>6.0f} s {memory / 1e9:>6.2f} GB  {words}"

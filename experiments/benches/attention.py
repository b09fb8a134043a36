"""What looking across views costs, in time and memory: `python -m experiments.benches.attention`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from img2mv3d.nets.attention import Level

TRUNCATED, TWIN, LINE, TWIN_LINE = KINDS = ("truncated", "plain twin", "whole line", "plain twin, whole line")
WIDTHS = {32: 128, 64: 64, 128: 32, 256: 32}  # channels of mini's up-blocks by px
POINTS = {32: 7, 64: 7, 128: 7, 256: 2}  # paper
REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """kind: "truncated" (fast path), "plain twin" (the same, as the paper writes it, nothing chunked), "whole line"
        (fast path, a point for every pixel of the line), "plain twin, whole line".
    seconds: six views, median.
    megabytes: peak over what the process had before.
    """

    kind: str
    px: int
    points: int
    seconds: float
    megabytes: float


def costs() -> list[Cost]:
    """Every kind at every size at which it is defined, each in a process of its own."""
    wanted = [(kind, px) for px in (32, 64, 128) for kind in KINDS]
    wanted.append((TRUNCATED, 256))
    return [_alone(kind, px) for kind, px in wanted]


def table(found: list[Cost]) -> str:
    """Markdown, with the ratios of the whole line to the truncated one."""
    lines = ["| px | kind | points | seconds | MB | against truncated |", "|---|---|---|---|---|---|"]
    base = {c.px: c for c in found if c.kind == TRUNCATED}
    for c in found:
        own = base[c.px]
        ratio = f"{c.seconds / own.seconds:.1f} x time, {c.megabytes / max(own.megabytes, 0.1):.1f} x memory"
        cells = [c.px, c.kind, c.points, f"{c.seconds:.3f}", f"{c.megabytes:.0f}", "" if c is own else ratio]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def measure(kind: str, px: int) -> Cost:
    """One kind at one size in this process; the peak is meaningful in a fresh one only. Raises ValueError on another
    kind."""
    import torch

    from experiments.decoder.variants import WholeLineAttention
    from img2mv3d.geometry.cameras import SIX_VIEWS
    from img2mv3d.nets.attention import EpipolarAttention, epipolar_attention_plain, make_levels

    if kind not in KINDS:
        raise ValueError(f"attention {kind!r}: expected one of {'; '.join(KINDS)}")
    torch.manual_seed(0)
    line = (torch.arange(px) + 0.5) * 2 / px - 1
    square = 0.55**2 - line[None] ** 2 - line[:, None] ** 2  # about as much of the picture as mini's objects
    z = square.clamp(min=0).sqrt().expand(6, -1, -1).contiguous()
    hit = (square > 0).float().expand(6, -1, -1).contiguous()
    whole = kind in (LINE, TWIN_LINE)
    kind_of = WholeLineAttention if whole else EpipolarAttention
    net = kind_of(WIDTHS[px], px if whole else POINTS[px], groups=8)
    torch.nn.init.normal_(net.out.weight, std=0.1)
    level = make_levels(z, hit, torch.rand(3, px, px), (torch.rand(6, 6, px, px),), SIX_VIEWS, (1,))[0]
    features = torch.randn(6, WIDTHS[px], px, px)
    run = epipolar_attention_plain if kind in (TWIN, TWIN_LINE) else EpipolarAttention.forward
    with torch.no_grad():
        run(net, features[..., :8, :8], _corner(level))  # libraries wake up
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seconds = []
        for _ in range(1 if kind == TWIN_LINE else REPEATS):  # that one takes minutes
            start = time.perf_counter()
            run(net, features, level)
            seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Cost(kind, px, net.points, sorted(seconds)[len(seconds) // 2], peak / 1024)


def main() -> None:
    """The table on stdout; with a kind and a size, one cost as JSON."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2])).__dict__))
        return
    print(table(costs()))


def _corner(level: Level) -> Level:
    return level._replace(**{key: getattr(level, key)[..., :8, :8] for key in ("z", "hit", "ray", "photo")})


def _alone(kind: str, px: int) -> Cost:
    command = [sys.executable, "-m", "experiments.benches.attention", kind, str(px)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Cost(**json.loads(done.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    main()

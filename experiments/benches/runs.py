"""How long runs take: `python -m experiments.benches.runs docs/benchmarks.md` measures on this machine, budgets
beside."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"
STAGE_BUDGET_S = {"prepare": 3, "generate": 12, "depth": 10, "decode": 5, "reconstruct": 9, "export": 6}
RUN_BUDGET_S, RUN_BUDGET_GB = 50, 3
ELSEWHERE = """## Published sizes

Time and memory of the public checkpoint's size, multiplied out to 20 and 50 steps, and forecasts beside measurements:
experiments/reports/published-sizes.md.
"""


@dataclass(frozen=True)
class Row:
    """One line of the report: what was measured, the figure with its unit, and the budget (or "" when there is
    none)."""

    what: str
    measured: str
    budget: str = ""


def startup(repeats: int = 5) -> list[Row]:
    """Wall seconds, median of `repeats` fresh processes: the help page and the bare import."""
    bare = [sys.executable, "-c", "pass"]
    return [
        Row("`--help`", f"{_median(_command('--help'), repeats):.2f} s", "0.5 s"),
        Row("`import img2mv3d`", f"{_median([sys.executable, '-c', 'import img2mv3d'], repeats):.2f} s", "0.2 s"),
        Row("(an empty Python process)", f"{_median(bare, repeats):.2f} s"),
    ]


def runs(photo: Path = PHOTO) -> list[Row]:
    """Wall seconds of a run with a cold store, by stage, its peak memory, and of the same run again."""
    with tempfile.TemporaryDirectory() as scratch:
        words = _command("run", str(photo), "-o", f"{scratch}/out", "--cache", f"{scratch}/cache")
        cold = _seconds(words)
        notes = json.loads(Path(scratch, "out", "run.json").read_text(encoding="utf-8"))
        again = _seconds(words)
    stages = notes["stages"]
    peak = max(stage["peak_bytes"] for stage in stages.values()) / 1e9
    rows = [Row(f"stage {name}", f"{stages[name]['seconds']:.1f} s", f"{b} s") for name, b in STAGE_BUDGET_S.items()]
    rows += [Row("`run`, cold store, all in all", f"{cold:.1f} s", f"{RUN_BUDGET_S} s")]
    rows += [Row("`run`, peak memory", f"{peak:.2f} GB", f"{RUN_BUDGET_GB} GB")]
    return [*rows, Row("`run` again, all cached", f"{again:.2f} s", "1 s")]


def attention(size: int = 128, width: int = 64, repeats: int = 2) -> list[Row]:
    """Depth-truncated against full epipolar attention at `size` px with `width` channels, on a sphere of half the
    image's width: wall seconds of one pass over six views, and MB of keys (samples after the MLP).

    Full is the same block with as many points on the ray as the image has columns, over the whole visible cube.
    """
    import torch

    from img2mv3d.geometry.cameras import SIX_VIEWS
    from img2mv3d.geometry.epipolar import pluecker
    from img2mv3d.geometry.sdf import Sphere, render_world
    from img2mv3d.nets.attention import EpipolarAttention, make_levels

    color, _, mask, z = (torch.from_numpy(x) for x in render_world(Sphere(radius=0.5), SIX_VIEWS, size))
    ray = torch.stack([pluecker(camera) for camera in SIX_VIEWS.cameras(size)])
    level = make_levels(z, mask, color[0].movedim(-1, 0), (ray,), SIX_VIEWS, (1,))[0]
    features = torch.randn(6, width, size, size, generator=torch.Generator().manual_seed(0))
    pixels, rows, seconds = int(level.hit.sum()), [], []
    for name, points, radius in (("truncated", 7, 0.1), ("full", size, 1.0)):
        block = EpipolarAttention(width, points=points, radius=radius).eval()
        torch.nn.init.ones_(block.out.bias)  # a fresh block adds zeros, and what adds zeros is not computed
        with torch.no_grad():
            seconds.append(_best(partial(block, features, level), repeats))
        keys = pixels * points * width * 4 / 1e6
        what = f"{name} epipolar attention, {size} px, {points} points"
        rows.append(Row(what, f"{seconds[-1]:.2f} s, {keys:.0f} MB of keys"))
    ratio = Row("full over truncated", f"{seconds[1] / seconds[0]:.1f}x time, {size / 7:.1f}x keys", ">= 4x each")
    return [*rows, ratio]


def machine() -> str:
    """One sentence: processor, cores, load, Python and torch."""
    from importlib.metadata import version

    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = models[0].split(":")[1].strip() if models else platform.processor()
    load = os.getloadavg()[0]
    return (
        f"{name}, {len(os.sched_getaffinity(0))} cores, load before {load:.1f}, "
        f"Python {platform.python_version()}, torch {version('torch')}."
    )


def write(
    path: Path, sections: dict[str, list[Row]], about: str, title: str = "Benchmarks", by: str = "`make bench`"
) -> None:
    """Tables as Markdown under a title, with the command that they are written by."""
    lines = [f"# {title}", "", f"Written by {by}. {about} Wall seconds, where nothing else is said.", ""]
    for name, rows in sections.items():
        lines += [f"## {name}", "", "| what | measured | budget |", "|---|---|---|"]
        lines += [f"| {row.what} | {row.measured} | {row.budget} |" for row in rows]
        lines += [""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "img2mv3d", *words]


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def _median(command: list[str], repeats: int) -> float:
    _seconds(command)  # warm the file cache
    return statistics.median(_seconds(command) for _ in range(repeats))


def _best(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


if __name__ == "__main__":
    report = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/benchmarks.md")
    about = machine()
    write(report, {"Start": startup(), "A run": runs(), "Attention": attention()}, about)
    report.write_text(f"{report.read_text(encoding='utf-8')}\n{ELSEWHERE}", encoding="utf-8")
    print(report.resolve())

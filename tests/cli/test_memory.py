"""A hundred objects in one process: what is resident does not grow with their number."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from img2mv3d.cli.many import Task, work
from img2mv3d.cli.seeds import ONE
from tests.toys import toy_bundle

OBJECTS, WARM = 100, 20  # the first ones fill pools and caches of the libraries
MAX_SLOPE = 1e6  # bytes an object
QUICK = {
    "steps": 1,
    "depth_grid": 32,
    "depth_effort": 0.01,
    "grid": 32,
    "effort": 0.01,
    "faces": 400,
    "texture_size": 64,
}


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def slope(sizes: list[int]) -> float:
    """Bytes an object, by least squares."""
    return float(np.polyfit(np.arange(len(sizes)), np.array(sizes, float), 1)[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_objects(tmp_path: Path) -> None:
    toy_bundle(tmp_path / "toy")
    rng, sizes = np.random.default_rng(0), []
    for i in range(OBJECTS):
        photo = Image.new("RGBA", (120, 100))
        left, top = (int(n) for n in rng.integers(5, 30, 2))
        color = (*(int(n) for n in rng.integers(0, 256, 3)), 255)
        ImageDraw.Draw(photo).ellipse((left, top, left + 60, top + 50), fill=color)
        photo.save(tmp_path / f"{i}.png")
        typed = {**QUICK, "bundle": str(tmp_path / "toy"), "no_cache": True}
        outcome = work(Task(tmp_path / f"{i}.png", tmp_path / "out" / str(i), "export", typed, ONE))
        assert outcome.status == 0, outcome.error
        sizes.append(resident())
        print(f"{i + 1} objects: {sizes[-1] / 1e6:.1f} MB", flush=True)
    found = slope(sizes[WARM:])
    print(f"slope {found / 1e6:.3f} MB an object over the last {OBJECTS - WARM}")
    assert found < MAX_SLOPE


def test_the_slope_is_one_that_a_leak_would_raise() -> None:
    noise = np.random.default_rng(0).normal(0, 5e5, 80)
    assert abs(slope([int(5e8 + n) for n in noise])) < MAX_SLOPE / 10
    assert slope([int(5e8 + 1.2e6 * i + n) for i, n in enumerate(noise)]) > MAX_SLOPE

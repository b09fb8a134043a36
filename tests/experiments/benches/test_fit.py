"""The bench of the fit: what it compares is the same thing twice, and what it tells is what was measured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from experiments.benches import fit as fitbench
from experiments.benches.fit import agreement, network, renderers, spent, threads
from experiments.fit.truth import Truth, truth_of
from img2mv3d.data.corpus import Solid
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.geometry.sdf import Sphere, sample_grid
from img2mv3d.neus.options import FitOptions, Level

SOLID = Sphere((0.05, 0.0, 0.0), 0.55) - Sphere((0.2, 0.25, 0.3), 0.35)
TINY = FitOptions((Level(16, 3),))


@pytest.fixture(scope="module")
def truth() -> Truth:
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * np.float32(0.28)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], np.int32)
    return truth_of(Solid(corner, faces, face_rgb=np.full((12, 3), 128, np.uint8)))


def test_both_renderers_see_the_same_from_all_six_sides() -> None:
    found = agreement(sample_grid(SOLID, 25), SIX_VIEWS)
    assert found.rays > 6 * 80
    assert found.opacity[1] < 0.02 and found.z[0] < 0.05
    assert found.normal[0] < 3 and found.color[0] < 0.01


def test_a_mirrored_picture_would_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    right = fitbench._at_rows
    monkeypatch.setattr(fitbench, "_at_rows", lambda *arguments: right(*arguments)[:, ::-1])
    found = agreement(sample_grid(SOLID, 25), Rig(("front_right",), (45.0,), (0.0,)))
    assert found.opacity[1] > 0.5 and found.color[1] > 0.1


def test_cpu_and_wall_seconds_are_told_apart() -> None:
    import time

    asleep = spent(lambda: time.sleep(0.1))
    assert asleep.wall >= 0.1 and asleep.cpu < 0.05


def test_threads_are_compared_in_turns_and_left_as_they_were(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    monkeypatch.setattr(fitbench, "fit", lambda *_: used.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    rows = threads([truth, truth], repeats=2)
    assert torch.get_num_threads() == before and len(rows) == 2
    assert used == [1, 2] * (len(used) // 2)
    assert all("1 -> 2 threads" in row.what and row.measured.endswith("x") for row in rows)


def test_the_steps_of_both_renderers_are_timed_on_the_same_object(truth: Truth) -> None:
    rows = {row.what: row.measured for row in renderers(truth, size=24, steps=2)}
    assert int(rows["opaque rays"]) > 100 and rows["rays over nodes, for equally many rays"].endswith("x")


def test_networks_stop_when_their_time_is_over(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        steps = 0

        def __init__(self, views):
            pass

        def step(self) -> float:
            Slow.steps += 1
            sum(range(3_000_000))
            return 1.0 / Slow.steps

        def field(self, nodes: int) -> np.ndarray:
            return sample_grid(Sphere(radius=0.5), nodes)

    monkeypatch.setattr(fitbench, "NetworkFit", Slow)
    monkeypatch.setattr(fitbench, "FINAL", TINY)
    monkeypatch.setattr(fitbench, "NETWORK_NODES", 24)
    rows = network(truth, minutes=0.005)
    assert 1 <= Slow.steps < 100
    assert f"theirs after {Slow.steps} steps" in rows[-1].what and "F 0.01 / 0.02" in rows[-1].measured
    assert next(row for row in rows if row.what == "theirs over ours").measured.endswith("x CPU")


def test_the_report_names_its_own_command(tmp_path: Path) -> None:
    fitbench.write(tmp_path / "fit.md", {"a": []}, "Here.", title="The fit alone", by="`this`")
    assert (tmp_path / "fit.md").read_text().startswith("# The fit alone\n\nWritten by `this`. Here.")

"""Ctrl-C on a cluster: all ends within seconds, and the same command goes on from there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.cluster.nodes import ROOT
from tests.faults.real import QUICK
from tests.toys import toy_bundle

pytestmark = pytest.mark.slow


def begin(place: Path, where: str) -> subprocess.Popen[str]:
    """`run --cluster`, one photo at a time."""
    line = [sys.executable, "-m", "img2mv3d", "run", "photos", "--bundle", "toy", *QUICK, "--no-report", "--json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "IMG2MV3D_CACHE": str(place / "cache")}
    env["RAY_ADDRESS"] = "local"  # none that happens to run here
    line += ["-o", "out", "--cluster", where, "--jobs", "1"]
    # a shell's background jobs, and all below them, are deaf to Ctrl-C
    return subprocess.Popen(line, cwd=place, env=env, stdout=subprocess.PIPE, text=True, preexec_fn=hear_interrupts)


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def how(photo: dict[str, Any]) -> dict[str, str]:
    """What was done about each stage."""
    return {stage: about["how"] for stage, about in photo["stages"].items()}


@pytest.mark.parametrize("where", ["local", "ray"])
def test_the_same_command_goes_on(tmp_path: Path, where: str) -> None:
    if where == "ray":
        pytest.importorskip("ray")
    toy_bundle(tmp_path / "toy")
    (tmp_path / "photos").mkdir()
    for n in range(3):
        photo = Image.new("RGBA", (120, 100))
        ImageDraw.Draw(photo).ellipse((20, 10, 60 + n, 60), fill=(n, 80, 40, 255))
        photo.save(tmp_path / "photos" / f"{n}.png")
    with begin(tmp_path, where) as first:
        assert first.stdout is not None
        for line in first.stdout:
            event = json.loads(line)
            if event["event"] == "stage" and event["photo"] == "photos/1.png" and event["stage"] == "depth":
                first.send_signal(signal.SIGINT)
                break
        rest = [json.loads(line) for line in first.stdout]
        assert first.wait(60) == 130 and rest[-1]["event"] == "end" and rest[-1]["done"] == 1
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [p["photo"] for p in summary["photos"]] == ["photos/0.png"]
    with begin(tmp_path, where) as again:
        told = [json.loads(line) for line in again.stdout or []]
        assert again.wait() == 0 and told[-1]["done"] == 3 and told[-1]["cached"] == 1
    done = {e["photo"]: how(e) for e in told if e["event"] == "photo"}
    assert "computed" not in done["photos/0.png"].values()
    assert done["photos/1.png"]["generate"] != "computed" and done["photos/1.png"]["depth"] == "computed"
    assert set(done["photos/2.png"].values()) == {"computed"}
    assert not list((tmp_path / "out").rglob(".img2mv3d-*"))  # no draft, no sign, no owner

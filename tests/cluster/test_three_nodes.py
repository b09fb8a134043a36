"""The whole of it: three nodes of Ray on this machine, real stages on toy networks, nodes that are killed, a store that
is away for a while; and all is as one machine makes it.

IMG2MV3D_SHOW=200 takes so many photos. IMG2MV3D_SHOW_PHOTOS=FOLDER takes those of a folder instead, and the networks of
`mini`. IMG2MV3D_SHOW_FLAGS adds flags of `run`.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

pytest.importorskip("ray")

from img2mv3d.cli.wanted import photos_of
from img2mv3d.files.durable import digest_file
from tests.cluster.nodes import ENVIRONMENT, Nodes
from tests.faults.real import QUICK
from tests.toys import toy_bundle

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("IMG2MV3D_SHOW", "12"))
REAL = os.environ.get("IMG2MV3D_SHOW_PHOTOS", "")
AWAY = float(os.environ.get("IMG2MV3D_SHOW_AWAY", "20"))  # s
FLAGS = [*([] if REAL else ["--bundle", "toy", *QUICK]), *os.environ.get("IMG2MV3D_SHOW_FLAGS", "").split()]
RESULT = "latents.pt" if "generate" in FLAGS else "mesh.glb"
THREADS = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for path in photos_of([REAL])[:COUNT] if REAL else []:
        shutil.copy(path, tmp_path / "photos")
    if REAL:
        return tmp_path
    toy_bundle(tmp_path / "toy")
    for n in range(COUNT):
        photo = Image.new("RGBA", (120, 100))
        ImageDraw.Draw(photo).ellipse((20, 10, 60 + n % 50, 60 + n // 50), fill=(n, 80, 40, 255))
        photo.save(tmp_path / "photos" / f"{n:03}.png")
    return tmp_path


@pytest.fixture
def nodes(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """With caches of their own, as machines have."""
    for name, value in (ENVIRONMENT | THREADS).items():
        monkeypatch.setenv(name, value)
    made = Nodes(lambda number: {"IMG2MV3D_CACHE": str(place / f"cache-{number}")})
    yield made
    made.end()


def begin(place: Path, out: str, *words: str) -> subprocess.Popen[bytes]:
    """`run --json`; what it says goes into files: a pipe could be full."""
    line = [sys.executable, "-m", "img2mv3d", "run", "photos", *FLAGS, "--json", "--no-report"]
    with open(place / "stdout", "wb") as told, open(place / "stderr", "wb") as said:
        return subprocess.Popen(
            [*line, "-o", out, *words], cwd=place, env={**os.environ, **THREADS}, stdout=told, stderr=said
        )


def ended(place: Path, work: subprocess.Popen[bytes]) -> tuple[list[dict[str, Any]], str]:
    """What it said."""
    assert work.wait() == 0, (place / "stderr").read_text()[-2000:]
    return [json.loads(text) for text in (place / "stdout").read_text().splitlines()], (place / "stderr").read_text()


def results(out: Path) -> dict[str, str]:
    return {path.parent.name: digest_file(path) for path in sorted(out.glob(f"*/{RESULT}"))}


def test_nodes_and_store_fail_and_all_is_as_one_machine_makes_it(place: Path, nodes: Nodes) -> None:
    store = place / "store"
    store.mkdir()
    begun = time.monotonic()

    def once(done: int) -> None:
        """Wait until so many are done; what happens then must happen while others are at work."""
        while len(list((place / "out").glob(f"*/{RESULT}"))) < done:
            assert work.poll() is None, (place / "stderr").read_text()[-2000:]
            time.sleep(0.2)

    words = ("--cluster", f"ray://{nodes.address}", "--store", f"file://{store}")
    work = begin(place, "out", *words)
    once(COUNT // 10)
    nodes.replace()
    once(COUNT // 5)
    store.rename(place / "elsewhere")
    while store.is_dir() or not store.exists():  # a file in the place of the folder: nothing can be written
        shutil.rmtree(store, ignore_errors=True)
        with contextlib.suppress(OSError):
            store.touch(exist_ok=False)
    time.sleep(AWAY)
    store.unlink()
    (place / "elsewhere").rename(store)
    once(3 * COUNT // 5)
    nodes.replace()
    assert work.poll() is None
    events, said = ended(place, work)
    seconds = {"cluster": time.monotonic() - begun}
    begun = time.monotonic()
    ended(place, begin(place, "single", "--cache", str(place / "single-cache")))
    seconds["jobs"] = time.monotonic() - begun
    names = [f"photos/{p.name}" for p in photos_of([str(place / "photos")])]
    assert results(place / "out") == results(place / "single") and len(results(place / "out")) == len(names)
    photos = [e for e in events if e["event"] == "photo"]
    again = [e for e in events if e["event"] == "again"]
    lost = Counter(e["photo"] for e in again)
    assert len({e["run"] for e in events}) == 1 and all(e["lost"] in ("node", "start") for e in again)
    computed = {e["photo"]: sum(s["how"] == "computed" for s in e["stages"].values()) for e in photos}
    begun_of = Counter(e["photo"] for e in events if e["event"] == "begun")
    whole = max(computed.values())
    assert sorted(computed) == sorted(names)  # each once
    assert all(count == whole and begun_of[p] == 1 for p, count in computed.items() if p not in lost)
    assert all(begun_of[photo] == 1 + times for photo, times in lost.items())
    assert not list((place / "out").rglob(".img2mv3d-*"))  # no draft, no sign, no owner
    summary = json.loads((place / "out" / "summary.json").read_text())
    assert [p["photo"] for p in summary["photos"]] == names
    assert summary["counters"]["lost"].get("node", 0) == sum(e["lost"] == "node" for e in again)
    assert any(e["event"] == "stage" for e in events)  # news come from the nodes
    of_lost = {p: [computed[p], whole] for p in lost}
    print(json.dumps({"lost": lost, "stages computed again": of_lost, "seconds": seconds, "photos": len(photos)}))
    print(said[-2000:])

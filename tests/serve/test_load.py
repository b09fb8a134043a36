"""Fifty posts at once, again and again, to a server in a process of its own: what becomes of each, how long, how much
memory. `-s` shows the figures."""

import io
import os
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from PIL import Image, ImageDraw

from img2mv3d.client import Client, ServerError
from tests.serve.served import wait_for

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
POSTS, ROUNDS = 50, 2


@pytest.fixture
def server(tmp_path: Path):
    words = [sys.executable, "-m", "tests.serve.toy_server", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        client = Client(f"http://127.0.0.1:{int(process.stdout.readline())}/", seconds=120.0)
        wait_for(lambda: ready(client), 120.0)
        yield process, client
        process.send_signal(signal.SIGINT)
        process.wait(60)


def ready(client: Client) -> bool:
    try:
        return client.health()["ready"]
    except ServerError:
        return False


def ball(shade: int) -> bytes:
    photo, sink = Image.new("RGBA", (120, 100)), io.BytesIO()
    ImageDraw.Draw(photo).ellipse((20, 10, 90, 90), fill=(shade, 80, 40, 255))
    photo.save(sink, format="PNG")
    return sink.getvalue()


def carried(client: Client, shade: int, seed: int) -> tuple[str, float]:
    """What became of a post (done, refused, or a reason), and after how many seconds."""
    started = time.monotonic()
    try:
        client.post(ball(shade), seed=seed).wait(3600.0)
    except ServerError as error:
        return ("refused" if error.status == 429 else str(error)), time.monotonic() - started
    return "done", time.monotonic() - started


def test_fifty_posts_at_once_end_or_are_refused_and_memory_stays(server: tuple[subprocess.Popen, Client]) -> None:
    process, client = server
    own = psutil.Process(process.pid)
    memory = [own.memory_info().rss / 2**20]
    for number in range(ROUNDS):
        with ThreadPoolExecutor(POSTS) as pool:
            ends = list(pool.map(lambda n, seed=number: carried(client, n, seed), range(POSTS)))
        what = [end for end, _ in ends]
        done = sorted(seconds for end, seconds in ends if end == "done")
        memory.append(own.memory_info().rss / 2**20)
        p50, p95 = statistics.median(done), done[int(0.95 * (len(done) - 1))]
        print(
            f"\nround {number + 1}: {what.count('done')} done, {what.count('refused')} refused, "
            f"p50 {p50:.1f} s, p95 {p95:.1f} s, server {memory[-1]:.0f} MB"
        )
        assert set(what) == {"done", "refused"} and len(done) >= 16, set(what)
        states = {run["state"] for run in client._json("GET", "runs")}
        assert states == {"done"}, states  # what was accepted has ended at the server, too
    assert memory[-1] - memory[1] < 20


def test_a_worker_that_is_killed_fails_its_run_and_the_next_one_runs(server: tuple[subprocess.Popen, Client]) -> None:
    process, client = server
    workers = [p for p in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(p.cmdline())]
    runs = [client.post(ball(n), seed=9) for n in range(2)]
    wait_for(lambda: all(run.state()["state"] == "running" for run in runs), 60.0)
    for worker in workers:  # the cutter, too: it comes back when it is needed
        worker.kill()
    for run in runs:
        with pytest.raises(ServerError, match="killed"):
            run.wait(60.0)
    assert carried(client, 7, 9)[0] == "done"

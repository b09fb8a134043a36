"""Ray as the engine: what fits is told at once; nodes that go take no photo along; nothing of the user is shipped."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("ray")

from img2mv3d.cluster import on_ray
from img2mv3d.cluster.engine import Need, News
from img2mv3d.cluster.on_ray import OneThread, OnRay, check_room, connect, seats_in
from img2mv3d.cluster.policy import drive
from img2mv3d.errors import ResourceError, UsageError
from tests.cluster.nodes import ENVIRONMENT, ROOT, Nodes
from tests.serve.works import Echo, Unwell

NEED = Need(cpus=1, memory=100 << 20)
NO_OPS = int(os.environ.get("IMG2MV3D_NO_OPS", "1000"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    """Three nodes on this machine; the first is the head, and has no seat."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        import ray

        made = Nodes()
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.end()


def sleepers() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "time.sleep(60)" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_room_is_counted_node_by_node() -> None:
    nodes = [{"CPU": 4.0, "memory": 3e9}, {"CPU": 8.0, "memory": 1.5e9, "GPU": 1.0}]
    assert seats_in(nodes, Need(1, 10**9)) == 4 and seats_in(nodes, Need(1, 10**9, 1)) == 1
    assert check_room(nodes, Need(1, 10**9)) == int(3e9)
    with pytest.raises(
        UsageError, match=r"needs 1 CPU, 1000.0 GB, and no node has that: the largest has 4 CPUs, 3.0 GB"
    ):
        check_room(nodes, Need(1, 10**12))


@pytest.mark.slow
def test_a_need_that_no_node_meets_is_told_at_the_start(cluster: Nodes, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no node has that"):
        OnRay(Echo(), Need(1, 10**12), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_tasks_are_done_on_all_nodes_in_warm_processes_with_our_threads(cluster: Nodes, tmp_path: Path) -> None:
    found = dict(drive(OnRay(Echo(), NEED, None, tmp_path), [f"task {n}" for n in range(30)], NEED.memory))
    assert [found[n].facts["said"] for n in range(30)] == [f"task {n}" for n in range(30)]
    assert len({outcome.facts["pid"] for outcome in found.values()}) == 2
    assert {outcome.facts["threads"] for outcome in found.values()} == {"1"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_kills_its_process_is_set_aside_and_bad_input_is_told(cluster: Nodes, tmp_path: Path) -> None:
    found = dict(drive(OnRay(Echo(), NEED, None, tmp_path), ["die", "raise", "a", "grow 200"], NEED.memory))
    assert "its process died 3 times" in found[0].reason and "ValueError" in found[1].reason
    assert found[2].ok and found[3].ok  # with more memory


@pytest.mark.slow
def test_a_node_that_goes_takes_nothing_along_and_a_new_one_is_used(cluster: Nodes, tmp_path: Path) -> None:
    import ray

    heard: list[News] = []

    def hear(news: News) -> None:
        heard.append(news)
        if news.kind == "again" and len(cluster.live) == 1:
            cluster.live.append(cluster.add())

    engine, tasks = OnRay(Echo(), NEED, None, tmp_path), ["sleep 15"] * 3 + [f"task {n}" for n in range(10)]
    found, killing = {}, threading.Timer(6.0, cluster.kill)
    for number, outcome in drive(engine, ["a", *tasks], NEED.memory, hear):  # the first one: seats are there
        found[number] = outcome
        if len(found) == 1:
            killing.start()
    assert all(outcome.ok for outcome in found.values()) and len(found) == 14
    assert [n.data["lost"] for n in heard if n.kind == "again"] == ["node"]
    assert sum(node["Alive"] for node in ray.nodes()) == 3


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run_with_their_reason(cluster: Nodes, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"no worker can start: .*no weights here"):
        list(drive(OnRay(Unwell(), NEED, None, tmp_path), ["a"], NEED.memory))


@pytest.mark.slow
def test_left_early_the_children_of_workers_die_with_them(cluster: Nodes, tmp_path: Path) -> None:
    before = {p.pid for p in sleepers()}
    engine = OnRay(Echo(), NEED, None, tmp_path)
    with contextlib.suppress(KeyboardInterrupt):
        for number, _ in drive(engine, ["child", "sleep 3"], NEED.memory):
            raise KeyboardInterrupt(number)
    end = time.monotonic() + 30
    while {p.pid for p in sleepers()} - before and time.monotonic() < end:
        time.sleep(0.2)
    assert {p.pid for p in sleepers()} <= before


@pytest.mark.slow
def test_an_actor_that_is_killed_takes_the_children_of_its_worker_along(cluster: Nodes, tmp_path: Path) -> None:
    before, heard = {p.pid for p in sleepers()}, []

    def hear(news: News) -> None:
        heard.append(news)
        if news.kind == "child" and news.data["pid"] not in [n.data["pid"] for n in heard[:-1] if n.kind == "child"]:
            psutil.Process(news.data["pid"]).parent().parent().kill()  # child, worker, actor
        if news.kind == "again":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(drive(OnRay(Echo(), NEED, 1, tmp_path), ["child"], NEED.memory, hear))
    assert heard[-1].data["lost"] == "node"
    end = time.monotonic() + 30
    while {p.pid for p in sleepers()} - before and time.monotonic() < end:
        time.sleep(0.2)
    assert {p.pid for p in sleepers()} <= before


@pytest.mark.slow
def test_a_head_that_is_asleep_for_a_minute_goes_on(cluster: Nodes, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.cluster.ray_head", cluster.address, str(tmp_path), "2000"]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True) as head:
        assert head.stdout is not None and head.stdout.readline() == "begun\n"
        head.send_signal(signal.SIGSTOP)
        time.sleep(60)
        head.send_signal(signal.SIGCONT)
        assert head.stdout.readline() == "2000 of 2000 done, 0 tried again\n"


@pytest.mark.slow
def test_a_large_folder_is_not_shipped_and_logs_stay_small(
    cluster: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".git").mkdir()
    with (tmp_path / ".git" / "pack").open("wb") as file:
        file.truncate(1 << 30)
    monkeypatch.chdir(tmp_path)
    session = Path(cluster.cluster.head_node.get_session_dir_path())

    def size() -> int:
        return sum(p.stat().st_size for p in session.rglob("*") if p.is_file() and not p.is_symlink())

    before = size()
    found = dict(drive(OnRay(Echo(), NEED, None, tmp_path / "out"), ["a"] * NO_OPS, NEED.memory))
    print(f"{NO_OPS} tasks: {size() - before} bytes of logs")
    assert all(outcome.ok for outcome in found.values()) and len(found) == NO_OPS
    assert size() - before < 20_000_000


@pytest.mark.slow
def test_another_version_is_refused(cluster: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "versions", lambda: "img2mv3d 9.9, torch 1.0")
    with pytest.raises(UsageError, match=r"this machine has img2mv3d 9.9"):
        list(drive(OnRay(Echo(), NEED, None, tmp_path), ["a"], NEED.memory))


def test_what_the_engines_own_threads_print_is_not_on_stdout() -> None:
    sink = io.StringIO()
    with contextlib.redirect_stdout(OneThread(sink)):
        print('{"a": 1}')
        other = threading.Thread(target=print, args=("(raylet) terminated",))
        other.start(), other.join()
    assert sink.getvalue() == '{"a": 1}\n'


def test_no_usage_statistics_leave() -> None:
    os.environ.update(on_ray.QUIET)
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()


def test_no_cluster_at_an_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(**words: Any) -> None:
        raise ConnectionError(f"nobody\nat {words['address']}")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(UsageError, match=r"ray://far:6379: no cluster there \(nobody\)"):
        connect("far")


@pytest.mark.parametrize(("known", "wanted"), [("", ["auto", "local"]), ("local", ["local"])])
def test_where_there_is_no_cluster_one_of_this_machine_is_started(
    monkeypatch: pytest.MonkeyPatch, known: str, wanted: list[str]
) -> None:
    import ray

    asked: list[dict[str, Any]] = []

    def init(**words: Any) -> None:
        asked.append(words)
        if words["address"] == "auto":
            raise ConnectionError("nobody")

    monkeypatch.setenv("RAY_ADDRESS", known)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    for name in on_ray.HERE:
        monkeypatch.setenv(name, on_ray.HERE[name])
    assert connect(None) and [words["address"] for words in asked] == wanted
    assert not asked[-1]["include_dashboard"]


def test_nothing_is_shipped_to_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    told: dict[str, Any] = {}
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **words: told.update(words))
    assert connect("far:1") and told["address"] == "far:1"
    assert "runtime_env" not in told and not told["log_to_driver"]

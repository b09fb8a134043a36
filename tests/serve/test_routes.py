"""The address: every run has its own result, refusals are one line, and nobody waits for what will not come."""

import base64
import gc
import http.client
import json
import os
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import psutil
import pytest

from img2mv3d.client import Client, ServerError
from img2mv3d.serve.posts import Post
from img2mv3d.serve.server import Protocol
from tests.serve.proxied import Proxy
from tests.serve.served import Answer, Served, picture, wait_for

SLOW = json.dumps({"seed": 100})  # ten seconds, unless somebody stops it


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    server = Served(tmp_path_factory.mktemp("runs"), queue=6, workers=2).ready()
    yield server
    server.end()


@pytest.fixture(autouse=True)
def nothing_left(server: Served):
    """Every test leaves an empty server."""
    yield
    for run in server.ask("GET", "/runs").json:
        server.ask("DELETE", f"/runs/{run['id']}")
    wait_for(lambda: not [p for p in server.settings.folder.iterdir() if not p.name.startswith(".")])


def events_of(answer: Answer) -> list[tuple[int, str]]:
    blocks = [b for b in answer.body.decode().split("\n\n") if b.startswith("id:")]
    return [(int(b.split("\n")[0][4:]), b.split("\n")[1][7:]) for b in blocks]


# ------------------------------------------------------------------------------------------------------- a run


def test_a_photo_becomes_a_run_with_files(server: Served) -> None:
    answer = server.form({"photo": picture(1), "options": '{"seed": 0}'}, name="Täschchen.png")
    assert answer.status == 202 and answer.headers["location"] == f"runs/{answer.json['id']}"
    run = server.until(answer.json["id"], "done")
    assert run["name"] == "Täschchen.png" and "mesh.glb" in run["files"] and "view-front.png" in run["files"]
    mesh = server.ask("GET", f"/runs/{run['id']}/files/mesh.glb")
    assert mesh.body.endswith(picture(1)) and mesh.headers["content-type"] == "model/gltf-binary"
    assert mesh.headers["content-disposition"].endswith("filename*=UTF-8''T%C3%A4schchen.glb")
    assert server.ask("GET", "/runs").json[0]["id"] == run["id"]


def test_json_with_base64_does_the_same_and_waiting_gives_the_file(server: Served) -> None:
    body = {"photo": "data:image/png;base64," + base64.b64encode(picture(2)).decode(), "options": {"format": "stl"}}
    answer = server.ask("POST", "/runs?wait=1", body)
    assert answer.status == 200 and answer.body == b"mesh.stl seed 0 0 " + picture(2)
    assert answer.headers["content-type"] == "model/stl" and answer.headers["x-run-id"]


def test_counters_can_be_scraped(server: Served) -> None:
    def figure(name: str) -> float:
        text = server.ask("GET", "/metrics").body.decode()
        return float(next(line for line in text.splitlines() if line.startswith(f"img2mv3d_{name} ")).split()[-1])

    before = figure("photos_done_total")
    server.form({"photo": picture(7)}, "/runs?wait=1")
    server.form({"photo": picture(8), "options": '{"depth_ratio": 0.77}'}, "/runs?wait=1")
    answer = server.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert figure("photos_done_total") == before + 1 and figure("runs_waiting") == 0 and figure("ready") == 1
    assert 'img2mv3d_photos_failed_total{kind="' in answer.body.decode()


def test_two_posts_at_once_have_their_own_results(server: Served) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: server.form({"photo": picture(n)}, "/runs?wait=1"), range(4)))
    assert [a.body for a in answers] == [b"mesh.glb seed 0 0 " + picture(n) for n in range(4)]


def test_equal_posts_share_one_run(server: Served) -> None:
    first, again = (server.form({"photo": picture(3), "options": '{"seed": 3}'}).json["id"] for _ in range(2))
    other = server.form({"photo": picture(3), "options": '{"seed": 4}'}).json["id"]
    assert first == again != other


def test_another_format_goes_on_from_the_run_that_is_there(server: Served) -> None:
    first = server.form({"photo": picture(4)}).json["id"]
    server.until(first, "done")
    answer = server.ask("POST", f"/runs/{first}/again?wait=1", {"format": "obj"})
    assert answer.headers["content-type"] == "application/zip" and b"mesh.obj.zip seed 0 3 " in answer.body
    child = next(r for r in server.ask("GET", "/runs").json if r["parent"])
    assert child["parent"] == first and server.ask("DELETE", f"/runs/{first}").status == 204
    assert server.ask("GET", f"/runs/{child['id']}").status == 404


def test_a_deleted_run_is_gone_with_its_files(server: Served) -> None:
    id = server.form({"photo": picture(5)}).json["id"]
    server.until(id, "done")
    assert (server.settings.folder / id / "photo").exists()
    assert server.ask("DELETE", f"/runs/{id}").status == 204
    assert not (server.settings.folder / id).exists()
    assert server.ask("GET", f"/runs/{id}").status == server.ask("DELETE", f"/runs/{id}").status == 404


# ------------------------------------------------------------------------------------- what goes wrong is said


def test_a_failed_run_says_why_in_one_line(server: Served) -> None:
    fields = {"photo": picture(6), "options": '{"depth_ratio": 0.77}'}
    answer = server.form(fields, "/runs?wait=1")
    assert (answer.status, answer.detail) == (422, "photo: no object stands out")
    run = server.ask("GET", f"/runs/{answer.json['id']}").json
    assert run["state"] == "failed" and run["reason"] == "photo: no object stands out"


@pytest.mark.parametrize("error, status", [(OSError(28, "no space"), 507), (ValueError("a defect"), 500)])
def test_a_photo_that_cannot_be_kept_leaves_no_run_that_waits(
    server: Served, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Post, "save", fail)
    assert server.form({"photo": picture(12)}).status == status
    (run,) = server.ask("GET", "/runs").json
    assert run["state"] == "failed" and "could not be kept" in run["reason"]


def test_a_worker_killed_while_it_exports_leaves_no_half_file_and_the_next_run_goes_well(server: Served) -> None:
    id = server.form({"photo": picture(7), "options": '{"depth_ratio": 0.66}'}).json["id"]
    run = server.until(id, "failed", "done")
    assert run["state"] == "failed" and "killed" in run["reason"] and "mesh.glb" not in run["files"]
    assert server.ask("GET", f"/runs/{id}/files/mesh.glb").status == 404
    assert server.form({"photo": picture(8)}, "/runs?wait=1").status == 200


def test_fifty_posts_at_once_are_taken_or_told_to_come_back(server: Served) -> None:
    with ThreadPoolExecutor(50) as pool:
        options = '{"seed": 1}'
        answers = list(pool.map(lambda n: server.form({"photo": picture(100 + n), "options": options}), range(50)))
    counted = Counter(a.status for a in answers)
    assert set(counted) == {202, 429} and counted[202] >= 6 and counted[429] >= 20
    assert all(a.headers["retry-after"] for a in answers if a.status == 429)
    for answer in answers:
        if answer.status == 202:
            server.until(answer.json["id"], "done")


def test_a_full_queue_refuses_before_it_reads_and_its_memory_stays(server: Served) -> None:
    for n in range(8):
        server.form({"photo": picture(200 + n), "options": SLOW})
    wait_for(lambda: server.ask("GET", "/status").json["full"] or server.form({"photo": picture(300), "options": SLOW}))
    wait_for(lambda: server.ask("GET", "/status").json["full"])
    large, before = picture(1) + bytes(20 << 20), psutil.Process().memory_info().rss
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda n: server.form({"photo": large}), range(15)))
    assert {a.status for a in answers} == {429}
    grown = psutil.Process().memory_info().rss - before
    assert grown < 15 * (20 << 20) / 2  # the senders live here, too: two bodies at a time, and copies


BAD = {
    "nothing": ({}, 400, "photo is missing"),
    "garbage": ({"photo": b"GIF89a but no"}, 400, "cannot be read as a picture"),
    "a page": ({"photo": b"<svg xmlns='http://www.w3.org/2000/svg'/>"}, 400, "cannot be read"),
    "a bad mask": ({"photo": picture(1), "mask": b"xx"}, 400, "mask: cannot be read"),
    "a strange field": ({"photo": picture(1), "out": "/etc"}, 400, "unknown field out"),
    "no json": ({"photo": picture(1), "options": "{"}, 422, "json"),
    "a wrong word": ({"photo": picture(1), "options": '{"quality": "best"}'}, 422, "quality"),
    "a wrong number": ({"photo": picture(1), "options": '{"depth_ratio": 9}'}, 422, "depth_ratio"),
    "nan": ({"photo": picture(1), "options": '{"size_mm": NaN}'}, 422, ""),
    "an unknown option": ({"photo": picture(1), "options": '{"bundle": "/etc"}'}, 422, "bundle"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused_in_one_line(server: Served, case: str) -> None:
    fields, status, words = BAD[case]
    answer = server.form(fields)
    assert answer.status == status and words.lower() in answer.detail.lower() and "\n" not in answer.detail


def test_too_many_pixels_are_refused_by_their_header(server: Served) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    answer = server.form({"photo": bomb})
    assert answer.status == 413 and "megapixels" in answer.detail


def test_too_many_bytes_are_refused_by_their_number_or_when_they_are_seen(server: Served) -> None:
    head = b"POST /runs HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
    with server.raw(head + b"Content-Length: 900000000\r\n\r\n") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "path",
    [
        "../post.json",
        "..%2fpost.json",
        "mask",
        "post.json",
        "%2e%2e/%2e%2e/etc/passwd",
        "mesh.glb%00",
        "run.json",
        "out",
    ],
)
def test_no_path_of_a_caller_reaches_the_files(server: Served, path: str) -> None:
    id = server.form({"photo": picture(9)}).json["id"]
    server.until(id, "done")
    assert server.ask("GET", f"/runs/{id}/files/{path}").status == 404
    assert server.ask("GET", f"/runs/..%2f{id}/files/mesh.glb").status == 404
    assert server.ask("GET", f"/page/{path}").status == 404


def test_a_name_with_a_path_is_only_a_name(server: Served) -> None:
    run = server.form({"photo": picture(10)}, name="../../etc/cron.d/x.png").json
    assert run["name"] == "x.png"


# ------------------------------------------------------------------------------------------- news and waiting


def test_events_come_in_order_and_are_replayed_from_where_they_broke(server: Served) -> None:
    id = server.form({"photo": picture(11), "options": '{"seed": 2}'}).json["id"]
    whole = server.ask("GET", f"/runs/{id}/events")
    assert whole.headers["content-type"].startswith("text/event-stream")
    assert whole.headers["x-accel-buffering"] == "no" and "no-store" in whole.headers["cache-control"]
    events = events_of(whole)
    assert [n for n, _ in events] == list(range(1, len(events) + 1))
    assert [k for _, k in events][:3] == ["queued", "running", "stage"] and events[-1][1] == "done"
    rest = server.ask("GET", f"/runs/{id}/events", headers={"Last-Event-ID": "3"})
    assert events_of(rest) == events[3:]
    assert events_of(server.ask("GET", f"/runs/{id}/events?after=3")) == events[3:]
    assert server.ask("GET", f"/runs/{id}/events", headers={"Last-Event-ID": str(len(events))}).status == 204


def test_events_come_as_they_happen(server: Served) -> None:
    id = server.form({"photo": picture(12), "options": '{"seed": 20}'}).json["id"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", f"/runs/{id}/events")
    answer, started = connection.getresponse(), time.monotonic()
    while b"progress" not in (line := answer.readline()):
        assert line
    assert time.monotonic() - started < 1.9
    connection.close()


def test_who_hangs_up_while_waiting_cancels_the_run(server: Served) -> None:
    body = json.dumps({"photo": base64.b64encode(picture(13)).decode(), "options": json.loads(SLOW)}).encode()
    head = "POST /runs?wait=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}"
    started = time.monotonic()
    for _ in range(5):
        connection = server.raw(f"{head}\r\n\r\n".encode() + body)
        time.sleep(0.1)
        connection.close()
    wait_for(lambda: {r["state"] for r in server.ask("GET", "/runs").json} == {"cancelled"})
    assert time.monotonic() - started < 8 and "hung up" in server.ask("GET", "/runs").json[0]["reason"]


def test_deleting_a_run_that_runs_stops_it(server: Served) -> None:
    id = server.form({"photo": picture(14), "options": SLOW}).json["id"]
    server.until(id, "running")
    started = time.monotonic()
    server.ask("DELETE", f"/runs/{id}")
    assert server.form({"photo": picture(15)}, "/runs?wait=1").status == 200
    wait_for(lambda: not (server.settings.folder / id).exists())
    assert time.monotonic() - started < 8


# --------------------------------------------------------------------------------------------- page, client, end


def test_the_page_is_typed_by_our_own_table_and_asks_for_nothing_outside(server: Served) -> None:
    page = server.ask("GET", "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "unsafe-inline" not in policy and "default-src 'none'" in policy
    for name, kind in (("serve.js", "text/javascript"), ("viewer.js", "text/javascript"), ("report.css", "text/css")):
        assert server.ask("GET", f"/page/{name}").headers["content-type"].startswith(kind)
    text = page.body.decode()
    assert "http" not in text.replace("http-equiv", "") and " style=" not in text and " on" + "click" not in text
    assert 'src="/' not in text and 'href="/' not in text  # relative: it may stand under a proxy's prefix


def test_the_api_is_described(server: Served) -> None:
    told = server.ask("GET", "/openapi.json").json
    posted = told["paths"]["/runs"]["post"]["requestBody"]["content"]
    assert set(posted) == {"multipart/form-data", "application/json"} and "RunOptions" in told["components"]["schemas"]
    assert {"/runs/{id}", "/runs/{id}/events", "/runs/{id}/files/{name}", "/cutouts", "/healthz"} <= set(told["paths"])


def test_the_client_carries_a_photo_to_a_mesh(server: Served, tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(picture(16))
    told: list[str] = []
    run = server.client.post(tmp_path / "cup.png", seed=1)
    assert run.wait(20.0, lambda kind, data: told.append(kind))["state"] == "done"
    assert told[0] == "queued" and told[-1] == "done" and told.count("stage") == 1
    assert run.save(tmp_path / "cup.glb").read_bytes().endswith(picture(16))
    assert server.client.reconstruct(tmp_path / "cup.png", tmp_path / "cup.stl").read_bytes()[:8] == b"mesh.stl"
    with pytest.raises(ServerError, match="no object stands out"):
        server.client.post(picture(17), depth_ratio=0.77).wait()
    run.delete()
    with pytest.raises(ServerError, match="no such run"):
        run.state()


def test_behind_a_proxy_under_a_prefix_the_page_is_whole_and_news_come_at_once(server: Served) -> None:
    proxy = Proxy(server.port)
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=20)

    def fetched(path: str) -> Answer:
        connection.request("GET", path)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    linked = re.findall(r'(?:src|href)="([^"#]+)"', fetched("/x/").body.decode())
    assert len(linked) >= 5
    assert [a for a in {urljoin("/x/", link) for link in linked} if fetched(a).status != 200] == []
    started, heard = time.monotonic(), []
    run = Client(f"http://127.0.0.1:{proxy.port}/x/").post(picture(21), seed=10)
    run.wait(20.0, lambda kind, data: heard.append((kind, time.monotonic() - started)))
    first = next(seconds for kind, seconds in heard if kind == "progress")
    assert heard[-1][0] == "done" and first < heard[-1][1] - 0.5
    proxy.end()


def test_the_client_passes_by_a_dead_proxy_and_says_who_is_not_there(
    server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    assert server.client.health()["ready"]
    with pytest.raises(ServerError, match="no answer"):
        Client("http://127.0.0.1:9/").health()


def test_connections_that_ended_are_forgotten_at_once(server: Served) -> None:
    for _ in range(100):
        server.ask("GET", "/healthz")
    gc.collect()
    assert sum(isinstance(thing, Protocol) for thing in gc.get_objects()) < 20


def test_finished_runs_are_there_again_after_a_restart_and_old_ones_are_not(tmp_path: Path) -> None:
    first = Served(tmp_path).ready()
    id = first.form({"photo": picture(18)}).json["id"]
    first.until(id, "done")
    first.end()
    (tmp_path / "no-run-of-ours").mkdir()
    second = Served(tmp_path)
    assert second.ask("GET", f"/runs/{id}/files/mesh.glb").body.endswith(picture(18))
    second.end()
    third = Served(tmp_path, keep=0.4)
    wait_for(lambda: not (tmp_path / id).exists())
    assert third.ask("GET", "/runs").json == [] and (tmp_path / "no-run-of-ours").is_dir()
    third.end()


def test_an_interrupt_ends_it_within_three_seconds_with_streams_open_and_no_process_left(tmp_path: Path) -> None:
    server = Served(tmp_path).ready()
    id = server.form({"photo": picture(19), "options": SLOW}).json["id"]
    server.until(id, "running")
    streams = [server.raw(f"GET /runs/{id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) for _ in range(8)]
    waiting = threading.Thread(target=lambda: server.form({"photo": picture(20)}, "/runs?wait=1"))
    waiting.start()
    time.sleep(0.3)
    children = {p.pid for p in psutil.Process(os.getpid()).children(recursive=True)}
    started = time.monotonic()
    server.end()
    assert time.monotonic() - started < 3
    waiting.join(5)
    for stream in streams:
        stream.close()
    left = {p.pid for p in psutil.Process(os.getpid()).children(recursive=True)}
    assert len(children - left) >= 2  # its worker and its cutter


def test_health_answers_before_anything_is_loaded(tmp_path: Path) -> None:
    server = Served(tmp_path)
    told = server.ask("GET", "/healthz")
    assert told.status == 200 and told.json["alive"] is True
    server.ready()
    assert server.ask("GET", "/readyz").status == 200
    server.end()

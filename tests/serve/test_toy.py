"""The real stages on tiny networks, through queue, worker process and HTTP."""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.serve.served import Served
from tests.serve.toy_server import toy_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("toy")
    server = Served(folder / "runs", work=toy_runs(folder)).ready()
    yield server
    server.end()


def ball() -> bytes:
    photo, sink = Image.new("RGBA", (120, 100)), io.BytesIO()
    ImageDraw.Draw(photo).ellipse((20, 10, 90, 90), fill=(200, 80, 40, 255))
    photo.save(sink, format="PNG")
    return sink.getvalue()


def test_a_photo_becomes_a_mesh_its_pictures_and_its_report(server: Served) -> None:
    run = server.client.post(ball(), seed=3)
    told: list[str] = []
    state = run.wait(120.0, lambda kind, data: told.append(f"{kind} {data.get('stage', '')}".strip()))
    stages = ["prepare", "generate", "depth", "decode", "reconstruct", "export"]
    assert [line.partition(" ")[2] for line in told if line.startswith("stood")] == stages
    assert server.ask("GET", f"/runs/{run.id}/files/mesh.glb").body[:4] == b"glTF"
    assert {"photo.jpg", "cutout.png", "view-back.png", "plain-left.png", "normal-front.png"} <= set(state["files"])
    report = server.ask("GET", f"/runs/{run.id}/files/report.html")
    assert report.status == 200 and report.headers["content-security-policy"].startswith("sandbox allow-scripts")
    again = server.ask("POST", f"/runs/{run.id}/again?wait=1", {**state["options"], "format": "obj"})
    other = server.ask("GET", f"/runs/{again.headers['x-run-id']}").json
    assert again.body[:2] == b"PK" and {s["how"] for s in other["stages"].values()} == {"kept", "computed"}
    assert [name for name, s in other["stages"].items() if s["how"] == "computed"] == ["export"]


def test_a_photo_that_shows_nothing_is_a_reason_without_paths(server: Served, tmp_path: Path) -> None:
    sink = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(sink, format="PNG")
    answer = server.form({"photo": sink.getvalue()}, "/runs?wait=1")
    assert answer.status == 422 and "object" in answer.detail and "/" not in answer.detail

"""Weights fetched from a hub that breaks off, lies and refuses: all bytes are right, or one line says why not."""

import errno
import hashlib
import io
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from img2mv3d.bundles import fetch as door
from img2mv3d.bundles import hub as line
from img2mv3d.bundles.fetch import RECORD, faults, fetch
from img2mv3d.cli.app import app
from tests.checkpoints import tiny_checkpoint
from tests.hub import COMMIT, REPOSITORY, Hub, running

UNET = "unet/diffusion_pytorch_model.bin"
FILES = {
    "unet/config.json": b'{"unet": 1}',
    UNET: random.Random(1).randbytes(300_000),
    "vae/config.json": b'{"vae": 1}',
    "vae/diffusion_pytorch_model.bin": random.Random(2).randbytes(40_000),
    "image_encoder/config.json": b"{}",
    "image_encoder/pytorch_model.bin": b"",
    "image_encoder/model.safetensors": random.Random(3).randbytes(20_000),
    "scheduler/scheduler_config.json": b"{}",
    "README.md": b"not asked for",
}
TAKEN = sorted(set(FILES) - {"README.md", "image_encoder/pytorch_model.bin"})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of made-up files; the environment points to it."""
    with running(Hub(dict(FILES))) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hf_made_up")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(line, "PAUSE", 0.0)
        monkeypatch.setattr(door, "ROOM", 0)
        yield hub


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the weights go: nothing is there yet."""
    monkeypatch.setenv("IMG2MV3D_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights" / "wonder3d"


def call(*words: object) -> Result:
    return CliRunner().invoke(app, ["weights", *map(str, words)], prog_name="img2mv3d")


def fetched(*more: object) -> Result:
    return call("fetch", "wonder3d", "--accept-licence", *more)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != RECORD}


def is_whole(place: Path) -> bool:
    return contents(place) == {name: FILES[name] for name in TAKEN} and faults(place) == []


def says_one_line(result: Result, status: int, *words: str) -> None:
    """A failure: its exit status, and in its one line all of the words."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == status, result.output
    assert len(lines) == 1 and lines[0] == result.stderr.splitlines()[-1], result.stderr
    assert all(word in lines[0] for word in words), lines


def test_what_is_fetched_is_whole_and_written_down(hub: Hub, place: Path) -> None:
    result = fetched()
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{place}\n" and is_whole(place)
    record = json.loads((place / RECORD).read_text())
    assert (record["repository"], record["commit"], sorted(record["files"])) == (REPOSITORY, COMMIT, TAKEN)
    assert record["files"][UNET] == {"size": 300_000, "sha256": hashlib.sha256(FILES[UNET]).hexdigest()}
    assert [p.name for p in place.parent.iterdir() if p.suffix != ".lock"] == ["wonder3d"]


def test_terms_come_first_and_must_be_accepted(hub: Hub, place: Path) -> None:
    result = call("fetch", "wonder3d")
    says_one_line(result, 2, "--accept-licence")
    assert "AGPL-3.0" in result.stderr and "OpenRAIL" in result.stderr
    assert hub.seen == [] and not place.exists()
    says_one_line(call("fetch", "gpt", "--accept-licence"), 2, "gpt", "wonder3d")


@pytest.mark.parametrize(("typed", "status"), [("y\n", 0), ("\n", 2)])
def test_on_a_terminal_one_is_asked(
    hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch, typed: str, status: int
) -> None:
    from img2mv3d.cli import bundle as page
    from img2mv3d.errors import UsageError

    class Terminal:
        isatty = staticmethod(lambda: True)
        readline = staticmethod(lambda: typed)

    monkeypatch.setattr("sys.stdin", Terminal())
    if status:
        with pytest.raises(UsageError):
            page.weights_fetch("wonder3d", None, "", False, False)
    else:
        page.weights_fetch("wonder3d", None, "", False, False)
    assert place.exists() == (status == 0)


@pytest.mark.parametrize("seed", range(4))
def test_a_line_that_breaks_at_any_byte_is_taken_up_there(hub: Hub, place: Path, seed: int) -> None:
    cut = random.Random(seed).randrange(1, 299_999)
    hub.cuts[UNET] = [cut]
    assert fetched().exit_code == 0 and is_whole(place)
    assert hub.asked(UNET) == ["", f"bytes={cut}-"]


def test_what_a_killed_process_left_is_taken_up(hub: Hub, place: Path) -> None:
    hub.cuts[UNET] = [123_456] + [0] * 9
    result = fetched()
    says_one_line(result, 4, UNET, "the line breaks again and again", "the same command goes on")
    (part,) = place.parent.rglob("*.part/**/*.part")
    assert part.stat().st_size == 123_456 and not place.exists()
    hub.seen.clear()
    hub.cuts.clear()
    assert fetched().exit_code == 0 and is_whole(place)
    assert hub.asked(UNET) == ["bytes=123456-"] and hub.asked("scheduler/scheduler_config.json") == []


def test_a_damaged_piece_of_a_killed_process_is_thrown_away(hub: Hub, place: Path) -> None:
    draft = place.with_name(f".img2mv3d-fetch-wonder3d-{COMMIT[:16]}.part")
    part = draft / f"{UNET}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(1000))
    result = fetched()
    assert result.exit_code == 0 and is_whole(place)
    assert "the pieces do not fit together" in result.stderr and hub.asked(UNET) == ["bytes=1000-", ""]


@pytest.mark.parametrize("ranges", ["ignored", "wrong", "refused"])
def test_a_hub_that_gives_another_range_is_asked_for_the_whole(hub: Hub, place: Path, ranges: str) -> None:
    hub.ranges, hub.cuts[UNET] = ranges, [1000]
    assert fetched().exit_code == 0 and is_whole(place)
    assert hub.asked(UNET)[:2] == ["", "bytes=1000-"] and len(hub.asked(UNET)) <= 3


@pytest.mark.parametrize("name", [UNET, "vae/config.json"])
def test_right_size_with_wrong_content_is_noticed(hub: Hub, place: Path, name: str) -> None:
    hub.spoilt[name] = bytes(len(FILES[name]))
    says_one_line(fetched(), 4, name, "right size, wrong content")
    assert not place.exists() and not list(place.parent.rglob(f"{Path(name).name}.part"))
    hub.spoilt.clear()
    assert fetched().exit_code == 0 and is_whole(place)


def test_more_or_fewer_bytes_than_listed_are_noticed(hub: Hub, place: Path) -> None:
    hub.spoilt[UNET] = FILES[UNET] + b"more"
    says_one_line(fetched(), 4, "more bytes than listed")
    hub.spoilt[UNET] = FILES[UNET][:-1]
    says_one_line(fetched(), 4, UNET)
    assert not place.exists()


@pytest.mark.parametrize(
    ("where", "status", "says"),
    [
        (UNET, 302, "redirects in circles; look at HF_ENDPOINT"),
        (UNET, 401, "the hub wants to know who asks (401): accept the terms"),
        (UNET, 403, "the hub refuses (403): accept the terms"),
        (UNET, 404, "not there (404): look at --revision"),
        (UNET, 500, "the line breaks again and again (status 500)"),
        ("api", 401, "the hub wants to know who asks (401)"),
        ("api", 403, "the hub refuses (403)"),
        ("api", 404, "not there (404)"),
        ("api", 500, "the hub does not answer"),
    ],
)
def test_every_refusal_is_one_line(hub: Hub, place: Path, where: str, status: int, says: str) -> None:
    hub.statuses[where] = status
    says_one_line(fetched(), 4, says, REPOSITORY if where == "api" else UNET)
    assert not place.exists()


def test_a_hub_that_is_not_there_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    says_one_line(fetched(), 4, REPOSITORY, "the hub does not answer", "name a mirror")


def test_a_repository_that_lacks_a_part_or_a_digest_is_named(hub: Hub, place: Path) -> None:
    del hub.files["vae/config.json"]
    says_one_line(fetched(), 4, "has no vae/config.json")
    del hub.files[UNET]
    says_one_line(fetched(), 4, "has no unet/diffusion_pytorch_model.safetensors or diffusion_pytorch_model.bin")
    assert hub.asked("unet/config.json") == []


def test_a_token_goes_to_the_hub_and_not_where_it_points_to(hub: Hub, place: Path) -> None:
    hub.elsewhere, hub.cuts[UNET] = True, [5000]
    assert fetched().exit_code == 0 and is_whole(place)
    assert {token for path, _, token in hub.seen if not path.startswith("/cdn/")} == {"Bearer hf_made_up"}
    assert {token for path, _, token in hub.seen if path.startswith("/cdn/")} == {""}
    assert ("/cdn/" + UNET, "bytes=5000-", "") in hub.seen


def test_a_full_disk_is_one_line_and_the_rest_goes_on_later(
    hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        """A file on a disk with room for 4000 bytes more."""

        room = 4000

        def write(self, data: Any) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = super().write(data[: self.room]) or 0
            self.room -= taken
            return taken

    good = line._open
    monkeypatch.setattr(line, "_open", lambda path, mode: Full(path, mode))
    says_one_line(fetched(), 5, ".part: cannot be written (No space left on device); make room")
    assert not place.exists()
    monkeypatch.setattr(line, "_open", good)
    assert fetched().exit_code == 0 and is_whole(place)
    assert "bytes=4000-" in {r for _, r, _ in hub.seen}


def test_too_little_room_is_said_before_anything_comes(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "ROOM", 1 << 60)
    says_one_line(fetched(), 5, "GB needed", "GB free", "IMG2MV3D_WEIGHTS")
    assert hub.asked(UNET) == []


def test_two_at_once_make_one_whole_folder(hub: Hub, place: Path) -> None:
    notes: list[str] = []
    twins = [
        threading.Thread(target=lambda: notes.append(str(fetch("wonder3d", place, say=notes.append)))) for _ in range(3)
    ]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join(60)
    assert is_whole(place) and notes.count(str(place)) == 3
    assert len(hub.asked(UNET)) == 1, "the others wait, then find it"


def test_a_process_is_killed_and_two_others_finish_its_work(hub: Hub, place: Path) -> None:
    """Real processes: what the first left is taken up by one of the next two, while the other waits."""
    hub.holds[UNET] = 123_456
    words = [sys.executable, "-m", "img2mv3d", "weights", "fetch", "wonder3d", "--accept-licence"]
    told = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(words, **told)
    until = time.monotonic() + 60
    while sum(p.stat().st_size for p in place.parent.rglob(f"{Path(UNET).name}.part")) < 123_456:
        assert time.monotonic() < until and first.poll() is None, first.communicate()
        time.sleep(0.02)
    first.kill()
    first.communicate()
    assert not place.exists()
    hub.seen.clear()
    twins = [subprocess.Popen(words, **told) for _ in range(2)]
    said = [twin.communicate(timeout=120) for twin in twins]
    assert [twin.returncode for twin in twins] == [0, 0], said
    assert is_whole(place) and [out for out, _ in said] == [f"{place}\n"] * 2
    assert hub.asked(UNET) == ["bytes=123456-"]


def test_the_hubs_own_library_begins_a_killed_download_anew(hub: Hub, tmp_path: Path) -> None:
    """Why `hub.bring` is a loop of ours. When this fails, the library has learned it, and the loop may go."""
    hub.files[UNET] = bytes(12 << 20)  # the library writes pieces of 10 MiB
    hub.holds[UNET] = 11 << 20
    load = f"from huggingface_hub import hf_hub_download as load; load({REPOSITORY!r}, {UNET!r}, revision={COMMIT!r}, "
    words = [sys.executable, "-c", load + f"cache_dir={str(tmp_path)!r})"]
    first = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while sum(p.stat().st_size for p in tmp_path.rglob("*.incomplete")) < 10 << 20:
        assert time.monotonic() < until and first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.wait()
    subprocess.run(words, check=True, capture_output=True)
    assert hub.asked(UNET) == ["", ""]


def test_the_hub_hears_nothing_of_the_machine(hub: Hub, place: Path) -> None:
    assert fetched().exit_code == 0
    assert any("python/" in agent for agent in hub.agents)  # what the library says of itself in any case
    assert not [agent for agent in hub.agents if "torch/" in agent or "agent/" in agent]


def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_offline_no_socket_is_opened(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    assert fetched().exit_code == 0
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    words = ("--offline",) if how == "flag" else ()
    no_sockets(monkeypatch)
    result = call("fetch", "wonder3d", *words)
    assert result.exit_code == 0 and f"all {len(TAKEN)} files are here and verified" in result.stderr
    (place / UNET).write_bytes(bytes(300_000))
    says_one_line(fetched(*words), 4, f"{UNET} is damaged", "weights import DIR")
    shutil.rmtree(place)
    says_one_line(fetched(*words), 4, "not here")


def test_sockets_that_are_blocked_would_be_noticed(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_sockets(monkeypatch)
    assert fetched().exit_code != 0


def test_fetching_again_opens_no_connection_and_mends_what_is_damaged(hub: Hub, place: Path) -> None:
    assert fetched().exit_code == 0
    hub.seen.clear()
    assert call("fetch", "wonder3d").exit_code == 0 and hub.seen == []
    data = bytearray((place / UNET).read_bytes())
    data[7] ^= 1
    (place / UNET).write_bytes(data)
    assert faults(place) == [f"{UNET} is damaged"]
    assert call("fetch", "wonder3d").exit_code == 0 and is_whole(place)
    assert hub.asked(UNET) == [""] and hub.asked("vae/diffusion_pytorch_model.bin") == []


def test_a_pinned_digest_decides(hub: Hub, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = door.read_table

    def pinned(upstream: str, table: str) -> dict[str, Any]:
        told = read(upstream, table)
        if table == "upstream":
            told["weights"] |= {"revision": COMMIT, "sha256": {UNET: "0" * 64}}
        return told

    monkeypatch.setattr(door, "read_table", pinned)
    says_one_line(fetched(), 4, UNET, "wrong content")
    assert any(path == f"/api/models/{REPOSITORY}/revision/{COMMIT}" for path, _, _ in hub.seen)


def test_a_folder_of_somebody_else_is_left_alone(hub: Hub, place: Path) -> None:
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    says_one_line(fetched(), 2, "holds something that was not fetched")
    assert contents(place) == {"mine.txt": b"mine"} and hub.seen == []


def test_a_copy_is_imported_and_found_by_name(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from img2mv3d.bundles.weights import Checkpoint, load_bundle

    monkeypatch.chdir(tmp_path)
    no_sockets(monkeypatch)
    source = tiny_checkpoint(tmp_path / "copy")
    says_one_line(call("import", source), 2, "--accept-licence")
    result = call("import", source, "--accept-licence")
    assert result.exit_code == 0 and result.stdout == f"{place}\n" and faults(place) == []
    bundle = load_bundle("wonder3d")
    assert isinstance(bundle, Checkpoint) and bundle.folder == place
    bundle.check()
    assert len(call("list").stdout.splitlines()) == 2
    (place / UNET).write_bytes(b"")
    says_one_line(call("verify", "wonder3d"), 4, f"{UNET} is damaged", "weights fetch")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: shutil.rmtree(f), "no such folder"),
        (lambda f: (f / UNET).unlink(), "no weights; expected"),
        (lambda f: (f / UNET).write_bytes(b"torn"), "cannot be read as weights"),
        (lambda f: shutil.rmtree(f / "image_encoder"), "image_encoder: no weights"),
    ],
)
def test_a_broken_copy_is_not_imported(
    tmp_path: Path, place: Path, damage: Callable[[Path], object], says: str
) -> None:
    damage(tiny_checkpoint(tmp_path / "copy"))
    says_one_line(call("import", tmp_path / "copy", "--accept-licence"), 4, says)
    assert not place.exists() and not list(tmp_path.rglob("*.part"))


def test_the_table_of_licences_names_code_weights_and_data() -> None:
    result = CliRunner().invoke(app, ["licences"], prog_name="img2mv3d")
    assert result.exit_code == 0
    for words in ("code img2mv3d MIT", "weights mini CC-BY-SA", "weights Wonder3D AGPL-3.0", "data examples/ CC0"):
        assert re.search(words.replace(" ", " +"), result.stdout), words
    assert "Stable Video Diffusion" in result.stdout and "Community" in result.stdout

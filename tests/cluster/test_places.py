"""Places of a shared store: whole bytes or none, what is missing is no error, what hangs holds up nobody."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from img2mv3d.cluster import places
from img2mv3d.cluster.places import Bucket, Folder, Place, place_of, within
from img2mv3d.errors import UsageError


class Client:
    """A client of fsspec's kind over a dict. lax: takes "create only" for "write", as some do."""

    def __init__(self, objects: dict[str, bytes], *, lax: bool = False) -> None:
        self.objects, self.lax, self.failing = objects, lax, None

    def cat_file(self, path: str) -> bytes:
        self._fail()
        if path not in self.objects:
            raise FileNotFoundError(path)
        return self.objects[path]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        self._fail()
        if mode == "create" and path in self.objects and not self.lax:
            raise FileExistsError(path)
        self.objects[path] = value

    def rm_file(self, path: str) -> None:
        self.objects.pop(path, None)

    def _fail(self) -> None:
        if self.failing is not None:
            raise self.failing


@pytest.fixture(params=["folder", "bucket", "lax"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Folder(tmp_path)
    client = Client({}, lax=request.param == "lax")
    return Bucket("x://y", lambda: (client, "y"))


def test_what_is_put_can_be_had_and_what_is_missing_is_none(place: Place) -> None:
    assert place.get("a/b") is None
    place.put("a/b", b"first")
    place.put("a/b", b"second")
    assert place.get("a/b") == b"second"


def test_the_first_stays_even_where_the_store_would_not_care(place: Place) -> None:
    assert place.put_new("entry", b"first") and not place.put_new("entry", b"second")
    assert place.get("entry") == b"first"


def test_the_probe_leaves_nothing() -> None:
    objects: dict[str, bytes] = {}
    Bucket("x://y", lambda: (Client(objects), "y")).put_new("entry", b"1")
    assert objects == {"y/entry": b"1"}


def test_what_breaks_while_it_is_written_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Folder(tmp_path)

    def full(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(places.os, "fsync", full)
    for put in (place.put, place.put_new):
        with pytest.raises(OSError, match="no space left"):
            put("entry", b"half of it")
    assert place.get("entry") is None and list((tmp_path / "tmp").iterdir()) == []


def test_a_bucket_gets_whole_bytes_in_one_request_and_opens_no_file() -> None:
    asked: list[str] = []

    class Whole(Client):
        def __getattribute__(self, name: str) -> Any:
            if not name.startswith("_") and name not in ("objects", "lax", "failing"):
                asked.append(name)
            return super().__getattribute__(name)

    bucket = Bucket("x://y", lambda: (Whole({}), "y"))
    bucket.put("a", b"1"), bucket.put_new("b", b"2"), bucket.get("a"), bucket.get("c")
    assert set(asked) <= {"cat_file", "pipe_file", "rm_file"}  # no listing, which could be stale, and no open


def test_drafts_without_a_writer_are_removed_when_they_are_old(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    for name, age in (("old", places.STALE + 60), ("young", 60)):
        (tmp_path / "tmp" / name).write_bytes(b"half")
        os.utime(tmp_path / "tmp" / name, (time.time() - age,) * 2)
    Folder(tmp_path).put("a", b"1")
    assert [p.name for p in (tmp_path / "tmp").iterdir()] == ["young"]


def test_a_process_that_was_forked_makes_a_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clients: list[Client] = []
    bucket = Bucket("x://y", lambda: (clients.append(Client({"y/a": b"1"})) or clients[-1], "y"))
    assert bucket.get("a") == bucket.get("a") == b"1" and len(clients) == 1
    monkeypatch.setattr(places.os, "getpid", lambda: -1)
    assert bucket.get("a") == b"1" and len(clients) == 2


def test_one_of_two_writers_is_first(tmp_path: Path) -> None:
    place, won = Folder(tmp_path), []
    threads = [threading.Thread(target=lambda n=n: won.append(place.put_new("x", b"%d" % n))) for n in range(8)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert sorted(won) == [False] * 7 + [True] and place.get("x") is not None
    assert not list((tmp_path / "tmp").iterdir())


def test_a_client_is_made_anew_after_a_failure_credentials_expire() -> None:
    clients: list[Client] = []

    def make() -> tuple[Any, str]:
        clients.append(Client({"y/a": b"1"}))
        return clients[-1], "y"

    bucket = Bucket("x://y", make)
    assert bucket.get("a") == b"1" and bucket.get("a") == b"1" and len(clients) == 1
    clients[0].failing = PermissionError("token expired")
    assert bucket.get("a") == b"1" and len(clients) == 2


def test_forbidden_is_missing_where_nobody_may_list() -> None:
    client = Client({"y/a": b"1"})
    client.failing = PermissionError("403")
    assert Bucket("x://y", lambda: (client, "y")).get("gone") is None
    with pytest.raises(PermissionError):
        Bucket("x://y", lambda: (client, "y")).put("a", b"2")


def test_what_hangs_is_left_behind() -> None:
    ended = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.05, ended.wait)
    ended.set()
    assert within(5.0, lambda: None) is None
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 // 0)


@pytest.mark.parametrize("url", ["bucket", "/shared", "s3:///prefix", "file:relative", "file://host/x"])
def test_an_url_that_says_nothing_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="expected a URL such as"):
        place_of(url)


def test_a_store_that_needs_a_package_says_so(tmp_path: Path) -> None:
    assert isinstance(place_of(f"file://{tmp_path}"), Folder)
    with pytest.raises(UsageError, match=r"--store abcdef://x: .*pip install 'img2mv3d\[cluster\]'"):
        place_of("abcdef://x").get("a")

"""A bucket of a local S3 server: two machines at once, requests that fail, and no wrong or torn entry."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moto")
pytest.importorskip("s3fs")
pytest.importorskip("flask_cors")

from img2mv3d.cluster.places import Bucket
from img2mv3d.cluster.shared_store import Remote, SharedStore
from img2mv3d.files.durable import unsealed
from tests.cluster.s3_writer import KEYS, content

pytestmark = pytest.mark.slow
OPERATIONS = int(os.environ.get("IMG2MV3D_S3_OPERATIONS", "200"))  # 10,000 take seven minutes of a processor


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("shop")
        yield "s3://shop/store"
    server.stop()


def test_a_bucket_is_a_place(url: str) -> None:
    bucket = Bucket(url)
    assert bucket.get("a/b") is None
    bucket.put("a/b", b"1")
    assert bucket.get("a/b") == b"1"
    assert bucket.put_new("a/c", b"1") and not bucket.put_new("a/c", b"2") and bucket.get("a/c") == b"1"


def test_what_is_there_and_what_is_missing_cost_one_request_each(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    asked, call = [], s3fs.S3FileSystem._call_s3

    async def recorded(client: Any, method: str, *words: Any, **more: Any) -> Any:
        asked.append(method)
        return await call(client, method, *words, **more)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", recorded)
    bucket = Bucket(url)
    bucket.put("once", b"1")
    assert bucket.get("once") == b"1" and bucket.get("never") is None
    assert asked == ["put_object", "get_object", "get_object"]


def test_a_bucket_that_is_not_there_costs_a_word(url: str, tmp_path: Path) -> None:
    words: list[str] = []
    store = SharedStore(tmp_path / "cache", Remote("s3://gone/x", Bucket("s3://gone/x")), words.append)
    (tmp_path / "mesh").write_bytes(b"1")
    assert store.put(KEYS[0], "export", tmp_path, ["mesh"], {})
    assert len(words) == 1 and "going on without it" in words[0]


def test_two_writers_and_failing_requests_leave_no_wrong_or_torn_entry(url: str, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.cluster.s3_writer", url]
    root = Path(__file__).parents[2]
    (tmp_path / "1").mkdir(), (tmp_path / "2").mkdir()
    both = [
        subprocess.Popen([*line, str(tmp_path / seed), seed, str(OPERATIONS // 2)], cwd=root, stdout=subprocess.PIPE)
        for seed in ("1", "2")
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(map(int, said)) > OPERATIONS // 10
    bucket, whole = Bucket(url), 0
    for key in KEYS:  # at the end: what there is is whole
        if (data := bucket.get(f"entries/{key[:2]}/{key}.json")) is not None:
            facts = unsealed(data)
            wanted = content(key, facts["made"]["writer"])
            for name, about in facts["files"].items():
                assert bucket.get(f"objects/{about['sha256'][:2]}/{about['sha256']}") == wanted[name]
            whole += 1
    assert whole > 10

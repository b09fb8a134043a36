"""A machine that works on a shared store in a bucket: `python -m tests.cluster.s3_writer URL FOLDER SEED COUNT`.

Each operation puts or gets an entry of a few keys; bytes differ from writer to writer. Now and then the client fails
before or after it has done what it was asked. What is read must be one writer's, whole. Prints how many were read.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from img2mv3d.cluster.places import Bucket
from img2mv3d.cluster.shared_store import Remote, SharedStore
from img2mv3d.files.durable import digest_of

KEYS = [digest_of(n) for n in range(40)]
FAILING = 0.05  # of all requests


class Failing:
    """A client that sometimes fails."""

    def __init__(self, client: Any, rng: random.Random) -> None:
        self._client, self._rng = client, rng

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def tried(*words: Any, **more: Any) -> Any:
            if self._rng.random() < FAILING / 2:
                raise ConnectionError("before")
            found = call(*words, **more)
            if self._rng.random() < FAILING / 2:
                raise ConnectionError("after")
            return found

        return tried


def content(key: str, writer: str) -> dict[str, bytes]:
    """What a writer makes under a key: two files that belong together."""
    return {name: f"{key} {writer} {name}".encode() * 200 for name in ("a.bin", "views/b.bin")}


def main(url: str, folder: str, seed: str, count: str) -> None:
    """Work."""
    rng, clock = random.Random(int(seed)), itertools.count(0, 1000)  # whatever is away is tried again at once
    client, root = Bucket(url)._opened()
    bucket = Bucket(url, lambda: (Failing(client, rng), root))
    read = 0
    for number in range(int(count)):
        remote = Remote(url, bucket, lambda: float(next(clock)))
        key = rng.choice(KEYS)
        with tempfile.TemporaryDirectory(dir=folder) as place:  # a new machine each time: nothing is known here
            store, into = SharedStore(Path(place) / "cache", remote), Path(place) / "into"
            into.mkdir()
            if rng.random() < 0.5:
                for name, data in content(key, seed).items():
                    (into / name).parent.mkdir(exist_ok=True)
                    (into / name).write_bytes(data)
                store.put(key, "export", into, list(content(key, seed)), {"writer": seed, "number": number})
            elif (entry := store.get(key, into)) is not None:
                wanted = content(key, entry.made["writer"])
                assert {name: (into / name).read_bytes() for name in entry.files} == wanted, key
                read += 1
    print(read)


if __name__ == "__main__":
    main(*sys.argv[1:])

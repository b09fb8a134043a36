"""The shared store: what one machine made another has; no byte unverified; no trouble of the store is a run's."""

import threading
import time
from pathlib import Path

import pytest

from img2mv3d.cluster import shared_store
from img2mv3d.cluster.places import Folder
from img2mv3d.cluster.shared_store import PAUSE, Remote, SharedStore

KEY, OTHER = "a1" * 32, "b2" * 32


class Shared:
    """A shared folder with a switch, and machines that use it."""

    def __init__(self, place: Path) -> None:
        self.place, self.now, self.words = place, 0.0, []
        self.broken: Exception | None = None
        self.folder = Folder(place / "shared")
        (place / "work").mkdir()

    def machine(self, name: str) -> SharedStore:
        outer = self

        class Switched(Folder):
            def get(self, name: str) -> bytes | None:
                if outer.broken:
                    raise outer.broken
                return super().get(name)

            def _put(self, *words) -> None:
                if outer.broken:
                    raise outer.broken
                super()._put(*words)

        remote = Remote("file:///shared", Switched(self.place / "shared"), lambda: self.now)
        return SharedStore(self.place / name, remote, self.words.append)

    def made(self, store: SharedStore, key: str = KEY, data: bytes = b"mesh") -> None:
        source = self.place / "work"
        (source / "views").mkdir(exist_ok=True)
        (source / "mesh.glb").write_bytes(data)
        (source / "views" / "0.png").write_bytes(b"view")
        store.put(key, "export", source, ["mesh.glb", "views/0.png"], {"seconds": 1.5})

    def had(self, store: SharedStore, key: str = KEY) -> bytes | None:
        into = self.place / f"into-{len(list(self.place.iterdir()))}"
        into.mkdir()
        if store.get(key, into) is None:
            assert not list(into.iterdir())
            return None
        assert (into / "views" / "0.png").read_bytes() == b"view"
        return (into / "mesh.glb").read_bytes()


@pytest.fixture
def shared(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


def test_what_one_machine_made_another_has_from_then_on_without_asking(shared: Shared) -> None:
    shared.made(shared.machine("one"))
    two = shared.machine("two")
    assert shared.had(two) == b"mesh"
    shared.broken = OSError("gone")
    assert shared.had(two) == b"mesh" and shared.words == []
    assert shared.had(shared.machine("three")) is None


def test_the_first_entry_of_a_key_stays(shared: Shared) -> None:
    shared.made(shared.machine("one"), data=b"of two threads")
    shared.made(shared.machine("two"), data=b"of one thread")
    assert shared.had(shared.machine("three")) == b"of two threads" and shared.words == []
    assert shared.had(shared.machine("two")) == b"of one thread"


@pytest.mark.parametrize("part", ["entries", "objects"])
@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_damage_is_a_miss_and_is_mended(shared: Shared, part: str, harm: str) -> None:
    shared.made(shared.machine("one"))
    for path in (shared.place / "shared" / part).glob("*/*"):
        data = path.read_bytes()
        path.unlink()
        if harm != "gone":
            path.write_bytes(data[:-1] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    two = shared.machine("two")
    assert shared.had(two) is None
    assert ("damaged" in "".join(shared.words)) == ((part, harm) != ("entries", "gone"))
    shared.made(two)
    assert shared.had(shared.machine("three")) == b"mesh"


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("a client's own"), TimeoutError("slow")])
def test_a_dead_store_costs_a_word_and_is_left_alone_for_a_while(shared: Shared, error: Exception) -> None:
    one = shared.machine("one")
    shared.broken = error
    assert shared.had(one) is None
    shared.made(one)
    assert shared.had(one) == b"mesh" and len(shared.words) == 1 and "going on without it" in shared.words[0]


def test_a_store_that_hangs_costs_its_deadline_once(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_store, "DEADLINE", 0.1)
    hung = threading.Event()
    monkeypatch.setattr(Folder, "get", lambda place, name: hung.wait() and None)
    one, begun = shared.machine("one"), time.monotonic()
    assert shared.had(one) is None and shared.had(one, OTHER) is None
    assert "no answer within 0.1 s" in shared.words[0] and len(shared.words) == 1
    hung.set()
    assert time.monotonic() - begun < 5


def test_what_it_missed_it_gets_when_it_is_back(shared: Shared) -> None:
    one, two = shared.machine("one"), shared.machine("two")
    shared.broken = OSError("away")
    shared.made(one)
    shared.broken, shared.now = None, PAUSE + 1
    assert shared.had(two) is None
    shared.made(one, OTHER)
    assert shared.had(two) == b"mesh" and shared.had(two, OTHER) == b"mesh"


def test_a_name_that_leads_elsewhere_is_not_followed(shared: Shared) -> None:
    from img2mv3d.files.durable import sealed, unsealed

    shared.made(shared.machine("one"))
    (path,) = (shared.place / "shared" / "entries").glob("*/*.json")
    facts = unsealed(path.read_bytes())
    facts["files"]["../../outside"] = facts["files"].pop("mesh.glb")
    path.write_bytes(sealed(facts))
    assert shared.had(shared.machine("two")) is None and not list(shared.place.rglob("outside"))


def test_a_key_of_another_entry_is_not_taken(shared: Shared) -> None:
    shared.made(shared.machine("one"))
    (path,) = (shared.place / "shared" / "entries").glob("*/*.json")
    place = shared.place / "shared" / "entries" / OTHER[:2]
    place.mkdir()
    (place / f"{OTHER}.json").write_bytes(path.read_bytes())
    assert shared.had(shared.machine("two"), OTHER) is None


def test_traffic_is_counted(shared: Shared) -> None:
    one = shared.machine("one")
    shared.made(one)
    assert one._remote.traffic["puts"] == 3 and one._remote.traffic["bytes_out"] > len(b"meshview")

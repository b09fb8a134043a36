"""The cache: what goes in comes out or is missed; nothing damaged ever comes out."""

import errno
import json
import multiprocessing
import os
import shutil
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from img2mv3d.files.durable import sealed, unsealed
from img2mv3d.flow import store as store_module
from img2mv3d.flow.graph import GRAPH, Input
from img2mv3d.flow.store import Store, default_folder, key
from img2mv3d.plans import Plan
from tests.folders import flip

A, B = "a" * 64, "b" * 64
DEPTH = {
    "options": {"grid": 128, "effort": 1.0, "revolution_prior": None},
    "inputs": {"latents": A, "body": None, "given": None},
}
GOLDEN_KEYS = {
    "prepare": "f6ad4c0d1ea837ce",
    "back": "8c4f46ecbeaebcf9",
    "sides": "fdcb3c42175867c4",
    "shape": "4e2154b272ab6b38",
    "generate": "e8483c4cb4366a14",
    "encode": "fcdfccb1cbbe813b",
    "depth": "27ed8bd6ad72f47e",
    "decode": "869ba71790ba8d54",
    "reconstruct": "51e49e0fda9b53e7",
    "export": "84220531bfc15f89",
}


def filled(tmp_path: Path, warned: list[str], name: str = A) -> Store:
    store = Store(tmp_path / "cache", warned.append)
    draft = tmp_path / "draft"
    (draft / "views").mkdir(parents=True, exist_ok=True)
    (draft / "views" / "a.png").write_bytes(b"picture")
    (draft / "views.json").write_bytes(b"{}")
    assert store.put(name, "decode", draft, ["views/a.png", "views.json"], {"seconds": 1.5})
    return store


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    store = filled(tmp_path, warned := [])
    entry = store.get(A, tmp_path / "into")
    assert (tmp_path / "into" / "views" / "a.png").read_bytes() == b"picture"
    assert entry is not None and entry.stage == "decode" and entry.made == {"seconds": 1.5} and entry.size == 9
    assert not warned


def test_an_unknown_key_is_a_miss(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").get(A, tmp_path / "into") is None
    assert filled(tmp_path, []).get(B, tmp_path / "into") is None


def test_no_cache_keeps_nothing_and_finds_nothing(tmp_path: Path) -> None:
    store = Store(None)
    assert not store.put(A, "decode", tmp_path, [], {})
    assert store.get(A, tmp_path) is None and store.size() == 0 and store.prune(0) == (0, 0) and not store.entries()
    with store.lock(A) as waited:
        assert not waited


@pytest.mark.parametrize("victim", ["files/views/a.png", "files/views.json", "entry.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "remove"])
def test_a_damaged_entry_is_set_aside_named_and_missed(tmp_path: Path, victim: str, harm: str) -> None:
    store = filled(tmp_path, warned := [])
    path = tmp_path / "cache" / "entries" / A[:2] / A / victim
    if harm == "flip":
        flip(path)
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif harm == "grow":
        path.write_bytes(path.read_bytes() + b"}")
    else:
        path.unlink()
    assert store.get(A, tmp_path / "into") is None
    assert not any(p.is_file() for p in (tmp_path / "into").rglob("*"))
    assert len(warned) == 1 and A[:12] in warned[0] and "damaged" in warned[0]
    assert len(list((tmp_path / "cache" / "bad").iterdir())) == 1
    filled(tmp_path, warned)
    assert store.get(A, tmp_path / "into") is not None


def test_a_flip_of_any_bit_of_a_manifest_is_noticed() -> None:
    data = sealed({"made": {"seconds": 1.5}, "files": {"a": {"size": 7}}})
    assert unsealed(data) == {"made": {"seconds": 1.5}, "files": {"a": {"size": 7}}}
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError):
            unsealed(bytes(flipped))


def test_a_manifest_cannot_write_outside(tmp_path: Path) -> None:
    store = filled(tmp_path, warned := [])
    facts = {"format": "img2mv3d-entry/1", "key": A, "stage": "x", "made": {}}
    for name in ("../escape", "/tmp/escape", "a/../../b"):
        path = tmp_path / "cache" / "entries" / A[:2] / A / "entry.json"
        path.write_bytes(sealed({**facts, "files": {name: {"size": 1, "sha256": "0"}}}))
        assert store.get(A, tmp_path / "into") is None
        filled(tmp_path, warned)


def test_a_cache_that_cannot_be_written_is_a_warning_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    warned: list[str] = []
    store = Store(tmp_path / "file" / "cache", warned.append)
    (tmp_path / "a").write_text("a")
    for _ in range(2):
        assert store.get(A, tmp_path / "into") is None
        assert not store.put(A, "decode", tmp_path, ["a"], {})
    assert len(warned) == 1 and "cannot be written" in warned[0]


def test_a_full_disk_is_a_warning_and_leaves_no_half_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> dict[str, object]:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = filled(tmp_path, warned := [])
    monkeypatch.setattr(store_module, "copy_durably", full)
    assert not store.put(B, "decode", tmp_path / "draft", ["views.json"], {})
    assert "No space left" in warned[0]
    assert not list((tmp_path / "cache" / "tmp").iterdir()) and store.get(B, tmp_path / "into") is None


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_a_warning(tmp_path: Path) -> None:
    store = filled(tmp_path, warned := [])
    os.chmod(tmp_path / "cache", stat.S_IREAD | stat.S_IEXEC)
    os.chmod(tmp_path / "cache" / "tmp", stat.S_IREAD | stat.S_IEXEC)
    assert not store.put(B, "decode", tmp_path / "draft", ["views.json"], {}) and warned


def test_the_second_writer_of_a_key_changes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, warned := [])
    filled(tmp_path, warned)
    assert len(store.entries()) == 1 and not warned and not list((tmp_path / "cache" / "tmp").iterdir())


def test_the_second_writer_of_a_damaged_entry_replaces_it(tmp_path: Path) -> None:
    store = filled(tmp_path, warned := [])
    flip(tmp_path / "cache" / "entries" / A[:2] / A / "files" / "views" / "a.png")
    filled(tmp_path, warned)
    assert store.get(A, tmp_path / "into") is not None and "damaged" in warned[0]


def test_holds_checks_every_byte(tmp_path: Path) -> None:
    store = filled(tmp_path, warned := [])
    assert store.holds(A) and not store.holds(B)
    flip(tmp_path / "cache" / "entries" / A[:2] / A / "files" / "views" / "a.png")
    assert not store.holds(A) and warned


def test_prune_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    store = filled(tmp_path, [])
    for age, name in ((300, A), (200, B), (100, "c" * 64)):
        filled(tmp_path, [], name)
        place = tmp_path / "cache" / "entries" / name[:2] / name / "entry.json"
        os.utime(place, (1e9 - age, 1e9 - age))
    store.get(A, tmp_path / "into")  # used just now
    assert store.prune(18)[0] == 1
    assert {e.key[0] for e in store.entries()} == {"a", "c"}
    assert store.prune(0)[0] == 2 and not store.entries()


def test_verify_counts_and_names_the_damaged(tmp_path: Path) -> None:
    store = filled(tmp_path, [])
    filled(tmp_path, [], B)
    flip(tmp_path / "cache" / "entries" / B[:2] / B / "files" / "views.json")
    assert store.verify() == (1, [B], [])
    assert store.verify() == (1, [], [])


def many_entries(tmp_path: Path, warned: list[str], count: int = 12) -> tuple[Store, list[str]]:
    keys = [f"{number:x}" * 64 for number in range(count)]
    for name in keys:
        store = filled(tmp_path, warned, name)
    return store, keys


def test_verify_counts_what_is_there(tmp_path: Path) -> None:
    """Every kind of rot, and what is no entry: three counts that add up to the entries, and hold the second time."""
    store, keys = many_entries(tmp_path, warned := [])
    place = {name: tmp_path / "cache" / "entries" / name[:2] / name for name in keys}
    flip(place[keys[0]] / "entry.json")
    flip(place[keys[1]] / "files" / "views" / "a.png")
    (place[keys[2]] / "entry.json").unlink()
    (place[keys[3]] / "files" / "views.json").unlink()
    (place[keys[4]] / "files" / "views.json").write_bytes(b"")
    shutil.rmtree(place[keys[5]] / "files")
    place[keys[6]].rename(place[keys[6]].with_name(B))  # a name that is not its own
    (place[keys[7]].parent / ".DS_Store").write_bytes(b"no entry")
    (tmp_path / "cache" / "entries" / "notes.txt").write_bytes(b"no entry")
    (place[keys[8]] / "files" / "more.txt").write_bytes(b"nobody reads it")
    found = store.verify()
    assert found.good == 5 and sorted(found.aside) == sorted([*keys[:6], B]) and not found.stuck
    assert len(list((tmp_path / "cache" / "bad").iterdir())) == len(found.aside) == len(warned)
    assert len(store.entries()) == found.good and store.verify() == (5, [], [])


def test_verify_takes_none_for_damaged_that_somebody_removes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = many_entries(tmp_path, warned := [])
    listed = store._places()
    store.prune(5 * 9)  # bytes of five entries
    monkeypatch.setattr(store, "_places", lambda unread=None: listed)
    assert store.verify() == (5, [], []) and not warned


def test_verify_tells_what_it_cannot_read_or_move_from_what_it_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, keys = many_entries(tmp_path, warned := [], 4)
    flip(tmp_path / "cache" / "entries" / keys[0][:2] / keys[0] / "entry.json")
    (tmp_path / "cache" / "bad").write_bytes(b"in the way")
    real = store_module.copy_verified

    def broken(path: Path, *more: Any) -> Any:
        if keys[1] in path.parts:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *more)

    monkeypatch.setattr(store_module, "copy_verified", broken)
    assert store.verify() == (2, [], keys[:2]) and len(warned) == 2


def test_prune_clears_what_was_set_aside(tmp_path: Path) -> None:
    store = filled(tmp_path, [])
    flip(tmp_path / "cache" / "entries" / A[:2] / A / "entry.json")
    store.get(A, tmp_path / "into")
    store.prune(10**9)
    assert not (tmp_path / "cache" / "bad").exists()


def hold(folder: Path, ready: object, go: object) -> None:
    with Store(folder).lock(A):
        ready.set()
        go.wait(10)


def test_a_lock_makes_the_second_wait_and_look_again(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready, go))
    other.start()
    assert ready.wait(10)
    context.Process(target=_release, args=(go,)).start()
    with Store(tmp_path).lock(A) as waited:
        assert waited
    other.join(10)
    with Store(tmp_path).lock(A) as waited:
        assert not waited


def _release(go: object) -> None:
    import time

    time.sleep(0.3)
    go.set()


def test_a_lock_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("in the way")
    with Store(tmp_path).lock(A) as waited:
        assert not waited


def test_golden_keys() -> None:
    """A changed key silently costs every user hours: change these only on purpose."""
    keys = {}
    for name, stage in GRAPH.items():
        options = stage.options_in(Plan())
        keys[name] = key(
            stage,
            {} if options is None else asdict(options),
            {i.name: None if i.optional else A for i in stage.inputs},
            weights=B if {"weights", "decoder"} & set(stage.uses) else None,
            seed=7 if "seed" in stage.uses else None,
            arithmetic="cpu-float32" if "arithmetic" in stage.uses else None,
        )[:16]
    assert keys == GOLDEN_KEYS


def test_every_ingredient_changes_the_key() -> None:
    def depth(version: int = 1, **change: object) -> str:
        told = {**DEPTH, "weights": B, "arithmetic": "cpu-float32", **change}
        return key(replace(GRAPH["depth"], version=version), told.pop("options"), told.pop("inputs"), **told)

    keys = {
        depth(),
        depth(2),
        depth(options={**DEPTH["options"], "grid": 64}),
        depth(inputs={"latents": B, "body": None, "given": None}),
        depth(inputs={"latents": A, "body": None, "given": "none"}),
        depth(weights=A),
        depth(arithmetic="cuda-float16"),
    }
    assert len(keys) == 7


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": {"latents": A}},
        {"options": {**DEPTH["options"], "colour": "red"}},
        {"weights": None},
        {"seed": 3},
    ],
)
def test_an_ingredient_that_is_not_declared_is_refused(change: dict[str, object]) -> None:
    told = {**DEPTH, "weights": B, "arithmetic": "cpu-float32", **change}
    with pytest.raises(ValueError, match="depth"):
        key(GRAPH["depth"], told.pop("options"), told.pop("inputs"), **told)


def test_an_optional_input_that_is_not_there_leaves_the_key_as_it_was() -> None:
    more = replace(GRAPH["depth"], inputs=(*GRAPH["depth"].inputs, Input("shape", optional=True)))
    told = {"options": DEPTH["options"], "weights": B, "arithmetic": "cpu-float32"}
    before = key(GRAPH["depth"], inputs=DEPTH["inputs"], **told)
    assert key(more, inputs={**DEPTH["inputs"], "shape": None}, **told) == before
    assert key(more, inputs={**DEPTH["inputs"], "shape": A}, **told) != before


def test_the_environment_names_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMG2MV3D_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("IMG2MV3D_CACHE")
    assert default_folder().name == "img2mv3d"


def test_manifests_are_plain_json(tmp_path: Path) -> None:
    filled(tmp_path, [])
    facts = json.loads((tmp_path / "cache" / "entries" / A[:2] / A / "entry.json").read_text())
    assert facts["files"]["views/a.png"]["size"] == 7 and len(facts["seal"]) == 64

"""Bytes: what is written comes back, equal content gives equal bytes, and what is broken is refused in one line."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from img2mv3d.errors import LatentsError, ViewsError
from img2mv3d.files.contents import (
    decode_normals,
    encode_normals,
    pack_notes,
    read_json,
    read_latents,
    read_npz,
    read_png,
    to_bytes,
    unpack_notes,
    write_json,
    write_latents,
    write_npz,
    write_png,
)
from img2mv3d.geometry.cameras import SIX_VIEWS


def some_record() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    color = rng.standard_normal((6, 4, 32, 32), np.float32)
    return {
        "color": color,
        "normal": color[::-1].copy(),
        "front": rng.integers(0, 256, (256, 256, 4), np.uint8),
        "rig": SIX_VIEWS,
        "framing_px": 144,
        "vae": {"name": "sd-1.x", "digest": "0"},
        "bundle": "mini",
        "seed": 7,
        "settings": {"steps": 12},
    }


def test_read_latents_undoes_write_latents(tmp_path: Path) -> None:
    before = some_record()
    write_latents(tmp_path / "a.pt", before)
    after = read_latents(tmp_path / "a.pt")
    assert list(after) == [*before, "draft"] and after["draft"] is None
    write_latents(tmp_path / "b.pt", before | {"draft": before["color"]})
    np.testing.assert_array_equal(read_latents(tmp_path / "b.pt")["draft"], before["color"])
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_equal_latents_give_equal_bytes_whatever_the_file_is_called(tmp_path: Path) -> None:
    write_latents(tmp_path / "a.pt", some_record())
    write_latents(tmp_path / "b.pt", some_record())
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"color": torch.full((6, 4, 32, 32), float("nan"))}, "NaN"),
        ({"color": torch.zeros(6, 4, 32, 32, dtype=torch.float64)}, "float32"),
        ({"color": torch.zeros(5, 4, 32, 32)}, "shape"),
        ({"normal": torch.zeros(6, 4, 16, 16)}, "shape"),
        ({"front": torch.zeros(4, 100, 100, dtype=torch.uint8)}, "front"),
        ({"format": "something/1"}, "format"),
        ({"rig": {"azimuth_deg": [0]}}, "rig"),
        ({"settings": {"rounded": 7}}, "rounded is 7, expected 0 to 1"),
        ({"settings": {"rounded": "much"}}, "much"),
    ],
)
def test_latents_that_cannot_be_used_are_refused(tmp_path: Path, change: dict, says: str) -> None:
    path = tmp_path / "latents.pt"
    write_latents(path, some_record())
    stored = torch.load(path, weights_only=True)
    torch.save({**stored, **change}, path)
    with pytest.raises(LatentsError, match=says):
        read_latents(path)


class _Payload:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("payload-ran"),))


@pytest.mark.parametrize("kind", ["pickle", "torch", "empty", "text", "missing"])
def test_a_latents_file_with_code_or_rubbish_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "latents.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Payload()))
    elif kind == "torch":
        torch.save({"format": _Payload()}, path)
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"hello")
    with pytest.raises(LatentsError, match=r"latents\.pt") as caught:
        read_latents(path)
    assert not (tmp_path / "payload-ran").exists()
    assert "weights_only" not in str(caught.value) and "can still be loaded" not in str(caught.value)


def test_latents_with_a_flipped_bit_among_their_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "latents.pt"
    write_latents(path, some_record())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(LatentsError, match="damaged"):
        read_latents(path)


def test_pictures_come_back_as_they_were(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    write_png(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png", "RGBA", ViewsError), pixels)


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    notes = {"b": [1, 2.5, None], "a": "grün"}
    write_json(tmp_path / "a.json", notes)
    assert read_json(tmp_path / "a.json", ViewsError) == notes


def test_arrays_and_their_notes_come_back_in_equal_bytes(tmp_path: Path) -> None:
    z, notes = np.linspace(0, 1, 24).reshape(2, 3, 4), {"warnings": ["w"], "origin": "hull"}
    write_npz(tmp_path / "a.npz", z=z, notes=pack_notes(notes))
    write_npz(tmp_path / "b.npz", notes=pack_notes(dict(reversed(notes.items()))), z=z)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    arrays = read_npz(tmp_path / "a.npz", ViewsError, required=("z",))
    np.testing.assert_array_equal(arrays["z"], z)
    assert unpack_notes(arrays, tmp_path / "a.npz", ViewsError) == notes
    assert unpack_notes({"z": z}, tmp_path / "a.npz", ViewsError) == {}


def test_no_array_is_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", z=np.array([{"an": "object"}]))
    with pytest.raises(ViewsError, match="cannot be read as npz"):
        read_npz(tmp_path / "a.npz", ViewsError, required=("z",))


READERS: dict[str, Callable[[Path], Any]] = {
    "png": lambda path: read_png(path, "RGBA", ViewsError),
    "json": lambda path: read_json(path, ViewsError),
    "npz": lambda path: read_npz(path, ViewsError, required=()),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=list(READERS))
@pytest.mark.parametrize("content", [None, b"", b"PK rubbish", b"[1]", b"\xff\xfe"])
def test_what_cannot_be_read_is_named(tmp_path: Path, reader: Callable[[Path], Any], content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(ViewsError, match="file"):
        reader(tmp_path / "file")


WRITERS: dict[str, Callable[[Path], Any]] = {
    "png": lambda path: write_png(path, np.arange(192, dtype=np.uint8).reshape(6, 8, 4)),
    "json": lambda path: write_json(path, {"warnings": ["one", "two"], "numbers": [1, 2.5, -3e4]}),
    "npz": lambda path: write_npz(path, z=np.linspace(0, 1, 60).reshape(3, 4, 5), notes=pack_notes({"a": "b"})),
}


@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_flipped_bit_anywhere_gives_a_value_or_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    WRITERS[kind](path)
    data = path.read_bytes()
    refused = 0
    for bit in range(8 * len(data)):
        harmed = bytearray(data)
        harmed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(harmed)
        try:
            READERS[kind](path)
        except ViewsError:
            refused += 1
    assert refused > len(data)


def test_colours_survive_their_code_within_half_a_step() -> None:
    colors = np.linspace(-0.1, 1.1, 1000)
    assert np.abs(to_bytes(colors) / 255 - colors.clip(0, 1)).max() <= 0.5 / 255 + 1e-12


def test_normals_survive_their_code_where_the_mask_is_full() -> None:
    normal = np.random.default_rng(1).standard_normal((50, 3)).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    mask = np.repeat(np.array([1, 0.4], np.float32), 25)
    found = decode_normals(encode_normals(normal, mask), mask)
    assert np.abs(found - normal)[:25].max() < 0.01 and (found[25:] == 0).all()

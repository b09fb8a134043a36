"""A bare tensor of latents: what is taken, in which scale, and what is refused with one line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from img2mv3d.conventions import LATENT_SCALE
from img2mv3d.errors import LatentsError, UsageError
from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.readers.bare_latents import read_bare, rig_of

RNG = np.random.default_rng(0)
TWELVE = RNG.normal(size=(12, 4, 8, 8)).astype(np.float32)


def write(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".safetensors":
        save_file({"latents": array}, path)
    else:
        torch.save(torch.from_numpy(array), path)
    return path


@pytest.mark.parametrize("name", ["a.pt", "a.npy", "a.safetensors"])
def test_normals_come_before_colours(tmp_path: Path, name: str) -> None:
    color, normal = read_bare(write(tmp_path / name, TWELVE), 6)
    assert normal is not None
    assert np.array_equal(normal, TWELVE[:6]) and np.array_equal(color, TWELVE[6:])


def test_as_many_latents_as_views_are_colours(tmp_path: Path) -> None:
    color, normal = read_bare(write(tmp_path / "a.npy", TWELVE.astype(np.float16)), 12)
    assert normal is None and color.dtype == np.float32 and np.allclose(color, TWELVE, atol=1e-2)


def test_unscaled_latents_are_scaled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pt", TWELVE[:6] / np.float32(LATENT_SCALE))
    color, _ = read_bare(path, 6, unscaled=True)
    assert np.allclose(color, TWELVE[:6], atol=1e-6)


@pytest.mark.parametrize(
    ("array", "unscaled", "says"),
    [
        (TWELVE / LATENT_SCALE, False, "they seem to be unscaled, add --unscaled"),
        (TWELVE, True, "leave --unscaled out"),
        (TWELVE * 1000, False, "no scaled latents"),
        (TWELVE[:5], False, "shape [5, 4, 8, 8]"),
        (TWELVE[:, :3], False, "shape [12, 3, 8, 8]"),
        (TWELVE[..., :4], False, "8 x 4 cells"),
        (TWELVE * np.inf, False, "NaN or infinite"),
        (np.ones((6, 4, 8, 8), np.int32), False, "int32"),
    ],
)
def test_what_is_none_is_refused(tmp_path: Path, array: np.ndarray, unscaled: bool, says: str) -> None:
    with pytest.raises(LatentsError, match=re.escape(says)), np.errstate(invalid="ignore"):
        read_bare(write(tmp_path / "a.npy", array), 6, unscaled=unscaled)


def test_what_is_no_tensor_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"latents": torch.zeros(6, 4, 8, 8)}, tmp_path / "dict.pt")
    save_file({"a": TWELVE, "b": TWELVE}, tmp_path / "two.safetensors")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "words.pt").write_bytes(b"words")
    for name, says in (("dict.pt", "a dict"), ("two.safetensors", "2 tensors"), ("objects.npy", "cannot be read")):
        with pytest.raises(LatentsError, match=says):
            read_bare(tmp_path / name, 6)
    for name in ("words.pt", "none.pt"):
        with pytest.raises(LatentsError, match=name):
            read_bare(tmp_path / name, 6)


def test_a_rig_comes_from_a_file(tmp_path: Path) -> None:
    rig = Rig(("a", "b"), (0.0, 90.0), (10.0, 10.0))
    (tmp_path / "rig.json").write_text(json.dumps(rig.to_dict()))
    (tmp_path / "views.json").write_text(json.dumps({"rig": rig.to_dict()}))
    assert rig_of(str(tmp_path / "rig.json")) == rig_of(str(tmp_path / "views.json")) == rig
    assert rig_of(None) == SIX_VIEWS
    for word in (str(tmp_path / "none.json"), str(tmp_path)):
        with pytest.raises(UsageError, match="--rig"):
            rig_of(word)

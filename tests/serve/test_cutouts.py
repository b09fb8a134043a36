"""Candidates of a cut-out: small, upright, the best first."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from img2mv3d.serve import cutouts
from img2mv3d.serve.cutouts import SIDE, candidates


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what needs no model file."""
    from img2mv3d.stages import prepare

    monkeypatch.setattr(cutouts, "find_model", lambda: None)
    monkeypatch.setattr(prepare.model, "find_model", lambda: None)


def opened(address: str) -> np.ndarray:
    """uint8 pixels of a data URL."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def disc(mode: str = "RGB", size: tuple[int, int] = (300, 200)) -> Image.Image:
    picture = Image.new(mode, size, "white" if mode == "RGB" else (0, 0, 0, 0))
    ImageDraw.Draw(picture).ellipse((60, 40, 180, 160), fill=(200, 60, 20) if mode == "RGB" else (200, 60, 20, 255))
    return picture


def test_a_plain_background_is_keyed_first(tmp_path: Path) -> None:
    disc().save(tmp_path / "photo", format="PNG")
    told = candidates(tmp_path / "photo")
    assert told["candidates"][0]["remover"] == "plain" and (told["width"], told["height"]) == (300, 200)
    mask = opened(told["candidates"][0]["mask"])
    assert mask.shape == (200, 300) and mask[100, 120] == 255 and mask[10, 10] == 0
    assert opened(told["preview"]).shape == (200, 300, 3)


def test_a_files_own_transparency_goes_first(tmp_path: Path) -> None:
    disc("RGBA").save(tmp_path / "photo", format="PNG")
    assert candidates(tmp_path / "photo")["candidates"][0]["remover"] == "alpha"


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_first_one_is_posted_as_auto_and_each_option_gives_its_cut_out(tmp_path: Path, mode: str) -> None:
    disc(mode).save(tmp_path / "photo", format="PNG")
    first, *others = candidates(tmp_path / "photo")["candidates"]
    assert first["option"] == "auto" and all(c["option"] == c["remover"] != "auto" for c in others)


def test_large_photos_are_small_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = Image.new("RGB", (1600, 1200), "white")
    ImageDraw.Draw(large).rectangle((200, 200, 600, 600), fill="navy")
    large.save(tmp_path / "photo", format="JPEG", exif=exif)
    told = candidates(tmp_path / "photo")
    assert (told["width"], told["height"]) == (960, SIDE) and SIDE * SIDE <= 2_000_000
    mask = opened(told["candidates"][0]["mask"])
    assert mask[int(0.25 * SIDE), int(0.66 * 960)] == 255  # turned to the right, the square is at the upper right


def test_nothing_to_see_is_a_problem_to_paint_over_and_not_an_error(tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), "white").save(tmp_path / "photo", format="PNG")
    told = candidates(tmp_path / "photo")
    assert told["candidates"] == [] and "no object" in told["problem"] and str(tmp_path) not in told["problem"]

"""How far fits are off: what is told is z of the fit less the true z, everywhere on the object and nowhere else."""

from pathlib import Path

import numpy as np
import pytest

from experiments.decoder import fitted_noise
from experiments.decoder.fitted_noise import depth_error, fit_error, make_fits
from img2mv3d.data.renders import RenderSet, Sample
from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.train.toy import make_toy
from img2mv3d.values import Depth, Views
from tests.toys import toy_bundle

SIZE = 64


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A toy data folder of 64 px pictures."""
    return make_toy(tmp_path / "data")


def fit_of(views: Views, off: float = 0.1) -> Depth:
    """A plane that is off by so much, and that ends too early below."""
    hit = np.zeros((6, SIZE, SIZE), np.float32)
    hit[:, 12:40, 16:44] = 1
    return Depth(hit * off, hit, views)


def test_the_error_is_that_of_the_nearest_known_pixel_on_the_object_and_nothing_outside(toy: Path):
    sample = RenderSet(toy).load("toy-0.0")
    empty = np.zeros((6, SIZE, SIZE), np.float32)
    views = Views(sample.color.astype(np.float32) / 255, None, empty, SIX_VIEWS)
    error = depth_error(fit_of(views), sample)
    inside = sample.mask >= 128
    assert error[inside] == pytest.approx(0.1, abs=1e-4) and not error[~inside].any()
    lost = Sample(sample.color, np.roll(sample.mask, 40, 2), sample.normal, sample.z, sample.photo, 40)
    assert not depth_error(Depth(empty, empty, views), lost).any()


def test_every_set_is_fitted_once_and_a_failure_stops_nothing(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[int] = []

    def fit_depth(views: Views, options: object) -> Depth:
        asked.append(1)
        if len(asked) == 2:
            raise NothingFoundError("nothing there")
        return fit_of(views)

    monkeypatch.setattr(fitted_noise, "fit_depth", fit_depth)
    empty = np.zeros((6, SIZE, SIZE), np.float32)
    shown = Views(empty[..., None].repeat(3, -1), None, empty, SIX_VIEWS)
    monkeypatch.setattr(fitted_noise, "plain_views", lambda told, decoder: shown)
    said: list[str] = []
    bundle = toy_bundle(tmp_path / "toy")
    assert make_fits(toy, bundle, report=said.append) == 2 and len(asked) == 3
    assert sum("left out" in line for line in said) == 1
    made = fit_error(RenderSet(toy), "toy-0.0")
    assert made is not None and made.dtype == np.float16 and made.shape == (6, SIZE, SIZE)
    make_fits(toy, bundle, report=said.append)
    assert len(asked) == 4  # only what was missing
    assert fit_error(RenderSet(toy), "toy-9.0") is None

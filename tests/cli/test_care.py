"""Sizes in words and back; the doctor's findings; bundles told and verified."""

from importlib import metadata
from pathlib import Path

import pytest

from img2mv3d.bundles import weights
from img2mv3d.cli import bundle as commands
from img2mv3d.cli import care
from img2mv3d.cli.flags import parse_bytes
from img2mv3d.cli.lines import size_text
from img2mv3d.errors import WeightsError
from tests.toys import toy_bundle


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("500M", 500e6), ("2 GB", 2e9), ("1.5k", 1500), ("3GiB", 3e9)])
def test_sizes_are_read(text: str, size: float) -> None:
    assert parse_bytes(text) == size


def test_what_is_no_size_is_refused() -> None:
    for text in ("", "much", "-5M", "5X"):
        with pytest.raises(ValueError, match="expected a size"):
            parse_bytes(text)


def test_sizes_are_told_in_words() -> None:
    assert [size_text(n) for n in (0, 999, 1500, 2_000_000_000)] == ["0 B", "999 B", "1.5 kB", "2.0 GB"]


def test_bundles_are_listed_verified_and_inspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = toy_bundle(tmp_path / "toy")
    commands.weights_verify(str(bundle.folder))
    assert capsys.readouterr().out.startswith("toy is good: encoder")
    commands.weights_inspect(str(bundle.folder))
    told = capsys.readouterr().out
    assert f"digest = {bundle.digest}" in told and "generate.steps = 2" in told
    monkeypatch.setattr(weights, "load_bundle", lambda name: bundle)
    commands.weights_list()
    assert bundle.digest[:12] in capsys.readouterr().out


def test_a_damaged_bundle_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy")
    path = next(bundle.folder.glob("*.safetensors"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=path.name):
        commands.weights_verify(str(bundle.folder))


def test_the_doctor_tells_everything_that_matters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toy = toy_bundle(tmp_path / "toy")
    monkeypatch.setattr(weights, "load_bundle", lambda name: toy)
    care.doctor()
    lines = capsys.readouterr().out.splitlines()
    labels = {line.split()[1] for line in lines}
    assert labels >= {"python", "packages", "device", "threads", "weights", "matting", "cache", "disk"}
    assert all(line.startswith("ok") for line in lines)


def test_the_doctor_says_what_to_type_for_each_package_that_is_missing_or_too_old(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toy = toy_bundle(tmp_path / "toy")
    asked = ["numpy<3,>=2", "PyMCubes<0.2,>=0.1.6", 'fastapi>=0.115; extra == "serve"', 'x>1; sys_platform == "none"']
    versions = {"numpy": "1.26.0", "img2mv3d": "0.1.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(weights, "load_bundle", lambda name: toy)
    monkeypatch.setattr(metadata, "requires", lambda name: asked)
    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(WeightsError, match="what to type"):
        care.doctor()
    told = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines() if "pip install '" in line]
    assert told == [
        "numpy (found 1.26.0): pip install 'numpy<3,>=2'",
        "PyMCubes: pip install 'PyMCubes<0.2,>=0.1.6'",
        "serve: pip install 'fastapi>=0.115'",
    ]


def test_the_doctor_fails_when_weights_are_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise WeightsError("no bundle")

    monkeypatch.setattr(weights, "load_bundle", missing)
    with pytest.raises(WeightsError):
        care.doctor()
    assert "FAIL  weights" in capsys.readouterr().out

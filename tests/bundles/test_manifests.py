"""Manifests: what is written is what is read, and what is wrong is named."""

import tomllib
from pathlib import Path

import pytest

from img2mv3d.bundles import manifests
from img2mv3d.bundles.manifests import FORMAT, digest_of, read_manifest, to_toml
from img2mv3d.errors import WeightsError


def test_toml_survives_reading():
    values = {
        "text": 'with "quotes" and \\ and \u00e9\n',
        "numbers": [1, 2.5, 1e-9],
        "nested": [[1, 2], [3]],
        "flag": True,
        "table": {"a": 1, "deeper": {"b": "c"}, "odd key": {"x": 0.1}},
        "empty": {},
    }
    assert tomllib.loads(to_toml(values)) == values
    assert tomllib.loads(to_toml({"a": None, "b": 1})) == {"b": 1}
    with pytest.raises(WeightsError, match="plain values"):
        to_toml({"a": object()})


@pytest.mark.parametrize(
    "text,told",
    [
        ("", "format None"),
        ("not toml [", "cannot be read"),
        (f'format = "{FORMAT}"\nname = "x"', "framing_px, parts"),
        (f'format = "{FORMAT}"\nname = "x"\nframing_px = 1\n[parts.unet]\nfile = "a"', "sha256 of unet"),
        (
            f'format = "{FORMAT}"\nname = "x"\nframing_px = 1\n[parts.unet]\nfile = "../a"\nsha256 = ""',
            "not a file name",
        ),
    ],
)
def test_a_wrong_manifest_is_refused(text, told, tmp_path):
    (tmp_path / "manifest.toml").write_text(text)
    with pytest.raises(WeightsError, match=told):
        read_manifest(tmp_path)


def test_a_digest_depends_on_every_byte_and_name_but_of_giants_on_slices(tmp_path, monkeypatch):
    a, b = Path("a"), Path("b")
    for name in (a, b):
        (tmp_path / name).write_bytes(bytes(100))
    zeros = digest_of(tmp_path, [a])
    assert zeros != digest_of(tmp_path, [b]) and zeros != digest_of(tmp_path, [a, b])
    (tmp_path / a).write_bytes(bytes(99) + b"x")
    assert digest_of(tmp_path, [a]) != zeros
    monkeypatch.setattr(manifests, "WHOLE", 10)
    monkeypatch.setattr(manifests, "SLICE", 2)
    giant = digest_of(tmp_path, [a])
    (tmp_path / a).write_bytes(bytes(99) + b"y")
    assert digest_of(tmp_path, [a]) != giant


def test_a_file_of_weights_tells_its_config_its_data_and_its_training(tmp_path: Path):
    import json

    from safetensors import safe_open
    from torch import nn

    from img2mv3d.bundles.weights import write_bundle
    from img2mv3d.nets.vae import PlainDecoder

    net: nn.Module = PlainDecoder((8, 8, 8, 8), groups=8)
    config = {"channels": [8, 8, 8, 8], "groups": 8}
    notes = {"name": "one", "framing_px": 144, "data": {"digest": "abc"}, "training": {"command": "train it"}}
    for folder in ("a", "b"):
        write_bundle(tmp_path / folder, {"plain_decoder": (net, config)}, notes)
    with safe_open(tmp_path / "a" / "plain_decoder.safetensors", "pt") as file:
        told = json.loads(file.metadata()["img2mv3d"])
    assert told == {"config": config, "data": "abc", "training": {"command": "train it"}}
    files = [(tmp_path / folder / "plain_decoder.safetensors").read_bytes() for folder in ("a", "b")]
    assert files[0] == files[1]

"""`train decoder`: what it is told is checked before anything is read, and what it leaves can be compared."""

from pathlib import Path

import pytest

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.cli import lab
from img2mv3d.errors import UsageError


def test_it_ends_as_a_bundle_with_both_decoders(toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    lab.train_decoder(toy, tmp_path, 0.0, 0, None, 1, False)
    made = Path(capsys.readouterr().out.strip())
    assert made == tmp_path / "bundle" and (tmp_path / "crossview" / "ema.safetensors").exists()
    bundle = load_bundle(str(made))
    assert bundle.crossview_decoder() is not None and bundle.plain_decoder() is not None


def test_words_that_cannot_be_meant_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="--start"):
        lab.train_decoder(tmp_path, tmp_path, 1.0, 0, None, None, True)

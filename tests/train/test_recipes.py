"""Recipes: all trainings by one command; decoders end as a bundle that can be compared; words that make no sense."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from img2mv3d.bundles.weights import load_bundle
from img2mv3d.cli import training
from img2mv3d.cli.app import app
from img2mv3d.data.renders import RenderSet
from img2mv3d.errors import UsageError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.train import paper_recipe
from img2mv3d.train.recipes import train_all, train_decoder
from img2mv3d.values import Latents
from tests.toys import toy_bundle


def test_one_command_trains_everything_and_leaves_a_bundle_that_loads(tmp_path: Path) -> None:
    lines: list[str] = []
    folder = train_all(tmp_path / "data", tmp_path / "out", 0.06, toy=True, report=lines.append)
    bundle = load_bundle(folder)
    assert bundle.parts() == ("shape", "encoder", "plain_decoder", "crossview_decoder", "tokens", "unet")
    bundle.check()
    assert bundle.manifest["data"]["held_out_objects"] == 1
    for name in ("shape", "encoder", "decoder", "multiview"):
        assert (tmp_path / "out" / name / "sheet.png").exists()


def test_without_shapes_and_a_teacher_the_embedded_encoder_makes_the_latents(toy: Path, tmp_path: Path) -> None:
    shutil.rmtree(toy / "shapes")
    shutil.rmtree(toy / "latents")
    lines: list[str] = []
    bundle = load_bundle(train_all(toy, tmp_path / "out", 0.0, report=lines.append))
    assert "shape" not in bundle.parts() and "encoder" in bundle.parts()
    assert any("data shapes" in line for line in lines) and any("no teacher" in line for line in lines)
    assert {RenderSet(toy).latents_source(f"toy-{n}.0") for n in range(4)} == {"mini"}


def test_the_decoder_ends_as_a_bundle_with_both_decoders(toy: Path, tmp_path: Path):
    told = {"seed": 0, "start": None, "keep_plain": False, "full": False, "report": lambda line: None}
    made = train_decoder(toy, tmp_path, 0.0, steps=1, **told)
    assert made == tmp_path / "bundle" and (tmp_path / "crossview" / "ema.safetensors").exists()
    bundle = load_bundle(made)
    assert bundle.crossview_decoder() is not None and bundle.plain_decoder() is not None
    assert bundle.manifest["training"]["command"].endswith("DATA --seed 0 --steps 1")


def test_the_papers_recipe_keeps_the_plain_decoder_and_comes_back_from_the_manifest(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(paper_recipe, "features", torch.nn.Identity)
    monkeypatch.setattr(paper_recipe, "feature_distance", lambda found, wanted, net: (found - wanted).square().mean())
    start = toy_bundle(tmp_path / "start")
    told = {"seed": 0, "start": str(start.folder), "keep_plain": True, "full": False, "report": lambda line: None}
    bundle = load_bundle(train_decoder(toy, tmp_path / "out", 0.0, steps=1, recipe="paper", **told))
    net, plain = bundle.crossview_decoder(), bundle.plain_decoder().state_dict()
    assert net.config.paper and net.config.temporal and net.carry is None
    assert all(torch.equal(plain[k], v) for k, v in start.plain_decoder().state_dict().items())
    assert bundle.manifest["training"]["command"].endswith("--start start --keep-plain --recipe paper")
    bundle.check()

    cells = np.random.default_rng(0).standard_normal((2, 6, 4, 8, 8), np.float32)
    front = np.full((64, 64, 4), 255, np.uint8)
    Latents(cells[0], cells[1], front, SIX_VIEWS, 144, {"name": "sd-1.x"}, "elsewhere", 0).save(tmp_path)
    words = ["decode", str(tmp_path / "latents.pt"), "--bundle", str(bundle.folder), "--depth", "none"]
    result = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "views")], prog_name="img2mv3d")
    assert result.exit_code == 0 and "decoded by crossview: the bundle's own" in result.stderr, result.output


def test_words_that_cannot_be_meant_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="ablations"):
        training.train_decoder(tmp_path, variant="paper")
    with pytest.raises(UsageError, match="--start"):
        training.train_decoder(tmp_path, keep_plain=True)
    with pytest.raises(UsageError, match="--base"):
        training.train_decoder(tmp_path, base="svd", start="mini")
    with pytest.raises(UsageError, match="temporal layers"):
        training.train_decoder(tmp_path, base="sd", recipe="paper")

"""`train decoder --base`: from a brought decoder to weights that `--decoder` uses, on tiny widths and toy data."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from img2mv3d.bundles.decoders import choose, stock, trained_folder
from img2mv3d.bundles.manifests import read_manifest
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.cli.app import app
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.train.bases import start_weights
from img2mv3d.values import Latents
from tests.checkpoints import autoencoder, tiny_checkpoint
from tests.toys import toy_bundle
from tests.train.test_process_group import torchrun


@pytest.fixture(autouse=True)
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both autoencoders, tiny, as the user brings them; commands run in a folder of their own."""
    monkeypatch.setenv("IMG2MV3D_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)
    for name, video in (("svd", True), ("sd", False)):
        autoencoder(tmp_path / name, video)
        assert call("weights", "add", name, "--accept-licence").exit_code == 0


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words], prog_name="img2mv3d")


def done(*words: object) -> str:
    """The last line of a command that must end well."""
    result = call(*words)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1]


def refused(status: int, *words: object) -> str:
    result = call(*words)
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == status and len(lines) == 1, result.output
    return lines[0]


def test_two_steps_on_svd_are_added_and_used(toy: Path, tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path / "toy")
    made = done("train", "decoder", toy, "--bundle", "toy", "--base", "svd", "--steps", "2", "-o", "runs")
    assert made == str(tmp_path / "runs" / "crossview-svd" / "bundle")
    told = read_manifest(Path(made))
    assert (told["base"], told["framing_px"], told["latent_space"]) == ("svd", 144, "sd-1.x")
    assert list(told["parts"]) == ["crossview_decoder"] and "generate" not in told
    assert "Stability AI Community License (the base)" in told["licence"] and "CC-BY-SA-4.0" in told["licence"]
    assert told["base_digest"] == stock("svd", bundle).digest

    assert done("weights", "add", made, "--accept-licence") == str(trained_folder("svd"))
    best = choose("crossview", load_bundle(tiny_checkpoint(tmp_path / "published")))
    assert best.name == "svd" and "with trained cross-view weights" in best.why and best.licence == told["licence"]
    assert best.make().base.temporal

    cells = np.random.default_rng(0).standard_normal((2, 6, 4, 8, 8), np.float32)
    front = np.full((64, 64, 4), 255, np.uint8)
    Latents(cells[0], cells[1], front, SIX_VIEWS, 144, {"name": "sd-1.x"}, "elsewhere", 0).save(tmp_path)
    result = call("decode", "latents.pt", "--bundle", "toy", "--depth", "none", "--decoder", "svd")
    assert result.exit_code == 0, result.output
    said = "decoded by svd: as requested; Stable Video Diffusion's decoder with trained cross-view weights"
    assert said in result.stderr


def test_for_the_published_checkpoint_its_own_autoencoder_is_the_still_base(toy: Path, tmp_path: Path) -> None:
    import shutil

    folder = tiny_checkpoint(tmp_path / "published")
    shutil.rmtree(folder / "vae")
    shutil.move(tmp_path / "sd", folder / "vae")
    made = done("train", "decoder", toy, "--bundle", "published", "--base", "sd", "--steps", "1", "-o", "runs")
    told = read_manifest(Path(made))
    assert (told["base"], told["framing_px"]) == ("sd", 192)
    done("weights", "add", made, "--accept-licence")
    assert not choose("sd", load_bundle(folder)).make().base.temporal


@pytest.mark.parametrize(("base", "paper"), [("svd", False), ("sd", False), ("svd", True)])
@torch.no_grad()
def test_training_starts_from_the_stock_decoder_bit_for_bit(tmp_path: Path, base: str, paper: bool) -> None:
    found = stock(base, toy_bundle(tmp_path / "toy"))
    latents, z, photo = torch.randn(6, 4, 8, 8), torch.zeros(6, 64, 64), torch.rand(4, 64, 64)
    told = (latents, z, torch.ones(6, 64, 64), photo, SIX_VIEWS)
    numbers = {**found.config, "paper": paper}
    net = CrossViewDecoder(CrossViewConfig.from_dict(numbers)).eval()
    net.load_state_dict(start_weights(found, numbers=numbers))
    assert torch.equal(net.decode(*told), found.make().decode(*told))


def test_the_base_learns_at_the_papers_rate_and_what_stands_on_it_faster(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from img2mv3d.train import crossview_decoder

    seen = []
    monkeypatch.setattr(crossview_decoder, "run_loop", lambda task, average, out, options, report: seen.append(options))
    monkeypatch.setattr(crossview_decoder, "save_weights", lambda *_: None)
    toy_bundle(tmp_path / "toy")
    done("train", "decoder", toy, "--bundle", "toy", "--base", "svd", "--steps", "1", "-o", "runs")
    assert (seen[0].lr, seen[0].lr * seen[0].new_lr_factor) == (1e-5, pytest.approx(5e-4))


def test_the_papers_recipe_has_the_papers_numbers(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from img2mv3d.train import crossview_decoder
    from img2mv3d.train.paper_recipe import PaperTask

    seen = []
    monkeypatch.setattr(
        crossview_decoder, "run_loop", lambda task, average, out, options, report: seen.append((task, options))
    )
    monkeypatch.setattr(crossview_decoder, "save_weights", lambda *_: None)
    toy_bundle(tmp_path / "toy")
    made = done("train", "decoder", toy, "--bundle", "toy", "--base", "svd", "--recipe", "paper", "-o", "runs")
    (task, options), told = seen[0], read_manifest(Path(made))
    assert isinstance(task, PaperTask) and task.full_share == 1 and task.net.config.paper and task.net.base.temporal
    assert (options.steps, options.lr, options.lr_end, options.new_lr_factor) == (3000, 1e-5, 1e-5, 1)
    assert told["parts"]["crossview_decoder"]["config"]["paper"] is True
    assert told["training"]["command"].endswith("--recipe paper")


@pytest.mark.slow
def test_two_processes_train_the_papers_recipe_and_its_weights_are_added_and_used(toy: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `train` is not installed")
    toy_bundle(tmp_path / "toy")
    words = ["train", "decoder", str(toy), "--bundle", str(tmp_path / "toy"), "--base", "svd", "--recipe", "paper"]
    said = torchrun("-m", "img2mv3d", *words, "--steps", "2", "-o", str(tmp_path / "runs"))
    assert said.count("crossview-svd-paper: 2 processes") == 1
    done("weights", "add", tmp_path / "runs" / "crossview-svd-paper" / "bundle", "--accept-licence")
    net = choose("svd", load_bundle(tmp_path / "toy")).make()
    assert net.config.paper and net.base.temporal and net.carry is None


def test_what_cannot_be_meant_is_one_line(toy: Path, tmp_path: Path) -> None:
    toy_bundle(tmp_path / "toy")
    words = ("train", "decoder", toy, "--bundle", "toy", "--base")
    assert "'vae' is not one of 'svd', 'sd'" in refused(2, *words, "vae")
    assert "omit --start, --keep-plain and --full-images" in refused(2, *words, "svd", "--start", "mini")
    assert "omit --start, --keep-plain and --full-images" in refused(2, *words, "svd", "--full-images")
    assert "--variant half" in refused(2, *words, "svd", "--variant", "half")
    assert "take --base svd" in refused(2, *words, "sd", "--recipe", "paper")
    assert "no renders" in refused(3, "train", "decoder", tmp_path, "--bundle", "toy", "--base", "svd")
    (tmp_path / "weights" / "svd" / "vae" / "config.json").unlink()
    assert "weights add DIR" in refused(4, *words, "svd")

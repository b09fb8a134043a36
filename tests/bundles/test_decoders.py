"""Which decoder is taken, and why; what is brought; what is refused. On tiny random weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from img2mv3d.bundles.decoders import UNTRAINED, choose
from img2mv3d.bundles.parts import Part
from img2mv3d.bundles.weights import load_bundle, write_bundle
from img2mv3d.cli.app import app
from img2mv3d.conventions import LATENT_SCALE
from img2mv3d.errors import WeightsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from tests.checkpoints import CHANNELS, WEIGHTS, autoencoder, tiny_checkpoint
from tests.toys import toy_bundle

OLD_NAMES = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """Where brought weights stand: nothing is there yet."""
    monkeypatch.setenv("IMG2MV3D_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def trained(folder: Path, base: str | None = "svd", **more) -> Path:
    """Cross-view weights as training on a base would leave them, tiny."""
    config = {"channels": list(CHANNELS), "layers_per_block": 2, "groups": 32, "scale": LATENT_SCALE}
    config |= {"temporal": base == "svd", "post_quant": base == "sd"}
    torch.manual_seed(2)
    part = Part(CrossViewDecoder(CrossViewConfig.from_dict({**config, "channels": CHANNELS})), config)
    write_bundle(folder, {"crossview_decoder": part}, {"name": "mine", "framing_px": 192, "base": base, **more})
    return folder


def add(*words):
    return CliRunner().invoke(app, ["weights", "add", *map(str, words)])


def taken(*words) -> str:
    result = add(*words, "--accept-licence")
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def refused(status: int, *words) -> str:
    result = add(*words, "--accept-licence")
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert result.exit_code == status and len(lines) == 1
    return lines[0]


@torch.no_grad()
def pictures(net: CrossViewDecoder, latents):
    z, front = torch.zeros(6, 64, 64), torch.ones(4, 64, 64)
    return net.decode(latents, z, torch.ones(6, 64, 64), front, SIX_VIEWS)


def test_a_bundles_own_decoder_comes_first(tmp_path):
    bundle = toy_bundle(tmp_path / "toy")
    taken(trained(tmp_path / "mine"))
    found = choose("crossview", bundle)
    assert (found.name, found.digest, found.why) == ("toy", bundle.digest, "the bundle's own")
    assert isinstance(found.make(), CrossViewDecoder)
    assert choose("mini", bundle).digest == load_bundle("mini").digest != found.digest


def test_a_checkpoint_takes_minis_until_trained_weights_are_there(tmp_path):
    bundle = load_bundle(tiny_checkpoint(tmp_path / "published"))
    mini = choose("crossview", bundle)
    assert (mini.name, mini.digest) == ("mini", load_bundle("mini").digest)
    assert "nothing else is there for wonder3d" in mini.why
    taken(trained(tmp_path / "on-sd", "sd"))
    assert choose("crossview", bundle).name == "sd"
    taken(trained(tmp_path / "on-svd", "svd"))
    best = choose("crossview", bundle)
    assert best.name == "svd" and "trained cross-view weights" in best.why
    assert best.make().base.temporal and not choose("sd", bundle).make().base.temporal


def test_the_stock_video_decoder_is_taken_as_it_is(tmp_path):
    net = autoencoder(tmp_path / "svd" / "vae", video=True)
    assert taken(tmp_path / "svd" / "vae").endswith("svd")
    found = choose("svd", toy_bundle(tmp_path / "toy"))
    assert found.name == "svd" and UNTRAINED in found.why and "Stability" in found.licence
    latents = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stock = net.decode(latents / LATENT_SCALE, num_frames=6).sample / 2 + 0.5
    assert torch.equal(pictures(found.make(), latents), stock)


@pytest.mark.parametrize("names", [{}, OLD_NAMES], ids=["new names", "names before 2023"])
def test_the_still_decoder_is_the_spatial_half_with_time_switched_off(tmp_path, names):
    net = autoencoder(tmp_path / "ft-mse", video=False, names=names)
    taken(tmp_path / "ft-mse")
    found = choose("sd", toy_bundle(tmp_path / "toy"))
    latents = torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stock = net.decode(latents / LATENT_SCALE).sample / 2 + 0.5
    assert (pictures(found.make(), latents) - stock).abs().max() <= 1e-5


def test_a_checkpoints_own_autoencoder_serves_as_the_still_decoder(tmp_path):
    folder = tiny_checkpoint(tmp_path / "published")
    for old in (folder / "vae").iterdir():
        old.unlink()
    (folder / "vae").rmdir()
    autoencoder(folder / "vae", video=False)
    assert choose("sd", load_bundle(folder)).make().base.post_quant_conv is not None


@pytest.mark.parametrize("base,kind", [("svd", "AutoencoderKLTemporalDecoder"), ("sd", "AutoencoderKL")])
def test_missing_weights_are_one_line_with_both_ways_out(tmp_path, base, kind):
    with pytest.raises(WeightsError) as caught:
        choose(base, toy_bundle(tmp_path / "toy"))
    said = str(caught.value)
    assert "\n" not in said and kind in said and "weights add DIR" in said and "--decoder mini" in said


def test_digests_tell_every_decoder_apart(tmp_path):
    autoencoder(tmp_path / "svd", video=True)
    autoencoder(tmp_path / "sd", video=False)
    taken(tmp_path / "svd"), taken(tmp_path / "sd")
    bundle = toy_bundle(tmp_path / "toy")
    stock = [choose(name, bundle).digest for name in ("crossview", "mini", "svd", "sd")]
    taken(trained(tmp_path / "mine"))
    assert len({*stock, choose("svd", bundle).digest}) == 5


def test_terms_come_first(tmp_path, weights):
    autoencoder(tmp_path / "svd", video=True)
    result = add(tmp_path / "svd")
    assert result.exit_code == 2 and "Stability AI Community License" in result.stderr and not weights.exists()


def test_what_is_no_decoder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "neither an autoencoder" in refused(4, tmp_path / "empty")
    assert "no such folder" in refused(4, tmp_path / "nowhere")
    assert "base is None" in refused(4, trained(tmp_path / "baseless", None))
    bare = write_bundle(tmp_path / "bare", {}, {"name": "bare", "framing_px": 1})
    assert "has no crossview_decoder" in refused(4, bare.folder)


def test_a_decoder_that_does_not_load_is_not_taken(tmp_path, weights):
    autoencoder(tmp_path / "svd", video=True)
    tensors = load_file(tmp_path / "svd" / WEIGHTS)
    lost = next(k for k in tensors if "time_mixer" in k)
    save_file({k: t for k, t in tensors.items() if k != lost}, tmp_path / "svd" / WEIGHTS)
    assert lost in refused(4, tmp_path / "svd")
    mine = trained(tmp_path / "mine")
    data = bytearray((mine / "crossview_decoder.safetensors").read_bytes())
    data[-1] ^= 1
    (mine / "crossview_decoder.safetensors").write_bytes(data)
    assert "sha256 differs" in refused(4, mine)
    assert not any(weights.rglob("*.safetensors"))

"""Every ablation trains: its loss is finite and reaches the parts that it has; a fresh one is its base."""

from pathlib import Path

import pytest
import torch

from experiments.decoder.variants import SHIPPED, TODAY, VARIANTS
from img2mv3d.nets.crossview import CrossViewConfig
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train import crossview_decoder
from img2mv3d.train.scenes import Scenes
from img2mv3d.train.toy import make_toy

CHANNELS = (32, 32, 32, 32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "data")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_a_loss_that_reaches_its_parts(toy: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(crossview_decoder, "BAND", 32)
    monkeypatch.setattr("experiments.decoder.variants.features", lambda: torch.nn.Identity())
    monkeypatch.setattr(
        "experiments.decoder.variants.feature_distance", lambda found, wanted, net: (found - wanted).square().mean()
    )
    torch.manual_seed(0)
    net = VARIANTS[name].network(CrossViewConfig(CHANNELS))
    net.load_plain(PlainDecoder(CHANNELS).state_dict())
    task = VARIANTS[name].task(Scenes(toy, "train", 1), Scenes(toy, "val", 1), net)
    loss = task.loss(0.99, torch.Generator().manual_seed(4))
    loss.backward()
    assert torch.isfinite(loss)
    moved = {k.split(".")[0] for k, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    expected = {"base", "front"} | (set() if "no-epipolar" in name else {"attention"})
    assert moved == expected | ({"carry"} if net.carry is not None else set())


def test_names_are_those_of_the_field_and_the_old_ones_lead_to_them():
    assert TODAY["no-carry"] == "no-photo-warp" and TODAY["rough-outlines"] == SHIPPED

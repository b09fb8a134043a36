"""Every ablation trains: its loss is finite and reaches the parts that it has; a fresh one is its base."""

from pathlib import Path

import pytest
import torch

from experiments.decoder.variants import SHIPPED, TODAY, VARIANTS
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train import crossview_decoder
from img2mv3d.train.crossview_decoder import CrossViewTask
from img2mv3d.train.paper_recipe import NUMBERS, PaperTask
from img2mv3d.train.scenes import Scenes
from img2mv3d.train.toy import make_toy

CHANNELS = (32, 32, 32, 32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_toy(tmp_path_factory.mktemp("toy") / "data")


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_has_a_loss_that_reaches_its_parts(toy: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(crossview_decoder, "BAND", 32)
    for module in ("experiments.decoder.variants", "img2mv3d.train.paper_recipe"):
        monkeypatch.setattr(f"{module}.features", torch.nn.Identity)
        monkeypatch.setattr(f"{module}.feature_distance", lambda found, wanted, net: (found - wanted).square().mean())
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


RECIPES = [name for name in VARIANTS if name.startswith("recipe")]


def recipe(name: str, toy: Path) -> tuple[CrossViewDecoder, CrossViewTask]:
    """Network and task of a variant, from the same start as all others."""
    torch.manual_seed(0)
    plain = PlainDecoder(CHANNELS).state_dict()
    torch.manual_seed(0)
    net = VARIANTS[name].network(CrossViewConfig(CHANNELS))
    net.load_plain(plain)
    return net, VARIANTS[name].task(Scenes(toy, "train", 1), Scenes(toy, "val", 1), net)


def test_the_recipe_of_the_experiments_is_that_of_the_product(toy: Path):
    net, task = recipe("recipe", toy)
    shipped = CrossViewDecoder(CrossViewConfig(CHANNELS, **NUMBERS))
    assert net.config == shipped.config and net.state_dict().keys() == shipped.state_dict().keys()
    assert type(task) is PaperTask


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipe_and_its_opponents_begin_as_one_decoder(toy: Path, name: str):
    net, task = recipe(name, toy)
    z, hit = task.train.items[0].depth()
    told = (torch.randn(6, 4, 8, 8, generator=torch.Generator().manual_seed(0)), z, hit, torch.ones(4, 64, 64))
    assert net.config.paper and net.config.temporal
    assert torch.equal(net.decode(*told, SIX_VIEWS), recipe("recipe", toy)[0].decode(*told, SIX_VIEWS))


def test_each_opponent_does_one_thing_otherwise(toy: Path):
    rng = torch.Generator
    made = {name: recipe(name, toy) for name in RECIPES}
    scene = made["recipe"][1].train.items[0]
    noise = {k: task.depth_noise(scene, rng().manual_seed(0), 0.1) for k, (_, task) in made.items()}
    assert [k for k, v in noise.items() if not torch.equal(v, noise["recipe"])] == [
        "recipe-no-depth-noise",
        "recipe-independent-noise",
    ]
    assert not noise["recipe-no-depth-noise"].any()
    bound = 0.1 * (1 + 1 / 3 + 1 / 9)
    assert 0.9 * bound < noise["recipe-independent-noise"].abs().max() <= bound
    points = {k: [a.points for a in net.attention] for k, (net, _) in made.items()}
    assert points.pop("recipe-full-epipolar") == [32, 32, 0, 0]
    assert set(map(tuple, points.values())) == {(7, 7, 7, 2)}
    whole = made["recipe-full-epipolar"][0].attention[0].depths(torch.tensor([0.2]), SIX_VIEWS)
    assert whole.min() < -0.9 and whole.max() > 0.9
    off = made["recipe-no-epipolar"][0]
    x = torch.ones(1)
    assert off.attend(0, x, None, None) is x
    amplitudes = {task.noise_amplitude(0.0, rng()) for _, task in made.values()}
    assert amplitudes == {0.1} and all(task.latents(scene, rng())[0] is scene.latents for _, task in made.values())


def test_whole_lines_are_looked_along_in_bands_of_whole_rows(toy: Path):
    assert [name for name in RECIPES if VARIANTS[name].task.whole_rows] == ["recipe-full-epipolar"]

"""The paper's training: what it leaves out of ours, and what it has that ours has not."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train import crossview_decoder, paper_recipe
from img2mv3d.train.paper_recipe import NUMBERS, PaperTask
from img2mv3d.train.scenes import Scenes

CHANNELS = (32, 32, 32, 32)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Narrow bands, and a stand-in for EfficientNet-Lite0's features, which an extra brings."""
    monkeypatch.setattr(crossview_decoder, "BAND", 32)
    monkeypatch.setattr(paper_recipe, "features", torch.nn.Identity)
    monkeypatch.setattr(paper_recipe, "feature_distance", distance)


def distance(found: Tensor, wanted: Tensor, net: torch.nn.Module) -> Tensor:
    return (net(found) - net(wanted)).abs().mean()


def task_of(toy: Path) -> PaperTask:
    torch.manual_seed(0)
    net = CrossViewDecoder(CrossViewConfig(CHANNELS, **NUMBERS))
    net.load_plain(PlainDecoder(CHANNELS).state_dict())
    return PaperTask(Scenes(toy, "train", 3), Scenes(toy, "val", 1), net)


def test_the_loss_reaches_every_part_and_the_temporal_half(toy: Path):
    task = task_of(toy)
    for progress in (0.2, 0.99):
        task.loss(progress, torch.Generator().manual_seed(4)).backward()
    moved = {k.split(".")[0] for k, p in task.net.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"base", "front", "attention"}
    assert any(p.grad is not None and p.grad.any() for p in task.net.base.temporal_parameters())


def test_what_a_plain_decoder_has_not_learns_at_the_higher_rate(toy: Path):
    task = task_of(toy)
    new = {id(p) for p in task.new_parameters()}
    plain = sum(p.numel() for p in PlainDecoder(CHANNELS).parameters())
    assert sum(p.numel() for p in task.net.parameters() if id(p) not in new) == plain


def test_latents_masks_and_photo_are_the_true_ones_and_no_view_is_hidden(toy: Path):
    task, rng = task_of(toy), torch.Generator().manual_seed(0)
    scene = task.train.items[0]
    z, hit = scene.depth()
    for _ in range(20):
        assert task.latents(scene, rng) == (scene.latents, False)
        assert all(a is b for a, b in zip(task.masks(z, hit, rng), (z, hit), strict=True))
        assert task.dropped(6, rng) == () and torch.equal(task.photo(scene, rng), scene.front(False))


def test_depth_is_off_by_all_of_equation_3_from_the_first_step_on(toy: Path):
    task, rng = task_of(toy), torch.Generator().manual_seed(0)
    amplitudes = {task.noise_amplitude(progress, rng) for progress in (0.0, 0.5, 1.0)}
    assert amplitudes == {crossview_decoder.DEPTH_NOISE} == {0.1}
    noise = task.depth_noise(task.train.items[0], rng, 0.1)
    assert 0.06 < noise.abs().max() <= 0.1 * (1 + 1 / 3 + 1 / 9)


def test_the_loss_is_the_squared_error_and_a_tenth_of_the_distance_by_features(toy: Path):
    task = task_of(toy)
    one, two = torch.rand(2, 6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = (one - two).square().mean() + 0.1 * (one - two).abs().mean()
    assert task.picture_loss(one, two) == pytest.approx(expected.item())
    assert task.picture_loss(one, one) == 0

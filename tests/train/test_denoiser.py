"""Laws of the denoiser's training."""

from pathlib import Path

import torch

from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.train import denoiser
from img2mv3d.train.denoiser import MultiViewNets
from img2mv3d.train.pool import Pool

TINY = UNetConfig(channels=(8, 16), reach=("off", "views", "views"), heads=(1, 1), token_width=8, groups=4)


def nets() -> MultiViewNets:
    """Two levels of 8 and 16 channels."""
    torch.manual_seed(0)
    return MultiViewNets(MultiViewUNet(TINY), TokenEncoder(TokenConfig((8, 8, 8, 8), 8, 4, 4)))


def test_training_lowers_the_held_out_loss(toy: Path, tmp_path: Path) -> None:
    net = nets()
    task = denoiser.MultiViewTask(toy, net)
    before = task.held_out(net)
    average = denoiser.train(toy, tmp_path / "run", 1.0, steps=30, net=net, report=lambda line: None)
    after = task.held_out(average)
    assert after["loss_900"] < before["loss_900"]


def test_without_condition_the_photo_does_not_matter(toy: Path) -> None:
    net, items = nets(), Pool(toy, "train", pictures=False).items[:2]
    kept, dropped = (denoiser.condition_of(net, items, torch.full((2,), k)) for k in (1.0, 0.0))
    assert kept.latent.abs().sum() > 0 and kept.tokens.abs().sum() > 0
    assert dropped.latent.abs().sum() == dropped.tokens.abs().sum() == 0
    assert torch.equal(kept.camera, dropped.camera)


def test_condition_rows_are_those_of_the_network(toy: Path) -> None:
    net, items = nets(), Pool(toy, "train", pictures=False).items[:2]
    told = denoiser.condition_of(net, items, torch.ones(2))
    rows = told.latent.unflatten(0, (2, 2, 6))  # domain, object, view
    for i, item in enumerate(items):
        assert torch.equal(rows[:, i], item.photo_latent.float().expand(2, 6, -1, -1, -1))
    camera = told.camera.unflatten(0, (2, 2, 6))
    assert torch.equal(camera[:, 0], camera[:, 1]) and torch.equal(camera[0, 0], net.camera[:6])


def test_generated_latents_have_the_form_of_the_item_s(toy: Path) -> None:
    item = Pool(toy, "val", pictures=False).items[0]
    normal, color = denoiser.generate_latents(nets().eval(), item, SCHEDULES["mini"], steps=2, seed=0)
    assert normal.shape == color.shape == item.latents[0].shape
    again = denoiser.generate_latents(nets().eval(), item, SCHEDULES["mini"], steps=2, seed=0)
    assert torch.equal(again[1], color)


def test_the_noise_steps_of_a_generation_get_their_shares_and_the_rest_goes_everywhere(toy: Path) -> None:
    task = denoiser.MultiViewTask(toy, nets(), denoiser.MultiViewBatch(called=((999, 0.4), (499, 0.25))))
    rng = torch.Generator().manual_seed(0)
    steps = torch.tensor([task._noise_step(rng) for _ in range(4000)])
    assert abs(float((steps == 999).float().mean()) - 0.4) < 0.03
    assert abs(float((steps == 499).float().mean()) - 0.25) < 0.03
    assert len(steps.unique()) > 500 and steps.min() >= 0


def test_one_object_is_seen_through_its_window_and_several_whole(toy: Path) -> None:
    task = denoiser.MultiViewTask(toy, nets())
    item, rng = task.pool.items[0], torch.Generator().manual_seed(0)
    windows = [task._window([item], rng) for _ in range(60)]
    assert {(w.top, w.height) for w in windows} == {(item.window.top, item.window.height)}
    assert min(w.width for w in windows) == item.window.width and max(w.width for w in windows) == item.window.whole
    assert task._window([item, item], rng).height == item.window.whole

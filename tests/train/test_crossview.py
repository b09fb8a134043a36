"""Laws of the cross-view decoder's training."""

from pathlib import Path

import pytest
import torch

from img2mv3d.nets.crossview import CrossViewDecoder
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train import crossview
from img2mv3d.train.crossview import STAGES, CrossViewTask, Scenes, corrupted

CHANNELS = (32, 32, 32, 32)


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch):
    monkeypatch.setattr(crossview, "BAND", 32)


def task_of(toy: Path, stage: int) -> CrossViewTask:
    torch.manual_seed(0)
    net = CrossViewDecoder(CHANNELS)
    return CrossViewTask(Scenes(toy, "train", 3), Scenes(toy, "val", 1), net, STAGES[stage], (0.0, 0.1))


def test_training_brings_the_front_view_to_the_photo(toy: Path, tmp_path: Path):
    torch.manual_seed(0)
    plain = PlainDecoder(CHANNELS).state_dict()
    before = CrossViewDecoder(CHANNELS)
    before.load_plain(plain)
    task = task_of(toy, 0)
    trained = crossview.train(
        toy, plain, tmp_path / "run", 1.0, steps=10, net=CrossViewDecoder(CHANNELS), report=lambda line: None
    )
    old, new = task.held_out(before), task.held_out(trained)
    assert new["psnr_mask_front"] > old["psnr_mask_front"] + 0.1
    assert (tmp_path / "run" / "ema.safetensors").exists()
    assert trained.attention_on and (tmp_path / "run" / "attention" / "sheet.png").exists()


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(toy: Path, tmp_path: Path):
    plain = PlainDecoder(CHANNELS).state_dict()

    def run(folder: str) -> dict:
        net = CrossViewDecoder(CHANNELS)
        return crossview.train(
            toy, plain, tmp_path / folder, 1.0, steps=3, net=net, report=lambda line: None
        ).state_dict()

    once = run("a")
    again = run("a")  # every stage is at its end already
    assert all(torch.equal(once[k], again[k]) for k in once)


def test_first_only_photo_and_carry_learn_then_everything(toy: Path):
    first, second = task_of(toy, 0), task_of(toy, 1)
    learning = {k.split(".")[0] for k, p in first.net.named_parameters() if p.requires_grad}
    assert learning == {"front", "carry"} and not first.net.attention_on
    assert all(p.requires_grad for p in second.net.parameters()) and second.net.attention_on
    assert {
        k.split(".")[0] for k, p in second.net.named_parameters() if any(p is n for n in second.new_parameters())
    } == {
        "front",
        "carry",
        "attention",
    }


def test_equal_random_numbers_give_equal_losses_for_bands_and_whole_pictures(toy: Path):
    for progress in (0.2, 0.99):
        one, two = (task_of(toy, 1).loss(progress, torch.Generator().manual_seed(4)) for _ in range(2))
        assert torch.equal(one, two) and torch.isfinite(one)


def test_corrupted_latents_disagree_from_view_to_view():
    latents = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0)).expand(6, -1, -1, -1).contiguous()
    bad = corrupted(latents, torch.Generator().manual_seed(1))
    assert (bad[0] - bad[1]).abs().mean() > 0.1
    assert torch.equal(bad, corrupted(latents, torch.Generator().manual_seed(1)))


def test_a_band_meets_the_object():
    mask = torch.zeros(6, 256, 256, dtype=torch.uint8)
    mask[:, 200:220, 10:20] = 255
    generator = torch.Generator().manual_seed(0)
    monkey = crossview.BAND
    starts = {crossview._band(mask, generator) for _ in range(50)}
    assert all(s % 8 == 0 and 0 <= s <= 256 - monkey for s in starts)
    assert all((mask[:, s : s + monkey] > 0).any() for s in starts)

"""Laws of the cross-view decoder's training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder, crop, make_guides
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train import crossview_decoder
from img2mv3d.train.crossview_decoder import CrossViewTask, consistency_loss, folder_in, overlap
from img2mv3d.train.scenes import Scenes
from tests.card import card

CHANNELS = (32, 32, 32, 32)
NUMBERS = {"channels": CHANNELS}


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch):
    monkeypatch.setattr(crossview_decoder, "BAND", 32)


def task_of(toy: Path) -> CrossViewTask:
    torch.manual_seed(0)
    net = CrossViewDecoder(CrossViewConfig(CHANNELS))
    return CrossViewTask(Scenes(toy, "train", 3), Scenes(toy, "val", 1), net)


def trained(toy: Path, folder: Path, steps: int, device: str = "cpu") -> CrossViewDecoder:
    plain = PlainDecoder(CHANNELS).state_dict()
    told = {"numbers": NUMBERS, "device": device, "report": lambda line: None}
    return crossview_decoder.train(toy, plain, folder, 1.0, steps=steps, **told)


def test_training_brings_the_front_view_to_the_photo(toy: Path, tmp_path: Path):
    torch.manual_seed(0)
    before = CrossViewDecoder(CrossViewConfig(CHANNELS))
    before.load_plain(PlainDecoder(CHANNELS).state_dict())
    torch.manual_seed(0)
    after = trained(toy, tmp_path / "run", 12)
    task = task_of(toy)
    old, new = task.held_out(before), task.held_out(after)
    assert new["clean_psnr_mask_front"] > old["clean_psnr_mask_front"] + 0.1
    assert (tmp_path / "run" / "ema.safetensors").exists() and (tmp_path / "run" / "sheet.png").exists()


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(toy: Path, tmp_path: Path, monkeypatch):
    torch.manual_seed(0)
    once = trained(toy, tmp_path / "a", 4).state_dict()
    loss, steps = CrossViewTask.loss, []

    def stopping(self: CrossViewTask, progress: float, rng: torch.Generator) -> torch.Tensor:
        steps.append(progress)
        if len(steps) == 2:
            (tmp_path / "b" / "stop").touch()
        return loss(self, progress, rng)

    monkeypatch.setattr(CrossViewTask, "loss", stopping)
    torch.manual_seed(0)
    trained(toy, tmp_path / "b", 4)
    assert steps == [0, 0.25]
    (tmp_path / "b" / "stop").unlink()
    torch.manual_seed(0)
    again = trained(toy, tmp_path / "b", 4).state_dict()
    assert steps == [0, 0.25, 0.5, 0.75]
    assert all(torch.equal(once[k], again[k]) for k in once)


@pytest.mark.slow
def test_on_a_card_the_same_is_learnt(toy: Path, tmp_path: Path):
    torch.manual_seed(0)
    expected = trained(toy, tmp_path / "here", 2)
    torch.manual_seed(0)
    start = trained(toy, tmp_path / "start", 0)
    torch.manual_seed(0)
    with card() as place:
        found = trained(toy, tmp_path / "there", 2, device=place)
    assert {p.device.type for p in found.parameters()} == {"cpu"}
    vectors = [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in (start, expected, found)]
    learnt, apart = (vectors[1] - vectors[0]).abs(), (vectors[2] - vectors[1]).abs()
    assert apart.mean() < 1e-3 * learnt.mean() and apart.max() < 1e-4


def test_the_loss_reaches_every_part(toy: Path):
    task = task_of(toy)
    for progress in (0.2, 0.99):
        loss = task.loss(progress, torch.Generator().manual_seed(4))
        assert torch.isfinite(loss)
        loss.backward()
    moved = {k.split(".")[0] for k, p in task.net.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"base", "front", "attention", "carry"}


def test_equal_random_numbers_give_equal_losses(toy: Path):
    for progress in (0.2, 0.99):
        one, two = (task_of(toy).loss(progress, torch.Generator().manual_seed(4)) for _ in range(2))
        assert torch.equal(one, two)


def test_whole_pictures_are_trained_on_from_the_first_step_when_asked_for(toy: Path, monkeypatch: pytest.MonkeyPatch):
    task, sizes = task_of(toy), []
    forward = task.net.forward

    def watched(latents, *more):
        sizes.append(latents.shape[-2:])
        return forward(latents, *more)

    monkeypatch.setattr(task.net, "forward", watched)
    for share in (crossview_decoder.FULL_SHARE, 1.0):
        task.full_share = share
        task.loss(0.1, torch.Generator().manual_seed(4))
    assert sizes[0][0] == 4 and tuple(sizes[1]) == (8, 8)


def test_a_band_meets_the_object():
    mask = torch.zeros(6, 256, 256, dtype=torch.uint8)
    mask[:, 200:220, 10:20] = 255
    generator = torch.Generator().manual_seed(0)
    band = crossview_decoder.BAND
    starts = {crossview_decoder._band(mask, generator) for _ in range(50)}
    assert all(s % 8 == 0 and 0 <= s <= 256 - band for s in starts)
    assert all((mask[:, s : s + band] > 0).any() for s in starts)


def ball(size: int = 64, radius: float = 0.4) -> tuple[torch.Tensor, torch.Tensor]:
    """z and hit of a ball in the middle, the same from all six sides."""
    line = (torch.arange(size) + 0.5) * 2 / size - 1
    square = radius**2 - line[None] ** 2 - line[:, None] ** 2
    hit = (square > 0).float()
    return (square.clamp(min=0).sqrt() * hit).expand(6, -1, -1).contiguous(), hit.expand(6, -1, -1).contiguous()


def test_columns_that_hold_the_object_are_all_that_the_attention_needs():
    z, hit = ball()
    torch.manual_seed(0)
    net = CrossViewDecoder(CrossViewConfig(CHANNELS))
    attention = net.attention[3]
    torch.nn.init.normal_(attention.out.weight)
    guides = make_guides(z, hit, torch.rand(4, 64, 64), SIX_VIEWS)
    features = torch.randn(6, 32, 64, 64)
    attention.norm = torch.nn.Identity()  # the norm looks at the whole picture
    whole = attention.branch(features, guides.levels[3])
    part = crop(guides, (16, 48), (16, 48))
    cut = attention.branch(features[..., 16:48, 16:48], part.levels[3])
    assert torch.allclose(whole[..., 16:48, 16:48], cut, atol=1e-5)


def test_columns_off_the_middle_are_refused():
    z, hit = ball()
    guides = make_guides(z, hit, torch.rand(4, 64, 64), SIX_VIEWS)
    with pytest.raises(ValueError, match="columns 0 to 32"):
        crop(guides, (0, 64), (0, 32))
    level = guides.levels[0]
    tilted = level._replace(rig=replace(level.rig, elevation_deg=(10.0,) * 6))
    with pytest.raises(ValueError, match="no band"):
        crop(guides._replace(levels=(tilted,) * 4), (0, 64))


def test_the_overlap_of_neighbours_is_the_same_surface_point():
    z, hit = ball()
    pairs = overlap(z, hit, 1.0)
    line = ((torch.arange(64) + 0.5) * 2 / 64 - 1).expand(64, -1)
    heights = line.T.expand(6, -1, -1).reshape(-1)
    met = (heights[pairs.index] * pairs.weight).sum(-1)
    assert len(pairs.pixel) > 1000 and torch.allclose(met, heights[pairs.pixel], atol=1e-6)
    turn = torch.deg2rad(torch.tensor(SIX_VIEWS.azimuth_deg))[:, None, None]
    world_x = (turn.cos() * line - turn.sin() * z).reshape(-1)  # a colour that is the point's own place
    apart = ((world_x[pairs.index] * pairs.weight).sum(-1) - world_x[pairs.pixel]).abs()
    assert apart.median() < 0.01


def test_equal_errors_agree_and_different_ones_do_not():
    z, hit = ball()
    pairs = overlap(z, hit, 1.0)
    error = torch.full((6, 3, 64, 64), 0.3)
    assert consistency_loss(error, pairs) == pytest.approx(0, abs=1e-6)
    error[1] = -0.3
    assert consistency_loss(error, pairs) > 0.05
    assert consistency_loss(error, overlap(z, hit * 0, 1.0)) == 0


def test_a_training_of_the_first_version_is_gone_on_with(tmp_path: Path):
    assert folder_in(tmp_path) == tmp_path / "crossview"
    (tmp_path / "rough-outlines").mkdir()
    assert folder_in(tmp_path) == tmp_path / "rough-outlines"

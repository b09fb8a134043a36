"""Laws of the encoder's training and of the latents it makes."""

from pathlib import Path

import numpy as np
import torch

from img2mv3d.data.renders import RenderSet
from img2mv3d.nets.vae import Encoder, encode_boxed
from img2mv3d.train import encoder
from img2mv3d.train.pool import as_float


def test_training_brings_the_encoder_nearer_to_the_teacher(toy: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    net = Encoder((16, 16), (1, 1))
    pool = encoder.EncoderTask(toy, net, encoder.EncoderBatch()).held
    before = encoder.encoder_figures(net, pool)["rms_color"]
    average = encoder.train(toy, tmp_path / "run", 1.0, steps=40, net=net, report=lines.append)
    assert encoder.encoder_figures(average, pool)["rms_color"] < 0.9 * before
    assert any("held out" in line for line in lines)


def test_only_missing_latents_are_made_and_say_who_made_them(toy: Path) -> None:
    sets = RenderSet(toy)
    sets.latents_path("toy-1.0").unlink()
    assert encoder.encode_missing(toy, Encoder((16, 16), (1, 1))) == 1
    with np.load(sets.latents_path("toy-1.0")) as file:
        assert str(file["source"].item()) == "mini" and file["color"].shape == (6, 4, 8, 8)
        assert file["photo"].shape == (4, 8, 8)


def test_encoding_the_box_equals_encoding_the_whole() -> None:
    torch.manual_seed(0)
    net = Encoder((16, 16), (1, 1))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    images = torch.ones(2, 3, 192, 192)
    images[0, :, 80:100, 90:110] = 0.3
    images[1, :, 90:110, 70:100] = 0.6
    with torch.no_grad():
        whole = net.encode(images)
    assert torch.allclose(encode_boxed(net, images), whole, atol=1e-5)
    assert torch.equal(encode_boxed(net, torch.ones(1, 3, 16, 16))[0, :, 0, 0], net.white())


def test_pictures_become_channels_first_numbers_in_0_1() -> None:
    picture = torch.tensor([[[0, 128, 255]]], dtype=torch.uint8)
    assert torch.equal(as_float(picture)[:, 0, 0], torch.tensor([0.0, 128 / 255, 1.0]))

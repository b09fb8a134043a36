"""Laws of the single-view autoencoder."""

import pytest
import torch
from diffusers.models.autoencoders.vae import Decoder

from img2mv3d.conventions import LATENT_SCALE
from img2mv3d.nets.vae import Encoder, PlainDecoder


def test_encoder_and_decoder_undo_each_others_sizes() -> None:
    images = torch.rand(2, 3, 64, 48)
    latents = Encoder((8, 16), (1, 1)).encode(images)
    assert latents.shape == (2, 4, 8, 6)
    assert PlainDecoder((8, 8, 16, 16)).decode(latents).shape == images.shape


@pytest.mark.parametrize("layers", [1, 2])
def test_keys_are_those_of_the_temporal_decoder_without_its_temporal_half(layers: int) -> None:
    from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder

    stock = TemporalDecoder(block_out_channels=(32, 32, 64, 64), layers_per_block=layers).state_dict()
    spatial = {
        key.replace(".spatial_res_block", ""): value.shape
        for key, value in stock.items()
        if "temporal" not in key and "time_" not in key
    }
    if layers == 1:  # stands in the stock state dict, but is never run
        spatial = {key: shape for key, shape in spatial.items() if ".attentions." not in key}
    ours = {key: value.shape for key, value in PlainDecoder((32, 32, 64, 64), layers).state_dict().items()}
    assert ours == spatial


def test_with_two_layers_it_is_diffusers_decoder_bit_for_bit() -> None:
    torch.manual_seed(0)
    stock = Decoder(4, 3, ("UpDecoderBlock2D",) * 4, (32, 32, 64, 64), 2, norm_num_groups=8).eval()
    ours = PlainDecoder((32, 32, 64, 64), 2, groups=8).eval()
    ours.load_state_dict(stock.state_dict())
    ours.to(memory_format=torch.contiguous_format)
    latents = torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        assert torch.allclose(ours.decode(latents), stock(latents) / 2 + 0.5, atol=1e-5)


def test_the_public_decoder_has_the_published_numbers() -> None:
    with torch.device("meta"):
        net = PlainDecoder.stable_diffusion()
    assert len(net.state_dict()) == 140
    assert sum(p.numel() for p in net.parameters()) == 49_490_179 + 20
    assert net.scale == LATENT_SCALE


def test_a_crop_that_holds_all_that_is_not_white_encodes_like_the_whole() -> None:
    torch.manual_seed(0)
    net = Encoder((16, 32), (1, 2))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    images = torch.ones(1, 3, 128, 128)
    images[..., 48:80, 56:72] = torch.rand(1, 3, 32, 16)
    with torch.no_grad():
        whole, crop = net.encode(images), net.encode(images[..., 16:112, 16:112])
        assert torch.allclose(whole[..., 4:12, 4:12], crop[..., 2:-2, 2:-2], atol=1e-5)
        assert torch.equal(net.encode(torch.ones(1, 3, 16, 16)), net.white()[None, :, None, None].expand(1, 4, 2, 2))

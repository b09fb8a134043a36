"""The temporal base: the recorded video decoder, and the plain decoder as its spatial half."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder

from img2mv3d.errors import WeightsError
from img2mv3d.nets.temporal import TemporalBase
from img2mv3d.nets.vae import PlainDecoder

GOLDEN = Path(__file__).parent.parent / "golden" / "svd_vae"
CHANNELS = (32, 32, 32, 64)


@pytest.fixture(scope="module")
def recorded() -> tuple[TemporalBase, dict]:
    weights = np.load(GOLDEN / "decoder_weights.npz")
    net = TemporalBase(CHANNELS, layers_per_block=2, groups=32)
    net.load_state_dict(
        {k.removeprefix("decoder."): torch.from_numpy(weights[k].astype(np.float32)) for k in weights.files}
    )
    return net, {k: torch.from_numpy(v) for k, v in np.load(GOLDEN / "io.npz").items()}


def test_the_recorded_video_decoder_is_reproduced(recorded):
    net, io = recorded
    with torch.no_grad():
        assert (net.run(io["latents"])[0] - io["decoded_6"]).abs().max() <= 5e-5
        single = torch.cat([net.run(io["latents"][i : i + 1])[0] for i in range(2)])
    assert (single - io["decoded_1_first2"]).abs().max() <= 5e-5


def test_hooks_that_give_back_what_they_get_leave_the_decoder_alone(recorded):
    net, io = recorded
    seen = []

    def keep(i, x):
        seen.append((i, x.shape[-1], x.shape[1]))
        return x

    with torch.no_grad():
        assert torch.equal(net.run(io["latents"], keep, keep)[0], net.run(io["latents"])[0])
    assert seen == [
        (0, 8, 64),
        (0, 8, 64),
        (1, 16, 64),
        (1, 16, 32),
        (2, 32, 32),
        (2, 32, 32),
        (3, 64, 32),
        (3, 64, 32),
    ]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("temporal", [False, True])
def test_with_a_plain_decoder_as_its_spatial_half_it_decodes_like_it(layers, temporal):
    torch.manual_seed(0)
    plain = PlainDecoder((32, 32, 64, 64), layers_per_block=layers, scale=0.5)
    net = TemporalBase((32, 32, 64, 64), layers_per_block=layers, scale=0.5, temporal=temporal)
    net.load_spatial(plain.state_dict())
    latents = torch.randn(3, 4, 4, 4)
    with torch.no_grad():
        ours, theirs = net.run(latents)[0] / 2 + 0.5, plain.decode(latents)
    # the temporal half runs in another memory layout, and a convolution's last bits depend on it
    assert (ours - theirs).abs().max() <= (2e-5 if temporal else 0.0)


def test_with_the_temporal_half_it_is_the_stock_decoder_bit_for_bit():
    torch.manual_seed(0)
    stock = TemporalDecoder(4, 3, (32, 32, 64, 64), 1)
    net = TemporalBase((32, 32, 64, 64), groups=32)
    net.load_state_dict({k: v for k, v in stock.state_dict().items() if k in net.state_dict()})
    latents = torch.randn(3, 4, 4, 4)
    with torch.no_grad():
        assert torch.equal(net.run(latents)[0], stock(latents, torch.zeros(1, 3), 3))


def test_the_published_size_has_the_published_names_and_counts():
    with torch.device("meta"):
        net = TemporalBase((128, 256, 512, 512), layers_per_block=2, groups=32)
    assert len(net.state_dict()) == 266
    assert sum(v.numel() for v in net.state_dict().values()) == 63_579_183


def test_a_plain_decoder_of_other_numbers_is_refused_by_name():
    net = TemporalBase((32, 32, 64, 64), temporal=False)
    with pytest.raises(WeightsError, match=r"up_blocks\.1\.resnets\.0\.conv_shortcut"):
        net.load_spatial(PlainDecoder((32, 32, 64, 128)).state_dict())


@pytest.mark.parametrize("layers", [1, 2])
def test_a_temporal_half_that_was_closed_learns_at_once_and_all_of_it_from_the_second_step(layers):
    torch.manual_seed(0)
    net = TemporalBase((32, 32, 64, 64), layers_per_block=layers)
    net.load_spatial(PlainDecoder((32, 32, 64, 64), layers_per_block=layers).state_dict())
    optimiser = torch.optim.SGD(net.temporal_parameters(), lr=0.1)
    latents = torch.randn(3, 4, 4, 4)
    net.run(latents)[0].square().mean().backward()
    assert all(r.temporal_res_block.conv2.weight.grad.abs().max() > 0 for r in net._resnets())
    optimiser.step()
    optimiser.zero_grad()
    net.run(latents)[0].square().mean().backward()
    assert all(p.grad.abs().max() > 0 for p in net.temporal_parameters())


def test_what_is_temporal_is_named_and_a_still_base_has_none_of_it():
    assert not TemporalBase(CHANNELS, temporal=False).temporal_parameters()
    net = TemporalBase(CHANNELS)
    still = TemporalBase(CHANNELS, temporal=False)
    count = sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in net.temporal_parameters())
    assert count == sum(p.numel() for p in still.parameters())

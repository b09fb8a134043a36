"""The cross-view decoder: a stock decoder until trained, and every part a difference when opened."""

import copy

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder

from img2mv3d.geometry.cameras import SIX_VIEWS, Rig
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder, crop, make_guides
from img2mv3d.nets.vae import PlainDecoder

CHANNELS = (32, 32, 32, 32)
SIDE = 64  # px


def scene(rig: Rig = SIX_VIEWS) -> tuple[torch.Tensor, ...]:
    """latents, z, hit, front: a sphere and noise."""
    torch.manual_seed(5)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, SIDE),) * 2, indexing="ij")
    depth = -(0.4 - x**2 - y**2).clamp(min=0).sqrt()
    hit = (depth < 0).float()
    views = len(rig)
    front = torch.cat([torch.rand(3, SIDE, SIDE), hit[None]])
    return torch.randn(views, 4, SIDE // 8, SIDE // 8), depth.expand(views, -1, -1), hit.expand(views, -1, -1), front


def opened(net: CrossViewDecoder) -> CrossViewDecoder:
    """The same with all zero-started parts moved."""
    net = copy.deepcopy(net)
    torch.manual_seed(6)
    for part in (*net.front.out, *(a.out for a in net.attention)):
        torch.nn.init.normal_(part.weight, std=0.2)
    if net.carry is not None:
        torch.nn.init.normal_(net.carry.out.weight, std=0.2)
        torch.nn.init.constant_(net.carry.gate, 0.3)
    return net


def test_freshly_made_it_is_the_stock_video_decoder_bit_for_bit():
    torch.manual_seed(0)
    net = CrossViewDecoder(CrossViewConfig(CHANNELS, layers_per_block=2, groups=32, temporal=True))
    stock = TemporalDecoder(4, 3, CHANNELS, 2)
    stock.load_state_dict(net.base.state_dict())
    latents, z, hit, front = scene()
    with torch.no_grad():
        expected = stock(latents, torch.zeros(1, 6), 6) / 2 + 0.5
    assert torch.equal(net.decode(latents, z, hit, front, SIX_VIEWS), expected)


def test_freshly_made_on_a_plain_decoder_it_is_that_decoder_bit_for_bit():
    plain = PlainDecoder(CHANNELS)
    net = CrossViewDecoder(CrossViewConfig(CHANNELS))
    net.load_plain(plain.state_dict())
    latents, z, hit, front = scene()
    with torch.no_grad():
        assert torch.equal(net.decode(latents, z, hit, front, SIX_VIEWS), plain.decode(latents))


def test_with_the_papers_parts_and_a_temporal_half_it_is_that_decoder_but_for_rounding():
    plain = PlainDecoder(CHANNELS)
    net = CrossViewDecoder(CrossViewConfig(CHANNELS, paper=True, temporal=True))
    net.load_plain(plain.state_dict())
    latents, z, hit, front = scene()
    with torch.no_grad():
        assert torch.allclose(net.decode(latents, z, hit, front, SIX_VIEWS), plain.decode(latents), atol=2e-5)


def test_the_papers_parts_are_the_front_condition_and_the_attention_alone():
    net = CrossViewDecoder(CrossViewConfig(CHANNELS, paper=True))
    assert {k.split(".")[0] for k in net.state_dict()} == {"base", "front", "attention"}
    opening = opened(net)
    found = opening.decode(*scene(), SIX_VIEWS)
    assert (found - net.decode(*scene(), SIX_VIEWS)).abs().amax((1, 2, 3)).min() > 1e-3
    assert torch.equal(found, with_parts(opening, "attention", "front").decode(*scene(), SIX_VIEWS))


OFF = {  # what the parts' methods are when nothing is added
    "attention": {"attend": lambda i, x, level, jitter: x},
    "front": {"add_front": lambda x, features: x},
    "warped photo": {"add_warped": lambda x, warped: x, "blend_warped": lambda picture, features, warped: picture},
}


def with_parts(net: CrossViewDecoder, *parts: str) -> CrossViewDecoder:
    """The same with these parts alone."""
    net = copy.deepcopy(net)
    for name in set(OFF) - set(parts):
        vars(net).update(OFF[name])
    return net


@pytest.mark.parametrize("part", OFF)
def test_every_part_makes_a_difference_once_it_is_open(part):
    plain = CrossViewDecoder(CrossViewConfig(CHANNELS))
    net = opened(plain)
    told = (*scene(), SIX_VIEWS)
    without = with_parts(net).decode(*told)
    assert (with_parts(net, part).decode(*told) - without).abs().max() > 1e-3
    assert torch.equal(without, plain.decode(*told))


def test_the_front_condition_reaches_other_views_through_the_attention_alone():
    net = opened(CrossViewDecoder(CrossViewConfig(CHANNELS)))
    seen, unseen = (with_parts(net, *parts).decode(*scene(), SIX_VIEWS) for parts in (("front",), ()))
    assert (seen[0] - unseen[0]).abs().max() > 1e-3
    assert torch.equal(seen[1:], unseen[1:])


def test_every_new_weight_gets_a_gradient_after_the_first_step():
    net = opened(CrossViewDecoder(CrossViewConfig(CHANNELS)))
    latents, z, hit, front = scene()
    net(latents, make_guides(z, hit, front, SIX_VIEWS)).square().sum().backward()
    assert [k for k, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_the_zero_started_parts_get_a_gradient_at_once():
    net = CrossViewDecoder(CrossViewConfig(CHANNELS))
    latents, z, hit, front = scene()
    net(latents, make_guides(z, hit, front, SIX_VIEWS)).square().sum().backward()
    first = [
        *(p.weight for p in net.front.out),
        *(a.out.weight for a in net.attention),
        net.carry.out.weight,
        net.carry.gate,
    ]
    assert all(p.grad.abs().max() > 0 for p in first)


@pytest.mark.parametrize("views", [1, 2, 3, 8, 16])
def test_fewer_and_more_views_than_six_are_decoded(views):
    rig = Rig(tuple(f"v{i}" for i in range(views)), tuple(360.0 * i / views for i in range(views)), (10.0,) * views)
    assert torch.isfinite(opened(CrossViewDecoder(CrossViewConfig(CHANNELS))).decode(*scene(rig), rig)).all()


def test_a_band_decodes_like_the_whole_away_from_its_rims():
    net = CrossViewDecoder(CrossViewConfig(CHANNELS))
    latents, z, hit, front = scene()
    guides = make_guides(z, hit, front, SIX_VIEWS)
    with torch.no_grad():
        assert net(latents[:, :, 2:6], crop(guides, (16, 48))).shape == (6, 3, 32, SIDE)
    band = crop(guides, (16, 48))
    assert [tuple(level.z.shape) for level in band.levels] == [(6, 4, 8), (6, 8, 16), (6, 16, 32), (6, 32, 64)]
    assert torch.equal(crop(guides, (16, 48), (16, 48)).photo, guides.photo[:, 16:48, 16:48])
    assert torch.equal(band.warped.color, guides.warped.color[:, :, 16:48])


def test_maps_that_do_not_belong_to_the_latents_are_refused():
    latents, z, hit, front = scene()
    with pytest.raises(ValueError, match="6 cameras and maps of 64 x 64 px"):
        CrossViewDecoder(CrossViewConfig(CHANNELS)).decode(
            latents, z[:, ::2, ::2], hit[:, ::2, ::2], front[:, ::2, ::2], SIX_VIEWS
        )


def test_the_published_size_keeps_the_published_base():
    with torch.device("meta"):
        net = CrossViewDecoder.stable_video_diffusion()
    assert sum(v.numel() for v in net.base.state_dict().values()) == 63_579_183


def test_a_config_is_checked_and_survives_a_manifest():
    config = CrossViewConfig((32, 32, 64, 128), points=(7, 7, 0, 0), paper=True)
    assert CrossViewConfig.from_dict(config.to_dict()) == config
    assert CrossViewConfig.from_dict({}) == CrossViewConfig.from_dict({"carry": True}) == CrossViewConfig()
    for wrong, says in (
        ({"chanels": [32]}, "unknown chanels"),
        ({"front_to": "all"}, "front_to of an ablation"),
        ({"points": [7, 7]}, "2 points"),
        ({"groups": 0}, "must be positive"),
    ):
        with pytest.raises(ValueError, match=says):
            CrossViewConfig.from_dict(wrong)

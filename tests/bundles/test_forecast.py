"""What a run will take: counted on networks without numbers, the same as on real ones."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from img2mv3d.bundles.decoders import Decoder, choose
from img2mv3d.bundles.forecast import (
    COVERED,
    KEPT,
    LARGE,
    Need,
    Pace,
    decode_need,
    depth_need,
    fits,
    generate_need,
    metered,
    pace,
)
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.errors import WeightsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder, make_guides
from tests.checkpoints import full_size, tiny_checkpoint
from tests.toys import CHANNELS, DECODER, toy_bundle


def test_a_chain_holds_two_tensors_at_a_time():
    """Input, and output of the layer at work; parameters are not counted."""
    net = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100), nn.Linear(100, 100)).to("meta")
    most, flops, _ = metered(lambda: net(torch.empty(50, 100, device="meta")))
    assert most == 2 * 50 * 100 * 4 + 50 * 100 * 4  # the input stays the caller's
    assert flops == 3 * 2 * 50 * 100 * 100


def test_attention_never_holds_the_table_of_scores():
    q = torch.empty(1, 1, 4096, 8, device="meta")
    most, flops, _ = metered(lambda: nn.functional.scaled_dot_product_attention(q, q, q))
    assert most == 4096 * 8 * 4 and flops == 2 * 4096 * 4096 * 16


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return load_bundle(full_size(tmp_path_factory.mktemp("full") / "wonder3d"))


def test_the_published_size_needs_half_of_the_work_when_branches_take_turns(published):
    together, apart = (generate_need(published, steps=50, guidance=3.0, at_once=a) for a in (True, False))
    assert apart.work < 0.6 * together.work and apart.weights == together.weights
    assert apart.flops == pytest.approx(together.flops, rel=0.01)
    assert apart.weights == 4 * (910_785_284 + 303_966_208 + 34_163_592 + 72)
    assert together.half().peak < 8e9


@pytest.mark.slow
def test_a_card_is_filled_or_refused(published):
    told = {"steps": 50, "guidance": 3.0}
    at_once, apart = (generate_need(published, at_once=a, **told).half().peak for a in (True, False))
    assert fits(published, at_once, **told) is True
    assert fits(published, apart, **told) is False
    with pytest.raises(WeightsError, match="--vram gives"):
        fits(published, apart - 1, **told)


def test_steps_cost_time_and_no_memory(tmp_path):
    bundle = load_bundle(tiny_checkpoint(tmp_path / "tiny"))
    few, more, many = (generate_need(bundle, steps=n, guidance=1.0, at_once=True) for n in (2, 4, 20))
    assert many.work == few.work
    assert many.flops - few.flops == pytest.approx(9 * (more.flops - few.flops))  # the photo is seen once


def test_every_stage_with_networks_has_a_forecast(tmp_path):
    bundle = toy_bundle(tmp_path / "toy")
    needs = [depth_need(bundle), decode_need(choose("crossview", bundle))]
    assert [n.stage for n in needs] == ["depth", "decode"] and all(n.peak > n.weights > 0 for n in needs)


def test_the_cross_view_decoder_is_counted_as_it_runs():
    """On the meta device, where nobody knows which pixels are hit, and on real tensors with an object of that size."""
    grid = torch.linspace(-1, 1, 64)
    hit = (grid[:, None] ** 2 + grid[None, :] ** 2 < 4 * COVERED / torch.pi).float().expand(6, -1, -1)
    net = CrossViewDecoder(CrossViewConfig.from_dict({**DECODER, "channels": CHANNELS})).eval()
    for block in net.attention:
        nn.init.ones_(block.out.bias)
    guides = make_guides(hit * 0, hit, torch.ones(4, 64, 64), SIX_VIEWS)
    real = metered(lambda: net(torch.zeros(6, 4, 8, 8), guides))
    told = decode_need(Decoder("toy", "", "", lambda: net, DECODER), size=64)
    assert told.flops == pytest.approx(real.flops, rel=0.1) and told.work == pytest.approx(real.most, rel=0.1)


@pytest.mark.parametrize(
    ("conv", "shape", "copies"),
    [
        (nn.Conv2d(8, 8, 3, padding=1), (2, 8, 64, 64), 1),
        (nn.Conv2d(8, 8, 3, padding=1).to(memory_format=torch.channels_last), (2, 8, 64, 64), 0),
        (nn.Conv2d(8, 8, 1), (2, 8, 64, 64), 0),
        (nn.Conv3d(8, 8, (3, 1, 1), padding=(1, 0, 0)), (1, 8, 2, 64, 64), 4),
    ],
    ids=["in space", "channels last", "1 x 1", "over views"],
)
def test_a_convolution_takes_room_beside_what_it_reads_and_writes(conv, shape, copies):
    """In copies of its input, as measured on a processor; input and output are alive besides."""
    net, size = conv.to("meta"), 4 * torch.Size(shape).numel()
    assert metered(lambda: net(torch.empty(shape, device="meta"))).most == (2 + copies) * size


def test_only_new_pages_cost_time():
    """A large tensor has new ones; small ones are used again, until much is alive."""
    small, large = torch.empty(LARGE // 8, device="meta"), torch.empty(LARGE // 4, device="meta")
    assert metered(lambda: [small + 1 for _ in range(3)] and None).fresh == 0
    assert metered(lambda: large + 1).fresh == LARGE
    kept = KEPT // LARGE
    assert metered(lambda: ([large + 1 for _ in range(kept)], small + 1)).fresh == kept * LARGE + LARGE // 2


def test_seconds_are_work_over_pace():
    need = Need("depth", 0, 0, 6e9, "", fresh=8e9)
    assert need.seconds(Pace(flops=2e9, fresh=4e9)) == 5.0
    found = pace(0.05)
    assert found.flops > 1e8 and found.fresh > 1e7


def test_rows_of_white_are_not_generated_and_not_foretold(tmp_path):
    """mini's denoiser sees the rows of the silhouette and some beside them: 24 of 32 at most."""
    mini = load_bundle("mini")
    told = {"steps": 2, "guidance": 1.0, "at_once": True}
    whole = dict(mini.manifest) | {"generate": {**mini.manifest["generate"], "windows": False}}
    rows, all_rows = generate_need(mini, **told), generate_need(replace(mini, manifest=whole), **told)
    assert 0.7 < rows.flops / all_rows.flops < 0.8

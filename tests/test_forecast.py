"""What a run will take: counted on networks without numbers, the same as on real ones."""

import pytest
import torch
from torch import nn

from img2mv3d.decoders import choose
from img2mv3d.errors import WeightsError
from img2mv3d.forecast import decode_need, depth_need, fits, generate_need, metered
from img2mv3d.weights import load_bundle
from tests.checkpoints import full_size, tiny_checkpoint
from tests.toys import toy_bundle


def test_a_chain_holds_two_tensors_at_a_time():
    """Input, and output of the layer at work; parameters are not counted."""
    net = nn.Sequential(nn.Linear(100, 100), nn.Linear(100, 100), nn.Linear(100, 100)).to("meta")
    most, flops = metered(lambda: net(torch.empty(50, 100, device="meta")))
    assert most == 2 * 50 * 100 * 4 + 50 * 100 * 4  # the input stays the caller's
    assert flops == 3 * 2 * 50 * 100 * 100


def test_attention_never_holds_the_table_of_scores():
    q = torch.empty(1, 1, 4096, 8, device="meta")
    most, flops = metered(lambda: nn.functional.scaled_dot_product_attention(q, q, q))
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


def test_a_card_is_filled_or_refused(published):
    told = {"steps": 50, "guidance": 3.0}
    at_once, apart = (generate_need(published, at_once=a, **told).half().peak for a in (True, False))
    assert fits(published, at_once, **told) is True
    assert fits(published, apart, **told) is False
    with pytest.raises(WeightsError, match="--vram gives"):
        fits(published, apart - 1, **told)


def test_steps_cost_time_and_no_memory(tmp_path):
    bundle = load_bundle(tiny_checkpoint(tmp_path / "tiny"))
    few, many = (generate_need(bundle, steps=n, guidance=1.0, at_once=True) for n in (2, 20))
    assert many.work == few.work and many.flops == pytest.approx(10 * few.flops)


def test_every_stage_with_networks_has_a_forecast(tmp_path):
    bundle = toy_bundle(tmp_path / "toy")
    needs = [depth_need(bundle), decode_need(choose("crossview", bundle))]
    assert [n.stage for n in needs] == ["depth", "decode"] and all(n.peak > n.weights > 0 for n in needs)

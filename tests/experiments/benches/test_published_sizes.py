"""The measurement of the published sizes, on networks of a moment: what it says is what was measured and foretold."""

from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.benches import published_sizes as fullsize
from experiments.benches.published_sizes import UNET, VIDEO, Part, measure, parts, stages, table
from img2mv3d.bundles.forecast import Need
from img2mv3d.flow.graph import STAGES
from img2mv3d.nets.attention import EpipolarAttention
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig

NOTHING = Need("", 0, 0, 0.0, "")
CHANNELS = (32, 32, 32, 32)


class Hungry(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000, 1000))

    def forward(self):
        return torch.ones(100, 1000, 1000).sum()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same parts, so narrow that they take a moment."""
    tiny = UNetConfig((32, 32), ("views", "off", "views"), (1, 1), token_width=8, groups=4)
    monkeypatch.setattr(fullsize, "UNET", tiny)
    monkeypatch.setattr(fullsize, "VIDEO", {**VIDEO, "channels": CHANNELS, "layers_per_block": 1})
    monkeypatch.setattr(fullsize, "STILL", {**fullsize.STILL, "block_out_channels": CHANNELS, "layers_per_block": 1})


def test_peak_covers_weights_and_work():
    part = measure("hungry", Hungry, lambda net: net(), NOTHING)
    assert part.weights == 4_000_000 and part.seconds > 0
    assert part.peak >= 350_000_000


def test_what_was_foretold_stands_beside_what_was_measured():
    row = Part("decode", 8.0, 10**9, 2 * 10**9, (10.0, 1.5e9))
    told = "| decode | 8.0 | 10.0 | +25 % | 1.00 GB | 2.00 GB | 1.50 GB | -25 % |"
    assert told in table([row], 2)
    assert "| mini | 8.0 | 4.0 | -50 % |  |  |  |  |" in table([Part("mini", 8.0, 0, 0, (4.0, 0.0))], 2)


def test_longer_runs_are_multiplied_out_and_called_so():
    text = table([Part("UNet, 2 guided steps, in turn", 60.0, 10**9, 2 * 10**9), Part("decode", 5.0, 1, 2)], 2)
    assert "not measured" in text and "| in turn | 10 min | 25 min |" in text
    assert "| peak, the same at every step | 2.00 GB | 2.00 GB |" in text and "| decode | 5.0 |" in text


def test_the_networks_are_the_published_ones():
    with torch.device("meta"):
        assert sum(p.numel() for p in MultiViewUNet(UNET).parameters()) == 910_785_284
        assert (
            sum(p.numel() for p in CrossViewDecoder(CrossViewConfig.from_dict(VIDEO)).base.parameters()) == 63_579_183
        )
        still = fullsize.SdDecoder(fullsize.STILL)
        assert sum(p.numel() for p in still.decoder.parameters()) == 49_490_179


def test_every_part_is_measured_and_foretold(small, monkeypatch: pytest.MonkeyPatch):
    looked = []
    branch = EpipolarAttention.branch
    monkeypatch.setattr(EpipolarAttention, "branch", lambda *given: looked.append(given) or branch(*given))
    found = list(parts(1, 64, "unet,plain,crossview"))
    assert [p.what.split()[0] for p in found] == ["UNet,", "plain", "cross-view"]
    assert all(p.seconds > 0 and p.foretold[0] > 0 and p.foretold[1] > p.weights > 0 for p in found)
    real = [level.z for _, _, level, *_ in looked if not level.z.is_meta]
    assert len(real) == 4, "the attention of all up-blocks must be among what is measured"


def test_the_report_holds_what_was_asked_for_and_says_how(small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fullsize, "parts", lambda steps, only: parts(steps, 64, only))
    fullsize.main([str(tmp_path / "told.md"), "--steps", "1", "--only", "plain"])
    text = (tmp_path / "told.md").read_text()
    assert "| plain decode of a view |" in text and "UNet" not in text
    assert "random weights" in text and "load before" in text and "run --dry-run" in text


def test_a_run_is_measured_the_second_time(monkeypatch: pytest.MonkeyPatch):
    folders = []

    def run(source, out, plan, *, report):
        folders.append(out.name)
        for number, stage in enumerate(STAGES):
            report.begin(stage, number, len(STAGES))
            sum(range(1000 if len(folders) == 2 else 300_000))
            report.end(stage, "computed", 0.0)

    monkeypatch.setattr(fullsize, "run", run)
    found = list(stages())
    assert folders == ["first", "second"] and [p.what for p in found] == [f"mini, {s}" for s in STAGES]
    assert all(p.foretold[0] > 0.1 and p.peak == 0 for p in found) and sum(p.seconds for p in found) < 0.02

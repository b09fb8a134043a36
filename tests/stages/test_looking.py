"""Other ways to look into other views than the trained one: chosen for one decoding, and gone afterwards."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from img2mv3d.cli.app import app
from img2mv3d.errors import DepthError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.crossview import WHOLE_LINES, CrossViewConfig, CrossViewDecoder, Looking
from img2mv3d.plans import DecodeOptions
from img2mv3d.stages.decode import REACH, decode, reach_of
from img2mv3d.values import Depth, Latents, Views

SIDE = 64
VIEWS = len(SIX_VIEWS)


@pytest.fixture(scope="module")
def decoder() -> CrossViewDecoder:
    """A tiny one whose attention adds something."""
    torch.manual_seed(0)
    made = CrossViewDecoder(CrossViewConfig(channels=(32, 32, 64, 64))).eval()
    for block in made.attention:
        torch.nn.init.normal_(block.out.weight, std=0.5)
    return made


@pytest.fixture(scope="module")
def latents() -> Latents:
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((VIEWS, 4, SIDE // 8, SIDE // 8), np.float32)
    front = np.full((SIDE, SIDE, 4), 255, np.uint8)
    return Latents(cells, cells, front, SIX_VIEWS, 144, {"name": "sd"}, "toy", 0, {})


@pytest.fixture(scope="module")
def depth() -> Depth:
    """A ball; the left half of every picture is unsure."""
    y, x = (np.indices((SIDE, SIDE)) + 0.5) / SIDE * 2 - 1
    mask = np.repeat((np.hypot(x, y) < 0.6)[None], VIEWS, 0).astype(np.float32)
    z = -np.sqrt(np.maximum(0.36 - x**2 - y**2, 0)).astype(np.float32) * mask
    color = np.ones((VIEWS, SIDE, SIDE, 3), np.float32)
    plain = Views(color, np.zeros_like(color), mask, SIX_VIEWS)
    sure = np.broadcast_to((x > 0).astype(np.float32), mask.shape).copy()
    return Depth(z.astype(np.float32), mask, plain, None, "neus", (), sure)


def decoded(latents: Latents, depth: Depth, decoder: CrossViewDecoder, **options: object) -> np.ndarray:
    return decode(latents, depth, decoder=decoder, options=replace(DecodeOptions(), **options)).color


@pytest.mark.parametrize(
    "options", [{"attention": "off"}, {"attention": "full"}, {"samples": 3}, {"radius": 0.4}, {"radius": "auto"}]
)
def test_each_switch_changes_the_picture_and_leaves_the_decoder_as_it_was(
    options: dict[str, object], latents: Latents, depth: Depth, decoder: CrossViewDecoder
) -> None:
    before = decoded(latents, depth, decoder)
    other = decoded(latents, depth, decoder, **options)
    assert np.abs(other - before).max() > 1e-3 and np.isfinite(other).all()
    assert np.array_equal(decoded(latents, depth, decoder), before)


def test_what_was_trained_may_be_typed(latents: Latents, depth: Depth, decoder: CrossViewDecoder) -> None:
    typed = decoded(latents, depth, decoder, attention="epipolar", radius=decoder.config.radius)
    assert np.array_equal(typed, decoded(latents, depth, decoder))


def test_off_is_every_view_on_its_own(latents: Latents, depth: Depth, decoder: CrossViewDecoder) -> None:
    other = replace(latents, color=np.concatenate([latents.color[:1], -latents.color[1:]]))
    one, two = (decoded(given, depth, decoder, attention="off")[0] for given in (latents, other))
    assert np.array_equal(one, two)


def test_full_looks_along_whole_lines_in_coarse_blocks_and_not_at_all_in_finer_ones(decoder: CrossViewDecoder) -> None:
    looks = decoder.looks(Looking("full"))
    assert [look.points for look in looks] == list(WHOLE_LINES) == [32, 64, 0, 0]
    depths = looks[0].depths(0, torch.arange(2), torch.zeros(2), SIX_VIEWS, None)
    assert depths.min() < -0.95 and depths.max() > 0.95
    with pytest.raises(ValueError, match="expected epipolar, off or full"):
        decoder.looks(Looking("whole"))


def test_auto_looks_further_where_the_depth_is_unsure(
    latents: Latents, depth: Depth, decoder: CrossViewDecoder
) -> None:
    reach = reach_of(depth)
    assert np.unique(reach[..., : SIDE // 2]) == [REACH[1]] and np.unique(reach[..., SIDE // 2 :]) == [REACH[0]]
    with pytest.raises(DepthError, match="confidence"):
        decoded(latents, replace(depth, confidence=None), decoder, radius="auto")


@pytest.mark.parametrize("typed", [["--radius", "far"], ["--radius", "9"], ["--attention", "some"], ["--samples", "0"]])
def test_other_values_are_refused(typed: list[str], tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["decode", str(tmp_path / "latents.pt"), *typed])
    assert found.exit_code == 2 and typed[0] in found.output


def test_they_are_flags_of_decode_alone() -> None:
    for command, there in (("decode", True), ("run", False)):
        text = CliRunner().invoke(app, [command, "--help"]).output
        assert all((flag in text) == there for flag in ("--attention", "--samples", "--radius"))

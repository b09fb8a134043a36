"""Drafts of rendered sets: made once, from the photo alone, and what the denoiser's loss makes of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from img2mv3d.data.corpus import Solid
from img2mv3d.data.renders import INDEX_COLUMNS, SET_KEYS, RenderSet, render, write_atomically
from img2mv3d.nets.drafted import CHANNELS
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.shape import ShapeConfig, ShapeNet
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.nets.vae import Encoder
from img2mv3d.train.denoiser import MultiViewNets, MultiViewTask
from img2mv3d.train.drafts import draft_missing, load_draft
from img2mv3d.train.encoder import encode_missing

TINY = UNetConfig(
    channels=(8, 16), reach=("off", "views", "views"), heads=(1, 1), token_width=8, groups=4, draft=CHANNELS
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rendered box with latents and a draft."""
    folder = tmp_path_factory.mktemp("data")
    mesh = trimesh.creation.box((0.6, 0.4, 0.5))
    paint = np.full((len(mesh.faces), 3), (200, 60, 30), np.uint8)
    solid = Solid(mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), face_rgb=paint)
    sample = render(solid, np.random.default_rng(0))
    arrays = {key: getattr(sample, key) for key in SET_KEYS[:-1]}
    write_atomically(RenderSet(folder).set_path("box.0"), **arrays, framing_px=np.array(sample.framing_px))
    rows = ["\t".join(INDEX_COLUMNS), "\t".join(["box", "0", "train", "own", "CC0-1.0", "1"])]
    (folder / "index.tsv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(0)
    encoder = Encoder((8, 8), (1, 1)).eval()
    encode_missing(folder, encoder)
    shape = ShapeNet(ShapeConfig(widths=(16, 16, 16, 16), layers=1, fills=8, ratios=16)).eval()
    assert draft_missing(folder, shape, encoder, print) == 1
    return folder


def test_a_draft_has_latents_in_both_domains_and_the_photos_outline(data: Path):
    latents, maps = load_draft(data, "box.0")
    assert latents.shape == (2, 6, 4, 32, 32) and maps.shape == (6, 3, 32, 32)
    outline = RenderSet(data).load("box.0").mask[0].reshape(32, 8, 32, 8).mean((1, 3)) / 255
    assert np.abs(maps[0, 0].float().numpy() - outline).mean() < 0.01
    assert maps[0, 2].max() > 0.5 > maps[3, 2].max()  # the photo shows the front, not the back


def test_drafts_are_made_once_and_not_of_toys(data: Path, toy: Path):
    nets = ShapeNet(ShapeConfig(widths=(16, 16, 16, 16), layers=1, fills=8, ratios=16)), Encoder((8, 8), (1, 1))
    assert draft_missing(data, *nets, print) == 0
    assert draft_missing(toy, *nets, print) == 0


def test_the_loss_takes_drafts_and_learns_from_them(data: Path):
    torch.manual_seed(0)
    net = MultiViewNets(MultiViewUNet(TINY), TokenEncoder(TokenConfig((8, 8, 8, 8), 8, 4, 4)))
    torch.nn.init.normal_(net.unet.conv_out.weight)
    task = MultiViewTask(data, net)
    for seed in range(4):
        task.loss(0.0, torch.Generator().manual_seed(seed)).backward()
    assert net.unet.conv_in.weight.grad[:, -CHANNELS:].abs().sum() > 0

"""The network equals the recorded original; its batch order and its attention do what their names say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recipes import recorded_unet
from safetensors.torch import load_file

from img2mv3d.bundles.convert import load_strictly
from img2mv3d.nets.multiview import (
    COORDINATES,
    MultiViewUNet,
    UNetConfig,
    camera_vector,
    coordinates,
    pack,
    unpack,
)
from img2mv3d.train.denoiser import UNET

GOLDEN = Path(__file__).parents[1] / "golden" / "unet"
CASES = {  # seed of the weights, gain of queries and keys
    "base": (1001, 2.0),
    "mv_only": (2001, 2.0),
    "cd_last": (2101, 2.0),
    "cd_mid_and_last_v0_names": (2201, 2.0),
    "four_views": (2301, 2.0),
    "no_mv_joint_only": (2401, 2.0),
    "sparse_mv": (2501, 2.0),
    "tokens3_nonsquare": (2601, 2.0),
    "camera6_mv_only": (2701, 2.0),
    "four_levels": (2801, 1.0),
}
TINY = UNetConfig((8, 16), ("off", "rows", "views"), (1, 2), token_width=4, groups=4)


@pytest.mark.parametrize("case", CASES)
def test_the_network_equals_the_recorded_original(case):
    config = json.loads((GOLDEN / case / "config.json").read_text())
    net, weights = recorded_unet(config, *CASES[case])
    load_strictly(net, weights, case)
    record = load_file(GOLDEN / case / "io.safetensors")
    calls = {k.rpartition(".")[0] for k in record if k.endswith("out")}
    assert calls
    for call in calls:
        given = {
            k: record.get(f"{call}.{k}".lstrip("."), record.get(k)) for k in ("sample", "timestep", "class_labels")
        }
        tokens = record.get(f"{call}.encoder_hidden_states".lstrip("."), record.get("encoder_hidden_states"))
        with torch.no_grad():
            out = net(given["sample"], given["timestep"], tokens, given["class_labels"])
        expected = record[f"{call}.out".lstrip(".")]
        assert expected.std() > 0.1
        assert (out - expected).abs().max() <= 1e-4, call


def test_published_size_has_the_published_keys_and_parameters():
    config = UNetConfig(
        channels=(320, 640, 1280, 1280),
        reach=("views", "views", "views", "off", "views"),
        heads=(8, 8, 8, 8),
        token_width=768,
        layers=2,
    )
    with torch.device("meta"):
        net = MultiViewUNet(config)
    assert len(net.state_dict()) == 802
    assert sum(p.numel() for p in net.parameters()) == 910_785_284


def test_ours_is_a_hundredth_of_the_published_one_with_wide_heads():
    with torch.device("meta"):
        net = MultiViewUNet(UNET)
    assert 6e6 <= sum(p.numel() for p in net.parameters()) <= 11e6
    attending = [(c, h) for c, h, r in zip(UNET.channels, UNET.heads, UNET.reach, strict=False) if r != "off"]
    assert all(width // heads >= 32 for width, heads in attending)


def test_an_untrained_network_predicts_nothing():
    out = tiny(TINY, loud=False)(*told(12))
    assert torch.equal(out, torch.zeros_like(out))


def test_rows_reach_the_same_row_of_other_views_and_domains_and_no_other_row():
    config = UNetConfig((8,), ("rows", "off"), (1,), token_width=4, groups=4)
    block = tiny(config).down_blocks[0].attentions[0].transformer_blocks[0]
    x, tokens = torch.randn(12, 16, 8), torch.randn(12, 3, 4)
    moved = x.clone()
    moved[2, 4:8] = torch.randn(4, 8)  # row 1 of a 4 x 4 map, view 2 of the normals
    with torch.no_grad():
        changed = (block(moved, tokens, 4) - block(x, tokens, 4)).abs().amax(dim=2).reshape(12, 4, 4).amax(dim=2) > 1e-6
    assert not changed[:, [0, 2, 3]].any()
    assert changed[:, 1].all()


def test_rows_of_one_row_equal_views():
    rows, views = (replace(TINY, reach=("off", r, r)) for r in ("rows", "views"))
    a, b = tiny(rows), tiny(views)
    b.load_state_dict(a.state_dict())
    noisy, t, tokens, camera = told(12, height=2)
    with torch.no_grad():
        assert torch.allclose(a(noisy, t, tokens, camera), b(noisy, t, tokens, camera), atol=1e-5)


def test_objects_of_a_batch_do_not_see_each_other():
    net = tiny(TINY)
    one, two = told(12, seed=1), told(12, seed=2)
    both = [
        pack(torch.stack([a[:6], b[:6]]), torch.stack([a[6:], b[6:]])) for a, b in zip(one[::2], two[::2], strict=True)
    ]
    camera = torch.cat([one[3][:6], two[3][:6], one[3][6:], two[3][6:]])
    with torch.no_grad():
        normal, color = unpack(net(both[0], one[1], both[1], camera), 6)
        assert torch.allclose(torch.cat([normal[0], color[0]]), net(*one), atol=1e-5)
        assert torch.allclose(torch.cat([normal[1], color[1]]), net(*two), atol=1e-5)


def test_unpack_undoes_pack():
    normal, color = torch.randn(3, 6, 4, 2, 2), torch.randn(3, 6, 4, 2, 2)
    again = unpack(pack(normal, color), 6)
    assert torch.equal(again[0], normal) and torch.equal(again[1], color)


def test_a_camera_vector_is_sines_then_cosines_domain_bits_too():
    camera = camera_vector(torch.zeros(6), torch.deg2rad(torch.tensor([0.0, 45, 90, 180, -90, -45])))
    assert camera.shape == (12, 10)
    expected = [0, 0, 1, 0.8415, 0, 1, 1, 0, 0.5403, 1]  # normal, right view
    assert torch.allclose(camera[2], torch.tensor(expected), atol=1e-4)
    assert torch.allclose(camera[8, [3, 4, 8, 9]], torch.tensor([0, 0.8415, 1, 0.5403]), atol=1e-4)
    assert camera_vector(torch.zeros(6), torch.zeros(6), domains=False).shape == (6, 6)


def test_coordinates_run_to_the_right_and_downwards_from_pixel_centres():
    grid = coordinates(2, 4)[0]
    assert grid.shape == (COORDINATES, 2, 4)
    assert torch.allclose(grid[0, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))
    assert torch.allclose(grid[1, :, 0], torch.tensor([-0.5, 0.5]))


def test_configs_survive_a_manifest():
    assert UNetConfig.from_dict(UNET.to_dict()) == UNET


@pytest.mark.parametrize("numbers", [{"reach": ["all", "views", "views"]}, {"heads": [1]}, {"widths": 3}])
def test_a_config_that_makes_no_network_is_refused(numbers):
    with pytest.raises(ValueError, match="unet"):
        UNetConfig.from_dict(TINY.to_dict() | numbers)


def test_a_torn_batch_is_refused():
    with pytest.raises(ValueError, match="11 rows"):
        tiny(TINY)(*told(11))


def tiny(config, loud=True):
    """A network whose zero-initialised layers are drawn, too (loud)."""
    torch.manual_seed(0)
    net = MultiViewUNet(config).eval()
    for p in net.parameters() if loud else ():
        torch.nn.init.normal_(p, std=0.3)
    return net


def told(rows, seed=0, height=8):
    """Arguments of a call."""
    rng = torch.Generator().manual_seed(seed)
    shapes = ((rows, 8, height, 8), (rows, 3, 4), (rows, 10))
    noisy, tokens, camera = (torch.randn(s, generator=rng) for s in shapes)
    return noisy, torch.tensor(500), tokens, camera

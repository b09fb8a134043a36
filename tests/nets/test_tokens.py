"""Image tokens of the small bundle."""

import torch

from img2mv3d.nets.tokens import TokenConfig, TokenEncoder


def test_a_photo_becomes_sixty_four_cells_and_one_whole():
    net = TokenEncoder()
    out = net(torch.rand(1, 4, 256, 256))
    assert out.tokens.shape == (1, 65, 128)
    assert out.features.shape == (1, 1280)
    assert sum(p.numel() for p in net.parameters()) < 2e6


def test_a_cell_is_where_its_pixels_are():
    """White is everywhere the same; a spot must change the tokens of its own corner most."""
    torch.manual_seed(0)
    net = TokenEncoder().eval()
    photo = torch.ones(1, 4, 256, 256)
    spot = photo.clone()
    spot[:, :3, :48, 208:] = 0  # the upper right corner
    with torch.no_grad():
        change = (net(spot).tokens - net(photo).tokens)[0, :64].norm(dim=1).reshape(8, 8)
    assert change.argmax().item() in (6, 7, 14, 15)


def test_configs_survive_a_manifest():
    config = TokenConfig(channels=(8, 8, 8, 16), width=8)
    assert TokenConfig.from_dict(config.to_dict()) == config

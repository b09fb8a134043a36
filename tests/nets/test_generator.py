"""The small bundle's condition: what it is told of a photo."""

import torch
from toys import TOKENS

from img2mv3d.nets.generator import MiniCondition
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.nets.vae import Encoder


def test_what_lies_under_transparent_pixels_is_not_told():
    torch.manual_seed(0)
    condition = MiniCondition(Encoder((8, 8), (1, 1)), TokenEncoder(TokenConfig.from_dict(TOKENS))).eval()
    photo = torch.rand(4, 64, 64)
    photo[3] = 0
    photo[3, 16:48, 16:48] = 1
    other = photo.clone()
    other[:3, :16] = 0.1  # hidden colours
    with torch.no_grad():
        a, b = condition(photo), condition(other)
    assert a.latent.shape == (4, 8, 8) and a.tokens.shape == (5, 8)
    assert torch.equal(a.latent, b.latent) and torch.equal(a.tokens, b.tokens)

"""Latents of another generator become ours."""

import numpy as np
import pytest
import torch
from torch import nn

from img2mv3d.errors import LatentsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.stages.adopt import adopted, first_size
from img2mv3d.values import Subject


class Square(nn.Module):
    """A decoder that paints a dark square on white, half as wide as the picture, where latents are not 0."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        side = 8 * latents.shape[-1]
        picture = torch.ones(len(latents), 3, side, side)
        if latents.any():
            picture[:, :, side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 0.2
        return picture


@pytest.mark.parametrize("cells", [8, 32])
def test_the_first_object_is_measured_in_px_of_256(cells: int) -> None:
    color = np.ones((6, 4, cells, cells), np.float32)
    assert first_size(color, None, decoder=Square(), name="a.pt") == pytest.approx(128, abs=2)
    with pytest.raises(LatentsError, match="its first view shows no object"):
        first_size(0 * color, None, decoder=Square(), name="a.pt")


def test_the_photo_becomes_as_large_as_the_views() -> None:
    image = np.zeros((256, 256, 4), np.uint8)
    image[64:192, 64:192] = (200, 30, 30, 255)
    subject = Subject(image, image, Framing((1.0, 1.0), (0.0, 0.0), 128))
    color = np.ones((6, 4, 8, 8), np.float32)
    made = adopted(color, None, subject, rig=SIX_VIEWS, vae={"name": "sd-1.x", "digest": ""}, unscaled=True)
    assert made.front.shape == (64, 64, 4) and (made.front[20:44, 20:44] == (200, 30, 30, 255)).all()
    assert made.framing_px == 128 and made.settings["unscaled"] is True and made.normal is None

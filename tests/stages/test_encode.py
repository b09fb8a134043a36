"""Pictures into the latent space: shapes, what is refused, what is kept of the front."""

import numpy as np
import pytest
import torch

from img2mv3d.errors import ViewsError
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.nets.vae import Encoder
from img2mv3d.stages.encode import encode
from img2mv3d.values import Views


def some_views(size: int, normals: bool = True) -> Views:
    mask = np.zeros((6, size, size), np.float32)
    mask[:, size // 4 : size * 3 // 4, size // 4 : size // 2] = 1
    normal = np.zeros((6, size, size, 3), np.float32)
    normal[..., 2] = mask
    color = np.full((6, size, size, 3), 0.5, np.float32)
    return Views(color, normal if normals else None, mask, SIX_VIEWS, "exact")


class Mean(Encoder):
    """Mean colour of every cell: enough to see where pixels go."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.one = torch.nn.Parameter(torch.ones(1))

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.avg_pool2d(images, 8)
        return torch.cat([cells, cells[:, :1]], dim=1)


def test_colours_and_normals_are_encoded_over_white() -> None:
    latents = encode(some_views(64), encoder=Mean(), vae={"name": "sd-1.x"}, bundle="toy")
    assert latents.color.shape == latents.normal.shape == (6, 4, 8, 8)
    inside, outside = latents.color[:, 0, 3, 2], latents.color[:, 0, 0, 0]
    np.testing.assert_allclose(inside, 0.5, atol=1e-6)
    np.testing.assert_allclose(outside, 1.0, atol=1e-6)
    np.testing.assert_allclose(latents.normal[0, :3, 3, 2], (128 / 255, 128 / 255, 1.0), atol=1e-6)


def test_the_front_picture_stays_with_its_mask_and_framing() -> None:
    latents = encode(some_views(64), encoder=Mean(), vae={"name": "sd-1.x"}, bundle="toy")
    assert latents.front.shape == (64, 64, 4) and latents.framing_px == 128
    assert latents.front[32, 20].tolist() == [128, 128, 128, 255] and latents.front[0, 0, 3] == 0


def test_views_without_normals_give_none() -> None:
    assert encode(some_views(64, normals=False), encoder=Mean(), vae={}, bundle="toy").normal is None


@pytest.mark.parametrize("size", [60, 24])
def test_sides_that_do_not_fit_the_cells_are_refused(size: int) -> None:
    with pytest.raises(ViewsError, match="multiple of 8"):
        encode(some_views(size), encoder=Mean(), vae={}, bundle="toy")

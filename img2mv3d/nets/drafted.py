"""What a denoiser is given of a draft: its latents, and of each view how much is covered, how deep, and what the photo
shows.

In: a draft's maps at pictures' size. Out: channels at latents' size, in the network's batch order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from img2mv3d.conventions import LATENT_FACTOR

MAPS = 3  # covered, depth, observed
CHANNELS = 4 + MAPS


def draft_maps(
    mask: Float[Tensor, "V H W"], z: Float[Tensor, "V H W"], observed: Float[Tensor, "V H W"]
) -> Float[Tensor, "V 3 h w"]:
    """Means over a latent's cell: covered share, depth (world units, times the share), the photo's share.

    z: 0 where mask is 0.
    """
    return F.avg_pool2d(torch.stack([mask, z * mask, observed], dim=1), LATENT_FACTOR)


def draft_input(latents: Float[Tensor, "N 4 h w"], maps: Float[Tensor, "M 3 h w"]) -> Float[Tensor, "N 7 h w"]:
    """Rows of `multiview.pack`: the draft's own latents (normals, then colours), and the maps of each view beside both.

    maps: of the views of the same objects, N = 2 M.
    """
    return torch.cat([latents, torch.cat([maps, maps]).to(latents)], dim=1)

"""A direct path from a denoiser's condition to its output: what of a view can be had by copying the photo."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Direct(nn.Module):
    """What of a view can be had by copying: channels of the condition, of its mirror image and a constant, mixed by
    numbers that view, domain and noise step decide. A network of few steps would spend most of them on learning to copy
    the front view and the outline of the back; starts at zero.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.mix = nn.Linear(embedding, outputs * (2 * inputs + 1))
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, condition: Float[Tensor, "N c h w"], embedding: Float[Tensor, "N e"]) -> Float[Tensor, "N o h w"]:
        """What is added to the network's output."""
        parts = torch.cat([condition, condition.flip(-1), torch.ones_like(condition[:, :1])], dim=1)
        mix = self.mix(F.silu(embedding)).unflatten(1, (self.outputs, -1))
        return torch.einsum("noc,nchw->nohw", mix, parts)

"""The paper's own training of the cross-view decoder: its parts, its latents, its depth noise and its loss, alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from img2mv3d.nets.features import feature_distance, features
from img2mv3d.train.crossview_decoder import DEPTH_NOISE, CrossViewTask, Overlap
from img2mv3d.train.scenes import Scene

NUMBERS: Mapping[str, Any] = MappingProxyType({"paper": True, "temporal": True})  # of the network, beside the base's
PERCEPTUAL_WEIGHT = 0.1  # beside 1 of the squared error; the paper has both terms and states no weights
STEPS, RATES = 3000, (1e-5, 1e-5, 1.0)  # on the paper's own base: of one object each, at one rate for all parts


class PaperTask(CrossViewTask):
    """Clean latents, true masks, the front view as it was rendered, depth off by all of equation 3; loss: squared error
    and the distance by features."""

    def new_parameters(self) -> list[nn.Parameter]:
        """What learns at the higher rate, where there is one: the temporal half, too, for a plain decoder has none."""
        temporal = self.net.base.temporal_parameters()
        return [*super().new_parameters(), *temporal]

    def latents(self, scene: Scene, rng: torch.Generator) -> tuple[Float[Tensor, "V 4 h w"], bool]:
        """As they were encoded."""
        return scene.latents, False

    def dropped(self, views: int, rng: torch.Generator) -> tuple[int, ...]:
        """None."""
        return ()

    def photo(self, scene: Scene, rng: torch.Generator) -> Float[Tensor, "4 H W"]:
        """As it was rendered."""
        return scene.front(False)

    def noise_amplitude(self, progress: float, rng: torch.Generator) -> float:
        """All of it, from the first step on."""
        return DEPTH_NOISE

    def masks(
        self, z: Float[Tensor, "V H W"], hit: Float[Tensor, "V H W"], rng: torch.Generator
    ) -> tuple[Float[Tensor, "V H W"], Float[Tensor, "V H W"]]:
        """As they are."""
        return z, hit

    def picture_loss(self, predicted: Float[Tensor, "V 3 h w"], target: Float[Tensor, "V 3 h w"]) -> Float[Tensor, ""]:
        """Squared error and, at its weight, the distance by EfficientNet-Lite0's features, in place of LPIPS."""
        squared = (predicted - target).square().mean()
        return squared + PERCEPTUAL_WEIGHT * feature_distance(predicted, target, features().to(predicted.device))

    def consistency(self, error: Float[Tensor, "V 3 h w"], pairs: Overlap, perturbed: bool) -> Float[Tensor, ""]:
        """Not asked for."""
        return error.new_zeros(())

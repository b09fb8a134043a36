"""Ablations of the cross-view decoder: subclasses of the shipped network and of its training, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from experiments.decoder.fitted_noise import fit_error
from img2mv3d.conventions import WORLD_WIDTH
from img2mv3d.geometry.epipolar import ray_depths, structured_noise
from img2mv3d.nets.attention import SLOTS, EpipolarAttention, PaperAttention
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.nets.features import feature_distance, features
from img2mv3d.train.crossview_decoder import DEPTH_NOISE, CrossViewTask
from img2mv3d.train.decoder import picture_loss
from img2mv3d.train.paper_recipe import NUMBERS, PaperTask

FEATURES = 0.02  # on three bands as a plain decoder shows them: 0.3 to 0.9 of the loss on colours
SIZES = CrossViewConfig()  # of the shipped decoder
OPENED = 0.01  # deviation of first values: adds about a tenth of what it is added to
NOISE_BOUND = 1 + 1 / 3 + 1 / 9  # of the structured noise, in units of its amplitude


# ------------------------------------------------------------------------------------------------------- the network


class WholeLineAttention(EpipolarAttention):
    """The points are spread over the whole ray through the world's cube, whatever the depth."""

    def depths(self, z: Tensor, rig: Any, jitter: Tensor | None = None) -> Tensor:
        """Where the points lie."""
        return ray_depths(torch.full_like(z, rig.distance or 0.0), self.points, WORLD_WIDTH / 2, jitter)


class BlindAttention(EpipolarAttention):
    """The mixing is not told what is hidden or outside of an image."""

    def visibility(self, taps: Any, z: Tensor, hit: Tensor) -> Tensor:
        """Nothing."""
        return torch.stack([taps.inside, taps.inside], dim=-1) * 0


class PhotolessAttention(EpipolarAttention):
    """The front view's samples do not have the photo's colour beside them."""

    def sources(self, normed: Tensor, ray: Tensor, photo: Tensor) -> Tensor:
        """Features and ray alone."""
        return super().sources(normed, ray, photo * 0)


class WholeLinePaperAttention(WholeLineAttention, PaperAttention):
    """The paper's, along the whole ray."""


class PermutationInvariantAttention(EpipolarAttention):
    """The mixing looks at each view alone, with one set of weights, and averages: any order and number is the same."""

    slots = 1

    def _slices(self) -> Tensor:
        return self.mix_in.weight[:, None].expand(-1, SLOTS, -1)

    def _gather(self, table, seen, flags, filled, z, hit, depths):  # type: ignore[no-untyped-def]
        if len(filled) <= 1:
            return super()._gather(table, seen, flags, filled, z, hit, depths)
        cells, parts = z.shape[1], []
        for i, (taps, one) in enumerate(zip(seen, filled, strict=True)):
            own = table[i * cells : (i + 1) * cells]
            parts.append(super()._gather(own, [taps], flags, [one], z, hit, depths))
        return sum(parts[1:], parts[0]) / len(parts)


class WholeLine(CrossViewDecoder):
    """The whole epipolar line below 128 px, with as many points as memory allows."""

    Attention = WholeLineAttention

    def __init__(self, config: CrossViewConfig = SIZES) -> None:
        super().__init__(replace(config, points=(32, 32, 0, 0)))


class CoarseOnly(CrossViewDecoder):
    """The piece of the line at 32 and 64 px alone: where the whole line is, too."""

    def __init__(self, config: CrossViewConfig = SIZES) -> None:
        super().__init__(replace(config, points=(7, 7, 0, 0)))


class NoEpipolar(CrossViewDecoder):
    """Photo branches only, nothing looks into other views."""

    def attend(self, i: int, x: Tensor, level: Any, jitter: Tensor | None) -> Tensor:
        """Nothing is added."""
        return x


class NoPhotoWarp(CrossViewDecoder):
    """The photo's pixels do not travel."""

    Attention = PhotolessAttention

    def __init__(self, config: CrossViewConfig = SIZES) -> None:
        super().__init__(config)
        self.carry = None


class NoVisibility(CrossViewDecoder):
    """The attention is not told what is hidden."""

    Attention = BlindAttention


class ConditionAllViews(CrossViewDecoder):
    """The photo's pyramid is added to every view, not to the front alone."""

    def add_front(self, x: Tensor, features: Tensor) -> Tensor:
        """To all of them."""
        return x + features


class PermutationInvariant(CrossViewDecoder):
    """Views are averaged, not known by their place."""

    Attention = PermutationInvariantAttention


class NonzeroInit(CrossViewDecoder):
    """The new parts start a little open, not closed."""

    def __init__(self, config: CrossViewConfig = SIZES) -> None:
        super().__init__(config)
        for projection in (*self.front.out, *(block.out for block in self.attention), self.carry.out):
            nn.init.normal_(projection.weight, std=OPENED)
        nn.init.constant_(self.carry.gate, OPENED)


class Paper(CrossViewDecoder):
    """The paper's parts alone."""

    def __init__(self, config: CrossViewConfig = SIZES) -> None:
        super().__init__(replace(config, paper=True))


class PaperNoEpipolar(NoEpipolar, Paper):
    """The paper's front condition alone."""


class Recipe(CrossViewDecoder):
    """The paper's parts alone, on a base with temporal layers: what `train decoder --recipe paper` trains."""

    def __init__(self, config: CrossViewConfig = SIZES) -> None:
        super().__init__(replace(config, **NUMBERS))


class RecipeNoEpipolar(NoEpipolar, Recipe):
    """That without epipolar attention."""


class RecipeWholeLine(WholeLine, Recipe):
    """That with the whole epipolar line, at 32 and 64 px alone."""

    PaperAttention = WholeLinePaperAttention


# ------------------------------------------------------------------------------------------------------ the training


class TrueMasks(CrossViewTask):
    """Told true silhouettes: without the mask-jitter augmentation. Most ablations were trained so."""

    def masks(self, z: Tensor, hit: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """As they are."""
        return z, hit


class WholeRows(TrueMasks):
    """For `WholeLine`, which leaves the columns round the object."""

    whole_rows = True


class NoDepthNoise(TrueMasks):
    """Trained on exact depth."""

    def depth_noise(self, scene: Any, rng: torch.Generator, amplitude: float) -> Tensor:
        """None."""
        return torch.zeros(scene.z.shape)


class FullNoise(TrueMasks):
    """Depth is off by all of the paper's amplitude from the first step."""

    def noise_amplitude(self, progress: float, rng: torch.Generator) -> float:
        """All of it."""
        return DEPTH_NOISE


class IndependentNoise(TrueMasks):
    """Every pixel's depth is off on its own, within the same bound: the paper's opponent."""

    def depth_noise(self, scene: Any, rng: torch.Generator, amplitude: float) -> Tensor:
        """Uniform noise."""
        return (torch.rand(scene.z.shape, generator=rng) * 2 - 1) * (amplitude * NOISE_BOUND)


class FittedNoise(TrueMasks):
    """Depth is off as real coarse fits to such views are (`fitted_noise`); sets without a fit get the paper's noise."""

    def depth_noise(self, scene: Any, rng: torch.Generator, amplitude: float) -> Tensor:
        """As large as it was, from the first step on."""
        error = fit_error(self.train.sets, scene.name)
        if error is None:
            return structured_noise(rng, len(scene.z), scene.z.shape[-1], amplitude)
        return torch.from_numpy(error).float()


class NoConsistencyLoss(TrueMasks):
    """Without the loss on disagreement."""

    def consistency(self, error: Tensor, pairs: Any, perturbed: bool) -> Float[Tensor, ""]:
        """Nothing."""
        return error.sum() * 0


class ConsistencyOnPerturbed(TrueMasks):
    """The loss on disagreement only where latents are perturbed."""

    def consistency(self, error: Tensor, pairs: Any, perturbed: bool) -> Float[Tensor, ""]:
        """As shipped, or nothing."""
        return super().consistency(error, pairs, perturbed) if perturbed else error.sum() * 0


class FeatureLoss(TrueMasks):
    """With a loss on what EfficientNet-Lite0 sees."""

    def picture_loss(self, predicted: Tensor, target: Tensor) -> Float[Tensor, ""]:
        """By colours and features."""
        net = features().to(predicted.device)
        return picture_loss(predicted, target) + FEATURES * feature_distance(predicted, target, net)


class RecipeWholeRows(PaperTask):
    """The paper's training for `RecipeWholeLine`, which leaves the columns round the object."""

    whole_rows = True


class RecipeNoDepthNoise(NoDepthNoise, PaperTask):
    """The paper's training on exact depth."""


class RecipeIndependentNoise(IndependentNoise, PaperTask):
    """The paper's training, every pixel's depth off on its own."""


@dataclass(frozen=True)
class Variant:
    """network, task: what is trained, and how. former: its name in files of version 0.1.0."""

    about: str
    network: type[CrossViewDecoder] = CrossViewDecoder
    task: type[CrossViewTask] = TrueMasks
    former: str = ""


SHIPPED = "mask-jitter"  # what mini has
VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        SHIPPED: Variant("as shipped", task=CrossViewTask, former="rough-outlines"),
        "true-masks": Variant("everything, told true silhouettes in training", former="ours"),
        "no-epipolar": Variant("photo branches only", NoEpipolar),
        "full-epipolar": Variant("the whole line at 32 and 64 px", WholeLine, WholeRows),
        "coarse-only": Variant("the piece of the line at 32 and 64 px alone", CoarseOnly),
        "no-depth-noise": Variant("trained on exact depth", task=NoDepthNoise),
        "full-noise": Variant("depth off by the paper's whole amplitude always", task=FullNoise),
        "independent-noise": Variant("every pixel's depth is off on its own", task=IndependentNoise),
        "no-photo-warp": Variant("the photo's pixels do not travel", NoPhotoWarp, former="no-carry"),
        "no-visibility": Variant("the attention is not told what is hidden", NoVisibility),
        "condition-all-views": Variant("the photo's pyramid to every view", ConditionAllViews, former="front-to-all"),
        "permutation-invariant": Variant("views are averaged", PermutationInvariant, former="mean-mixing"),
        "nonzero-init": Variant("the new parts start a little open", NonzeroInit, former="open-start"),
        "no-consistency-loss": Variant("without it", task=NoConsistencyLoss, former="no-agreement"),
        "consistency-on-perturbed": Variant("that loss there only", task=ConsistencyOnPerturbed, former="forgiving"),
        "fitted-noise": Variant("depth is off as real fits are", task=FittedNoise),
        "feature-loss": Variant("with a loss on EfficientNet-Lite0's features", task=FeatureLoss),
        "paper": Variant("the paper's parts alone, our loss on colours", Paper, NoConsistencyLoss),
        "paper-no-epipolar": Variant("its front condition alone", PaperNoEpipolar, NoConsistencyLoss),
        "recipe": Variant("the paper's parts, latents, noise and loss", Recipe, PaperTask),
        "recipe-no-epipolar": Variant("that without epipolar attention", RecipeNoEpipolar, PaperTask),
        "recipe-full-epipolar": Variant("that, whole lines at 32 and 64 px", RecipeWholeLine, RecipeWholeRows),
        "recipe-no-depth-noise": Variant("that on exact depth", Recipe, RecipeNoDepthNoise),
        "recipe-independent-noise": Variant("that, every pixel off on its own", Recipe, RecipeIndependentNoise),
    }
)
TODAY = {variant.former: name for name, variant in VARIANTS.items() if variant.former}

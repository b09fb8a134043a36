"""What is known of a surface before a fit looks at any view: a body, and which views speak against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter, map_coordinates
from torch import Tensor

from img2mv3d.neus.narrow_band import FAR, Block
from img2mv3d.neus.raygrid import box_filters
from img2mv3d.neus.targets import ViewTargets, rays_to_block

APART_DEG = (15.0, 30.0)  # angles between a view's normal and the body's: from agreeing to contradicting
OUTSIDE = (0.2, 0.6)  # the same of covered shares of a pixel
DISPUTED = 2e-4  # share of a view's pixels, 13 px of 256 x 256
BLUR_PX = 1.0  # of a view: rims of pictures are off by that, and mean nothing


@dataclass(frozen=True, eq=False)
class Prior:
    """A body that the fit starts from, and stays at where no view asks for anything else.

    sdf: float32 [N, N, N], world units, negative inside, nodes linspace(-1, 1, N) along x, y, z. agrees: float32 [V, H,
    W], 0..1, pixel by pixel how well a view agrees with the body: along the rays of those that do not, it has no say.
    """

    sdf: Float32[np.ndarray, "N N N"]
    agrees: Float32[np.ndarray, "V H W"]

    @property
    def undisputed(self) -> bool:
        """Whether no view contradicts in more than some pixels: then there is no way to go that takes coarse levels."""
        return float((self.agrees < 0.5).mean((1, 2)).max()) < DISPUTED


def prior_of(
    sdf: Float32[np.ndarray, "N N N"],
    mask: Float[np.ndarray, "V H W"],
    normal: Float[np.ndarray, "V H W 3"],
    seen: tuple[Float[np.ndarray, "V H W"], Float[np.ndarray, "V H W 3"]],
) -> Prior:
    """The body as the prior of a fit to views with these masks and normals. seen: its own outlines and normals to the
    same cameras. Those of the views are the body's, unless somebody painted on them or had the generated normals
    decoded: there the views count, and not the body."""
    return Prior(sdf, agreement(mask, normal, *seen))


class Held(NamedTuple):
    """A prior on the nodes of a block. field: its values, cells, cut at FAR. weight: 0..1, how much it counts."""

    field: Float[Tensor, "Y X Z"]
    weight: Float[Tensor, "Y X Z"]


def agreement(
    mask: Float[np.ndarray, "V H W"],
    normal: Float[np.ndarray, "V H W 3"],
    body_mask: Float[np.ndarray, "V H W"],
    body_normal: Float[np.ndarray, "V H W 3"],
) -> Float32[np.ndarray, "V H W"]:
    """`Prior.agrees` of views and what a body looks like to their cameras; normals (0, 0, 0) say nothing."""
    cosine = np.einsum("vhwc,vhwc->vhw", normal, body_normal)
    said = np.linalg.norm(normal, axis=-1) * np.linalg.norm(body_normal, axis=-1) > 0.5
    angle = np.where(said, np.degrees(np.arccos(cosine.clip(-1, 1))), 0.0)
    apart = np.maximum(_ramp(_soft(angle), APART_DEG), _ramp(np.abs(_soft(mask - body_mask)), OUTSIDE))
    return (1 - apart).astype(np.float32)


def on_block(prior: Prior, views: list[ViewTargets], block: Block, half_width: float) -> Held:
    """The prior on the nodes of a block, which every view can take away. half_width: of the views' pictures (world
    units)."""
    size, nodes = prior.sdf.shape[0], block.nodes
    lines = [np.arange(a, a + n) * ((size - 1) / (nodes - 1)) for a, n in zip(block.low, block.shape, strict=True)]
    y, x, z = np.meshgrid(*lines, indexing="ij")
    values = map_coordinates(prior.sdf, [x, y, z], order=1, mode="nearest") * ((nodes - 1) / 2)
    weight = torch.ones(block.shape)
    for view, agrees in zip(views, prior.agrees, strict=True):
        if (agrees < 1).any():
            rows, columns, known = box_filters(view.rays, half_width, *agrees.shape)
            picture = rows @ torch.from_numpy(agrees) @ columns.T
            picture = torch.where(known, picture, 1.0)
            weight = torch.minimum(weight, rays_to_block(picture, view, block))
    return Held(torch.from_numpy(values.astype(np.float32)).clamp(-FAR, FAR), weight)


def _soft(pictures: Float[np.ndarray, "V H W"]) -> Float[np.ndarray, "V H W"]:
    soft: np.ndarray = gaussian_filter(pictures, (0, BLUR_PX, BLUR_PX))
    return soft


def _ramp(values: np.ndarray, between: tuple[float, float]) -> np.ndarray:
    ramp: np.ndarray = ((values - between[0]) / (between[1] - between[0])).clip(0, 1)
    return ramp

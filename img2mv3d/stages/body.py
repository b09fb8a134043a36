"""Subject -> Body: one closed solid that has the photo's outline, and what the network knows of its unseen side.

In: the framed photo, the shape network, a wanted extent in depth or none. Out: `Body`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from img2mv3d.errors import NothingFoundError
from img2mv3d.geometry.columns import CROP, SIZE, cropped, network_input
from img2mv3d.geometry.solid import body_field
from img2mv3d.nets.shape import PITCH_UNIT_DEG, ShapeNet, likely_ratio, ratio_bins
from img2mv3d.values import Body

GRID = 128  # nodes of the field a side
KNOWN = 0.25  # covered share of a column from which on its depth counts


@torch.no_grad()
def predict_body(image: UInt8[np.ndarray, "256 256 4"], *, net: ShapeNet, depth_ratio: float | None = None) -> Body:
    """The body of the framed photo (straight alpha), mean over the photo and its mirror image.

    depth_ratio: extent in depth over the outline's long side; None: the most likely one. Raises NothingFoundError when
    the photo shows nothing.
    """
    color, alpha = cropped(image)
    if not (alpha >= 0.5).any():
        raise NothingFoundError("the photo's cut-out is empty; give another one with --mask")
    both = [network_input(color, alpha), network_input(color[:, ::-1], alpha[:, ::-1])]
    picture, outline = (torch.from_numpy(np.stack(parts)) for parts in zip(*both, strict=True))
    features = net.encode(picture, outline)
    logits, pitch = (part.mean(0) for part in net.distribution(features))
    chance, bins = logits.softmax(0), ratio_bins(len(logits))
    ratio = depth_ratio or float(likely_ratio(logits[None]))
    rows, columns = np.nonzero(alpha >= 0.5)
    long_side = (max(np.ptp(rows), np.ptp(columns)) + 1) * 2 * CROP / SIZE
    depth = ratio * long_side
    told = torch.full((2,), ratio)
    maps = net.decode(features, picture, outline, told, torch.ones(2, dtype=torch.bool))
    assert maps.fine is not None and maps.far is not None and maps.normal is not None
    layers = maps.fine
    middle = _merged(layers.middle) * depth
    half = np.exp(_merged(layers.log_half)) * depth
    solid = torch.sigmoid(torch.from_numpy(_merged(layers.fill))).movedim(0, -1).numpy()
    cover = alpha.reshape(SIZE // 2, 2, SIZE // 2, 2).mean((1, 3)) >= KNOWN
    full = image[..., 3].astype(np.float32) / 255
    normal = maps.normal * torch.tensor([[1.0, 1, 1], [-1, 1, 1]])[:, :, None, None]
    return Body(
        field=body_field(middle - half, middle + half, cover, solid, full, GRID, CROP),
        far=_merged(maps.far).transpose(1, 2, 0).clip(0, 1),
        normal=_merged(normal).transpose(1, 2, 0),
        depth_ratio=float(ratio),
        ratios=torch.stack([bins, chance], dim=1).numpy(),
        pitch_deg=float(pitch[0]) * PITCH_UNIT_DEG,
        pitch_spread_deg=float(pitch[1].exp()) * PITCH_UNIT_DEG,
        told=depth_ratio is not None,
    )


def _merged(maps: Float[Tensor, "2 ..."]) -> Float32[np.ndarray, "..."]:
    """The mean of a map and of its mirror image's, turned back."""
    return ((maps[0] + maps[1].flip(-1)) / 2).numpy()

"""Arrays of another generator's latents and the photo that it was given -> Latents.

In: scaled latents, a `Subject`, a rig. Out: `Latents`, and how large the photo must be framed to belong to them.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
import torch
from jaxtyping import Float32

from img2mv3d.conventions import FRONT, IMAGE_SIZE, LATENT_FACTOR
from img2mv3d.errors import LatentsError
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.masks import view_masks
from img2mv3d.nets.vae import DecodesLatents
from img2mv3d.values import Latents, Subject

SMALLEST_PX = 16  # of 256: a front silhouette that is smaller is none


@torch.no_grad()
def first_size(
    color: Float32[np.ndarray, "V 4 h w"],
    normal: Float32[np.ndarray, "V 4 h w"] | None,
    *,
    decoder: DecodesLatents,
    name: str,
) -> int:
    """The long side of the first view's object, px of 256. Raises LatentsError, with the file's name, where there is
    none."""
    like = next(decoder.parameters())
    parts = (color, color if normal is None else normal)
    maps = (decoder.decode(torch.from_numpy(part[[FRONT]]).to(like)).float().cpu().clamp(0, 1) for part in parts)
    seen, coded = (m.movedim(1, -1).contiguous().numpy() for m in maps)
    rows, columns = np.nonzero(view_masks(seen, coded, None)[FRONT] >= 0.5)
    longest = int(max(np.ptp(rows), np.ptp(columns))) + 1 if rows.size else 0
    found: int = round(IMAGE_SIZE * longest / seen.shape[1])
    if found < SMALLEST_PX:
        raise LatentsError(
            f"{name}: its first view shows no object; is it scaled otherwise, or of another autoencoder?"
        )
    return min(found, IMAGE_SIZE - 2)


def adopted(
    color: Float32[np.ndarray, "V 4 h w"],
    normal: Float32[np.ndarray, "V 4 h w"] | None,
    subject: Subject,
    *,
    rig: Rig,
    vae: Mapping[str, str],
    unscaled: bool,
) -> Latents:
    """The latents with the framed photo as their front, at their own size. vae: the space that they are decoded in.
    unscaled: as they were in the file; told for the record."""
    side, front = color.shape[2] * LATENT_FACTOR, subject.image
    if side != IMAGE_SIZE:
        front = cv2.resize(front, (side, side), interpolation=cv2.INTER_AREA if side < IMAGE_SIZE else cv2.INTER_CUBIC)
    settings = {"origin": "a bare tensor", "unscaled": unscaled}
    framing_px = subject.framing.framing_px
    return Latents(color, normal, front, rig, framing_px, dict(vae), "another generator", 0, settings)

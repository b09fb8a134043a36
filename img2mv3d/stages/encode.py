"""Views -> Latents: pictures of any generator enter the latent space that the decoders share.

In: a folder of views, read; the bundle's encoder. Out: `Latents` with the front picture inside of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from img2mv3d.conventions import FRONT, LATENT_FACTOR
from img2mv3d.errors import ViewsError
from img2mv3d.files.contents import encode_normals, to_bytes
from img2mv3d.nets.vae import EncodesPictures
from img2mv3d.values import Latents, Views


@torch.no_grad()
def encode(views: Views, *, encoder: EncodesPictures, vae: Mapping[str, str], bundle: str) -> Latents:
    """Scaled latents of the colours and, where the views have them, of the coded normals, both over white.

    vae: name and digest of the encoder's latent space. The front picture with its mask as alpha becomes `front`. Raises
    ViewsError when the side is no multiple of LATENT_FACTOR px or shorter than four latent cells.
    """
    side = views.color.shape[1]
    if side % LATENT_FACTOR or side < 4 * LATENT_FACTOR:
        raise ViewsError(
            f"views of {side} x {side} px: the side must be a multiple of {LATENT_FACTOR} px and at least "
            f"{4 * LATENT_FACTOR}; resize them to 256"
        )
    device = next(encoder.parameters()).device
    cover = views.mask[..., None]
    color = views.color * cover + (1 - cover)
    normal = None
    if views.normal is not None:
        normal = _encode(encode_normals(views.normal, views.mask).astype(np.float32) / 255, encoder, device)
    front = np.concatenate([to_bytes(views.color[FRONT]), to_bytes(views.mask[FRONT])[..., None]], axis=-1)
    return Latents(
        color=_encode(color, encoder, device),
        normal=normal,
        front=front,
        rig=views.rig,
        framing_px=_long_side(views.mask[FRONT]),
        vae=dict(vae),
        bundle=bundle,
        seed=0,
        settings={"origin": f"encoded from pictures ({views.origin})"},
    )


def _encode(images: np.ndarray, encoder: EncodesPictures, device: torch.device) -> np.ndarray:
    stack = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)).to(device)
    return encoder.encode(stack).float().cpu().numpy()


def _long_side(mask: np.ndarray) -> int:
    """The silhouette's long side in px of 256; 256 when there is no silhouette."""
    rows, columns = np.nonzero(mask >= 0.5)
    if rows.size == 0:
        return 256
    longest = int(max(np.ptp(rows), np.ptp(columns))) + 1
    return round(256 * longest / len(mask))

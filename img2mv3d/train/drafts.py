"""Drafts of rendered sets: what `run` would hand to the denoiser, beside what the views truly look like.

In: DATA of `data render`, a bundle's shape network and encoder. Out: `DATA/drafts/NAME.npz`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from img2mv3d.conventions import FRONT, IMAGE_SIZE
from img2mv3d.data.renders import RenderSet, write_atomically
from img2mv3d.errors import InputError, NothingFoundError
from img2mv3d.files.contents import read_npz
from img2mv3d.geometry.cameras import SIX_VIEWS
from img2mv3d.geometry.framing import Framing
from img2mv3d.mesh.draft import draft
from img2mv3d.mesh.likenesses import likenesses
from img2mv3d.mesh.photographs import photo_source
from img2mv3d.nets.drafted import draft_maps
from img2mv3d.nets.shape import ShapeNet
from img2mv3d.nets.vae import Encoder

REPORT_EVERY = 100


def drafts_path(data: Path, name: str) -> Path:
    """Where the draft of a set lies, or will."""
    return data / "drafts" / f"{name}.npz"


def load_draft(data: Path, name: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(latents float16 [2, V, 4, h, w], colours first as in `pool.Item`; maps float16 [V, 3, h, w]) of a set, if it has
    a draft.
    """
    path = drafts_path(data, name)
    if not path.exists():
        return None
    arrays = read_npz(path, InputError, required=("latents", "maps"))
    return torch.from_numpy(arrays["latents"]), torch.from_numpy(arrays["maps"])


@torch.no_grad()
def draft_missing(data: Path, shape: ShapeNet, encoder: Encoder, report: Callable[[str], None]) -> int:
    """Write the draft of every set that has none, from its photo alone; the number written. Sets of toy data, whose
    pictures are too small, get none."""
    # The stage is the product's own: what is learnt from is what the denoiser will meet.
    from img2mv3d.stages.body import predict_body
    from img2mv3d.stages.generate import encoded

    sets, written = RenderSet(data), 0
    names = [name for name in sets.names() if not drafts_path(data, name).exists()]
    (data / "drafts").mkdir(exist_ok=True)
    for name in names:
        sample = sets.load(name)
        if sample.photo.shape[0] != IMAGE_SIZE:
            continue
        try:
            body = predict_body(sample.photo, net=shape)
            front = SIX_VIEWS.cameras(IMAGE_SIZE)[FRONT]
            photo = photo_source(sample.photo, Framing((1.0, 1.0), (0.0, 0.0), sample.framing_px), front)
            photo, others = likenesses(photo, body)
            alpha = sample.photo[..., 3].astype(np.float32) / 255
            views = draft(
                body.field,
                body.far,
                photo,
                alpha,
                SIX_VIEWS,
                others,
            )
        except NothingFoundError:
            continue
        normal, color = encoded(views, encoder).chunk(2)
        maps = draft_maps(*(torch.from_numpy(part) for part in (views.maps.mask, views.maps.z, views.observed)))
        arrays = {"latents": torch.stack([color, normal]), "maps": maps}
        write_atomically(drafts_path(data, name), **{k: v.numpy().astype(np.float16) for k, v in arrays.items()})
        written += 1
        if written % REPORT_EVERY == 0:
            report(f"drafted {written} of {len(names)} sets")
    return written

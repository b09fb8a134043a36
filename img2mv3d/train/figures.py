"""Held-out figures of a trained bundle, and the credits of what it learnt from: what stands in its manifest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from img2mv3d.bundles.weights import Bundle
from img2mv3d.conventions import FRONT
from img2mv3d.data.corpus import read_manifest
from img2mv3d.data.renders import RenderSet
from img2mv3d.diffusion.schedule import SCHEDULES
from img2mv3d.geometry.masks import view_masks
from img2mv3d.geometry.similarity import decibels, pixel_iou
from img2mv3d.nets.vae import PlainDecoder
from img2mv3d.train.decoder import PSNR_LEVEL, decoder_figures
from img2mv3d.train.denoiser import MultiViewNets, MultiViewTask, generate_latents
from img2mv3d.train.encoder import encoder_figures
from img2mv3d.train.pool import Item, Pool, as_float, over_white

DECIMALS = 4


def bundle_figures(
    bundle: Bundle,
    data: Path,
    *,
    count: int = 8,
    leave_out: Collection[str] = (),
    teacher: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, dict[str, float]]:
    """Figures on up to `count` held-out sets with the teacher's latents, by part; see the functions below.

    leave_out: ids of objects that do not count (twins of training objects).
    teacher: its decoder, scaled latents -> pictures in [0, 1]; its figures on the same stand under
        plain_decoder_teacher.
    """
    held = Pool(data, "val", sources=("teacher",), limit=2 * count)
    held.items = [item for item in held.items if item.name.rsplit(".", 1)[0] not in leave_out][:count]
    decoder, generator = bundle.plain_decoder(), bundle.generator()
    views = tuple(range(6))
    found = {
        "encoder": encoder_figures(bundle.encoder(), held),
        "plain_decoder": decoder_figures(decoder, held, views),
        "generated": _generated(bundle, held, decoder),
    }
    if teacher is not None:
        found["plain_decoder_teacher"] = decoder_figures(_Decoding(teacher), held, views)
    nets = MultiViewNets(generator.unet, generator.condition.tokens)
    task = MultiViewTask(data, nets, schedule=SCHEDULES[generator.schedule], encoder=bundle.encoder(), held_out=count)
    found["unet"] = task.held_out(nets)
    return {part: {k: round(v, DECIMALS) for k, v in figures.items()} for part, figures in found.items()} | {
        "on": {"sets": len(held.items)}
    }


def credits(meshes: Path, data: Path) -> str:
    """The authors of the training objects, by package and licence, as text."""
    used = {row["id"] for row in RenderSet(data).rows() if row["split"] == "train"}
    groups: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in read_manifest(meshes / "manifest.tsv"):
        if entry.id in used:
            groups[entry.source, entry.licence][entry.author or "unnamed"] += 1
    lines = []
    for (source, licence), authors in sorted(groups.items()):
        names = (f"{name} ({number})" if number > 1 else name for name, number in sorted(authors.items()))
        lines += [f"{source}, {licence}, {sum(authors.values())} objects:", f"    {', '.join(names)}", ""]
    return "\n".join(lines)


class _Decoding(torch.nn.Module):
    """A function in a decoder's place."""

    def __init__(self, decode: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.decode = decode


def _generated(bundle: Bundle, held: Pool, decoder: PlainDecoder) -> dict[str, float]:
    """PSNR in the mask and mask IoU of generated views, front apart, beside 'the photo copied to every view'."""
    rows = [_generated_one(bundle, item, decoder) for item in held.items]
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} if rows else {}


@torch.no_grad()
def _generated_one(bundle: Bundle, item: Item, decoder: PlainDecoder) -> dict[str, float]:
    nets = bundle.generator()
    encoder = bundle.encoder()
    photo = as_float(over_white(item.photo))
    encoded = replace(item, photo_latent=encoder.encode(photo[None])[0])
    model = MultiViewNets(nets.unet, nets.condition.tokens)
    normal, color = generate_latents(
        model,
        encoded,
        SCHEDULES[nets.schedule],
        steps=nets.steps,
        seed=0,
        guidance=nets.guidance,
        solver=nets.solver,
        white=nets.white,
    )
    found = [decoder.decode(x).clamp(0, 1).movedim(1, -1).numpy() for x in (color, normal)]
    alpha = item.photo[..., 3].numpy().astype(np.float32) / 255
    masks = view_masks(found[0], found[1], alpha)
    truth = item.pictures[0].numpy().astype(np.float32) / 255
    inside = item.mask.numpy()
    copied = photo.movedim(0, -1).numpy()
    figures = {}
    for name, pictures, covers in (
        ("made", found[0], masks),
        ("copied", np.stack([copied] * len(truth)), np.stack([alpha] * len(truth))),
    ):
        errors = [
            decibels(float(((p - t) ** 2)[m].mean()), PSNR_LEVEL)
            for p, t, m in zip(pictures, truth, inside, strict=True)
            if m.any()
        ]
        overlaps = [pixel_iou(c >= 0.5, m, empty=0.0) for c, m in zip(covers, inside, strict=True)]
        figures[f"{name}_psnr_mask_front"] = errors[FRONT]
        figures[f"{name}_psnr_mask_others"] = float(np.mean(errors[1:]))
        figures[f"{name}_iou_others"] = float(np.mean(overlaps[1:]))
    return figures

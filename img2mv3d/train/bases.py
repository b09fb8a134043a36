"""Cross-view weights on a published decoder: Stable Video Diffusion's or Stable Diffusion's, brought by the user.

In: a base of `decoders.BASES`, the bundle whose latents are decoded, rendered sets. Out: a bundle folder with
crossview_decoder alone and `base` in its manifest, as `weights add` takes it. Why here: such a base comes trained; it
is learnt from gently, and nothing stands below it that would have to be trained first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from img2mv3d.bundles.decoders import Decoder, stock
from img2mv3d.bundles.weights import Bundle, Checkpoint, write_bundle
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.train import crossview
from img2mv3d.train.corruption import imagination
from img2mv3d.train.notes import LICENCE, bundle_notes
from img2mv3d.train.variants import BEST, VARIANTS

PAINTED = (250, 999)  # steps of the noise from which a denoiser of ours paints the latents that disagree


def train_on(
    base: str,
    bundle: Bundle,
    data: Path,
    out: Path,
    minutes: float,
    *,
    variant: str = BEST,
    steps: int | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] = print,
) -> Path:
    """Train one variant on the stock decoder `base` ("svd", "sd"); the path of the bundle that comes of it, for
    `weights add`, in a folder of its own under `out`.

    bundle: whose latents will be decoded. A denoiser of ours paints part of the latents that are learnt from; the
    published one does not (a pass of it costs more than a hundred steps), the others disagree all the same. minutes:
    wall clock; steps, instead, when given. device: see `crossview.train`. Resumes from that folder. Raises WeightsError
    when the base is not here.
    """
    found, folder = stock(base, bundle), out / f"{variant}-{base}"
    paints = None if isinstance(bundle, Checkpoint) else bundle.generator()
    numbers = dict(found.config)
    net = crossview.train(
        data,
        None,
        folder,
        minutes,
        variant=variant,
        steps=steps,
        seed=seed,
        numbers=numbers,
        start=start_weights(found, VARIANTS[variant].net, seed),
        imagine=imagination(paints, seed, PAINTED),
        rates=crossview.PUBLISHED_RATES,
        device=device,
        report=report,
    )
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in {**numbers, **VARIANTS[variant].net}.items()}
    command = f"img2mv3d train decoder --bundle {bundle.name} --base {base} --variant {variant} --seed {seed}"
    told = {k: v for k, v in bundle_notes(data, {"command": command}).items() if k != "generate"}
    told |= {"framing_px": bundle.framing_px, "latent_space": found.space}
    told |= {"licence": f"{found.licence} (the base), {LICENCE} (what was learnt)"}
    told |= {"name": f"crossview-{base}", "base": base, "base_digest": found.digest}
    write_bundle(folder / "bundle", {"crossview_decoder": (net, config)}, told)
    return folder / "bundle"


def start_weights(base: Decoder, more: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Weights of a network that decodes as the stock decoder does, bit for bit, as long as its new parts add nothing
    (they do at once where `more`, the variant's numbers, says so). seed: of the new parts."""
    torch.manual_seed(seed)
    net = CrossViewDecoder(CrossViewConfig.from_dict({**base.config, **more}))
    net.base.load_state_dict(base.make().base.state_dict())
    return net.state_dict()

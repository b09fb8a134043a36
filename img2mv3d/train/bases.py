"""Cross-view training on a published decoder, Stable Video Diffusion's or Stable Diffusion's, imported by the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from img2mv3d.bundles.decoders import Decoder, stock
from img2mv3d.bundles.weights import Bundle, Checkpoint, write_bundle
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.train import crossview_decoder, paper_recipe
from img2mv3d.train.decoder import resampler
from img2mv3d.train.notes import LICENCE, bundle_notes
from img2mv3d.train.process_group import joined, left

RESAMPLED = (250, 999)  # steps of the noise from which a denoiser of ours resamples the latents that disagree


def train_on(
    base: str,
    bundle: Bundle,
    data: Path,
    out: Path,
    minutes: float,
    *,
    steps: int | None = None,
    seed: int = 0,
    recipe: str | None = None,
    device: torch.device | str = "cpu",
    report: Callable[[str], None] = print,
) -> Path | None:
    """Train on the stock decoder `base` ("svd", "sd"); the path of the bundle that comes of it, for
    `weights add`, in a folder of its own under `out`. None in a process that is not the first of its group.

    bundle: whose latents will be decoded. A denoiser of ours resamples part of the latents that are learnt from; the
        published one does not (a pass of it costs more than a hundred steps), the others disagree all the same.
    minutes: wall clock; steps, instead, when given.
    recipe: "paper": by `paper_recipe`, with the paper's numbers (its steps instead of minutes); on "svd" alone.
    device: see `crossview_decoder.train`.

    Resumes from that folder. Raises WeightsError when the base is not here.
    """
    found, folder = stock(base, bundle), out / f"crossview-{base}"
    numbers = dict(found.config)
    if recipe == "paper":
        numbers, folder = {**numbers, **paper_recipe.NUMBERS}, out / f"crossview-{base}-paper"
        options = {"task": paper_recipe.PaperTask, "rates": paper_recipe.RATES, "full": True}
        steps = steps or paper_recipe.STEPS
    else:
        generator = None if isinstance(bundle, Checkpoint) else bundle.generator()
        options = {"resample": resampler(generator, seed, RESAMPLED), "rates": crossview_decoder.PUBLISHED_RATES}
    net = crossview_decoder.train(
        data,
        None,
        folder,
        minutes,
        steps=steps,
        seed=seed,
        numbers=numbers,
        start=start_weights(found, seed, numbers),
        device=device,
        report=report,
        **options,
    )
    if not joined().first:
        left()
        return None
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in numbers.items()}
    command = f"img2mv3d train decoder --bundle {bundle.name} --base {base} --seed {seed}"
    command += f" --recipe {recipe}" if recipe else ""
    notes = {k: v for k, v in bundle_notes(data, {"command": command}).items() if k != "generate"}
    notes |= {"framing_px": bundle.framing_px, "latent_space": found.space}
    notes |= {"licence": f"{found.licence} (the base), {LICENCE} (what was learnt)"}
    notes |= {"name": f"crossview-{base}", "base": base, "base_digest": found.digest}
    write_bundle(folder / "bundle", {"crossview_decoder": (net, config)}, notes)
    left()
    return folder / "bundle"


def start_weights(base: Decoder, seed: int = 0, numbers: Mapping[str, Any] | None = None) -> dict[str, Tensor]:
    """Weights of a network that decodes as the stock decoder does, bit for bit. seed: of the new parts. numbers: of the
    network; None: those of the base."""
    torch.manual_seed(seed)
    net = CrossViewDecoder(CrossViewConfig.from_dict(numbers or base.config))
    net.base.load_state_dict(base.make().base.state_dict())
    return net.state_dict()

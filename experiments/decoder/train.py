"""`python -m experiments.decoder.train VARIANT DATA --start mini --steps 1600 -o runs`: an ablation on a plain decoder.

runs/VARIANT holds its weights and variant.json; `experiments.decoder.compare` takes the folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from experiments.decoder.variants import VARIANTS
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
from img2mv3d.train import crossview_decoder
from img2mv3d.train.decoder import resampler
from img2mv3d.train.paper_recipe import PaperTask

NOTES, WEIGHTS = "variant.json", "ema.safetensors"


def train(
    variant: str, data: Path, start: str, out: Path, steps: int, seed: int = 0, full: bool = False, sets: int = 400
) -> Path:
    """Train one variant; its folder.

    start: a bundle, whose plain decoder it stands on and whose denoiser resamples part of the latents, if the variant
        learns from such.
    full: whole pictures from the first step on.
    sets: kept in memory at most (2.5 MB each).
    """
    chosen, bundle, folder = VARIANTS[variant], load_bundle(start), out / variant
    config = bundle.manifest["parts"]["plain_decoder"]["config"]
    options = {"steps": steps, "seed": seed, "full": full, "network": chosen.network, "task": chosen.task, "sets": sets}
    options |= {"held_out": 1}  # to see that it goes on; `compare` has the figures
    generator = None if issubclass(chosen.task, PaperTask) else bundle.generator()
    resample, plain = resampler(generator, seed, (250, 999)), bundle.plain_decoder().state_dict()
    crossview_decoder.train(data, plain, folder, 1e6, numbers=config, resample=resample, **options)
    notes = {"variant": variant, "config": config, "start": bundle.digest, "steps": steps, "seed": seed, "sets": sets}
    (folder / NOTES).write_text(json.dumps(notes, indent=1))
    return folder


def load(folder: Path) -> CrossViewDecoder:
    """The network that `train` left in a folder."""
    notes = json.loads((folder / NOTES).read_text())
    net = VARIANTS[notes["variant"]].network(CrossViewConfig.from_dict(notes["config"]))
    net.load_state_dict(load_file(folder / WEIGHTS))
    return net.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """The folder of the variant on stdout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant", choices=list(VARIANTS))
    parser.add_argument("data", type=Path)
    parser.add_argument("--start", default="mini")
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-images", action="store_true")
    parser.add_argument("--sets", type=int, default=400, help="kept in memory at most")
    parser.add_argument("-o", "--out", type=Path, default=Path("runs"))
    options = parser.parse_args(arguments)
    values = (options.variant, options.data, options.start, options.out, options.steps, options.seed)
    print(train(*values, options.full_images, options.sets))


if __name__ == "__main__":
    main()

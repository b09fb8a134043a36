"""Mixtures of weights: `python -m experiments.shape.mixed NEW SHARE -o BUNDLE`.

BUNDLE is a copy of `mini` whose shape network is SHARE parts of the weights in NEW (a folder of `train shape`, or its
safetensors) and the rest its own. A mean of weights from one start is often better than both ends. What only one of
both has, such as a head that the other lacks, is taken as it is.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from img2mv3d.bundles.manifests import read_manifest, to_toml
from img2mv3d.bundles.parts import probe
from img2mv3d.bundles.weights import load_bundle
from img2mv3d.files.durable import digest_file

PLANES = "plane.2.bias"  # one for each plane that a network says something of


def mixed(new: Path, share: float, bundle: Path, start: Path) -> None:
    """Write `bundle`: `start`, its shape network moved by `share` towards that in `new`."""
    shutil.copytree(start, bundle, dirs_exist_ok=True)
    manifest = read_manifest(start)
    part = manifest["parts"]["shape"]
    former = load_file(start / part["file"])
    latter = load_file(new if new.is_file() else next(new.rglob(part["file"])))
    both = {n: value.astype(np.float32) for n, value in latter.items()}
    wide = {n: a.astype(np.float32) for n, a in former.items()}
    both = wide | both | {n: (1 - share) * a + share * both[n] for n, a in wide.items() if n in both}
    kinds = {n: former[n].dtype if n in former else np.dtype(np.float16) for n in both}
    part["config"]["planes"] = len(both[PLANES]) if PLANES in both else 0
    part["parameters"] = sum(value.size for value in both.values())
    with safe_open(start / part["file"], "numpy") as file:
        notes = file.metadata()
    save_file({name: value.astype(kinds[name]) for name, value in both.items()}, bundle / part["file"], notes)
    part["sha256"], part["bytes"] = digest_file(bundle / part["file"]), (bundle / part["file"]).stat().st_size
    part.pop("probe", None)
    (bundle / "manifest.toml").write_text(to_toml(manifest), encoding="utf-8")
    part["probe"] = probe("shape", load_bundle(bundle).shape())
    (bundle / "manifest.toml").write_text(to_toml(manifest), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("new", type=Path)
    parser.add_argument("share", type=float)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=Path("weights/mini"))
    asked = parser.parse_args()
    mixed(asked.new, asked.share, asked.out, asked.start)

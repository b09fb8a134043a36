"""A larger shape network that begins where a smaller one ended: `python -m experiments.shape.grown -o BUNDLE`.

BUNDLE is a copy of `mini` whose shape network has the sizes of `ShapeConfig()`. It gives the same maps: new channels
are normalised in groups of their own and nothing old looks at them, new layers of attention add nothing. So groups must
keep their size in channels.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from torch import Tensor

from img2mv3d.bundles.weights import load_bundle, write_bundle
from img2mv3d.nets.shape import ShapeConfig, ShapeNet

FINER = ("up16.enter.conv.weight", "up32.enter.conv.weight", "up64.enter.conv.weight")  # joined with finer features


def grown(small: ShapeNet, config: ShapeConfig) -> ShapeNet:
    """A network of `config` with the maps of `small`."""
    torch.manual_seed(0)
    large = ShapeNet(config)
    former, latter = small.state_dict(), large.state_dict()
    for name, value in latter.items():
        if name not in former:
            # What a new layer of attention adds is nothing yet.
            value.mul_(0.0 if name.endswith(("out.weight", "out.bias", "mlp.2.weight", "mlp.2.bias")) else 1.0)
        elif value.shape == former[name].shape:
            value.copy_(former[name])
        else:
            entering = _entering(small, large, name) if name in FINER else 0
            _fill(value, former[name], entering)
    large.load_state_dict(latter)
    return large


def _entering(small: ShapeNet, large: ShapeNet, name: str) -> int:
    """How many channels of an `enter` came from the coarser level in `small`; the finer features follow them."""
    place = FINER.index(name)
    return small.config.widths[place] if large.config.widths[place] != small.config.widths[place] else 0


def _fill(value: Tensor, former: Tensor, entering: int) -> None:
    """Old rows look at old channels as before, and at no new ones. New rows stay as they are."""
    rows = former.shape[0]
    if value.ndim < 2:
        value[:rows] = former
        return
    value[:rows] = 0
    new = value.shape[1] - former.shape[1]
    first = entering or former.shape[1]
    value[:rows, :first] = former[:, :first]
    value[:rows, first + new :] = former[:, first:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=Path("weights/mini"))
    asked = parser.parse_args()
    shutil.copytree(asked.start, asked.out, dirs_exist_ok=True)
    larger = grown(load_bundle(asked.start).shape(), ShapeConfig())
    write_bundle(asked.out, {"shape": (larger, larger.config.to_dict())}, {"name": "mini"})

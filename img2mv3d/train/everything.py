"""All networks of a bundle by one command and one budget, and the bundle that comes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from img2mv3d.bundles import weights
from img2mv3d.data.renders import RenderSet
from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
from img2mv3d.nets.vae import Encoder, PlainDecoder
from img2mv3d.train import crossview, decoder, encoder, multiview
from img2mv3d.train.multiview import UNET
from img2mv3d.train.toy import make_toy

SHARES = {"encoder": 0.1, "decoder": 0.3, "crossview": 0.2, "multiview": 0.4}  # of the minutes
GENERATE = {
    **{"schedule": "mini", "steps": 2, "solver": "dpmpp", "guidance": 1.0, "eta": 0.0, "windows": True},
    "revolution_prior": 0.75,  # chosen for networks of this size, see experiments/reports/mini.md
}
FRAMING_PX = 144
LICENCE = "CC-BY-SA-4.0"  # what weights that learnt from share-alike objects carry; the code stays MIT

ENCODER = {"channels": [64, 128], "blocks": [2, 4]}
DECODER = {"channels": [32, 32, 64, 128], "layers_per_block": 1, "groups": 8, "scale": 1.0, "post_quant": False}
TOKENS = TokenConfig()

TOY_ENCODER = {"channels": [8, 8], "blocks": [1, 1]}
TOY_DECODER = {"channels": [32, 32, 32, 32], "layers_per_block": 1, "groups": 8, "scale": 1.0, "post_quant": False}
TOY_UNET = UNetConfig((8, 16), ("off", "views", "views"), (1, 1), token_width=8, groups=4)
TOY_TOKENS = TokenConfig((8, 8, 8, 8), 8, 4, 4)


def train_all(
    data: Path, out: Path, minutes: float, *, toy: bool = False, seed: int = 0, report: Callable[[str], None] = print
) -> Path:
    """Train everything within the minutes (wall clock) and write the bundle `out`/bundle; its path is returned.

    data: what `data render` made, with teacher's latents of some sets (`train encoder` tells when there are none).
    Each training resumes from its own folder under `out`. toy: make toy data in `data` and train tiny networks on it.
    """
    data, out = Path(data), Path(out)
    if toy:
        make_toy(data)
    torch.manual_seed(seed)
    sizes = (TOY_ENCODER, TOY_DECODER, TOY_UNET, TOY_TOKENS) if toy else (ENCODER, DECODER, UNET, TOKENS)
    encoder_numbers, decoder_numbers, unet_config, token_config = sizes
    told = {"seed": seed, "report": report}
    budget = {name: minutes * share for name, share in SHARES.items()}

    small = encoder.train(data, out / "encoder", budget["encoder"], net=Encoder(**_tuples(encoder_numbers)), **told)
    report(f"encoded {encoder.encode_missing(data, small)} sets that had no latents")
    plain_net = PlainDecoder(**_tuples(decoder_numbers))
    plain = decoder.train(data, out / "decoder", budget["decoder"], net=plain_net, **told)
    numbers = _tuples(decoder_numbers)
    across = crossview.train(data, plain.state_dict(), out / "crossview", budget["crossview"], numbers=numbers, **told)
    views_net = multiview.MultiViewNets(MultiViewUNet(unet_config), TokenEncoder(token_config))
    views = multiview.train(
        data, out / "multiview", budget["multiview"], net=views_net, decoder=plain, encoder=small, **told
    )

    parts = {
        "encoder": (small, encoder_numbers),
        "plain_decoder": (plain, decoder_numbers),
        "crossview_decoder": (across, decoder_numbers),
        "tokens": (views.tokens, token_config.to_dict()),
        "unet": (views.unet, unet_config.to_dict()),
    }
    command = f"img2mv3d train all --minutes {minutes:g} --seed {seed}" + (" --toy" if toy else "")
    manifest = bundle_notes(data, {"command": command, "minutes": minutes})
    weights.write_bundle(out / "bundle", parts, {"name": "toy" if toy else "trained", **manifest})
    return out / "bundle"


def bundle_notes(data: Path, training: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of every bundle that is trained here. training: commands and hours, plain values."""
    rows = RenderSet(Path(data)).rows()
    index = "\n".join(sorted("\t".join(row.values()) for row in rows))
    licences = sorted({row["licence"] for row in rows if row["split"] == "train"})
    return {
        "licence": LICENCE,
        "framing_px": FRAMING_PX,
        "latent_space": weights.LATENT_SPACE,
        "generate": GENERATE,
        "data": {
            "digest": hashlib.sha256(index.encode()).hexdigest(),
            "sets": len(rows),
            "objects": len({row["id"] for row in rows}),
            "held_out_objects": len({row["id"] for row in rows if row["split"] == "val"}),
            "licences": licences,
        },
        "training": dict(training),
    }


def _tuples(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's numbers as a constructor wants them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()}

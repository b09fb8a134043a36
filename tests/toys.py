"""A bundle of tiny untrained networks: every stage runs in a moment; the pictures are noise, the flow is real."""

from __future__ import annotations

from pathlib import Path

import torch

from img2mv3d.bundles.parts import Part
from img2mv3d.bundles.weights import Bundle, write_bundle

CHANNELS = (32, 32, 32, 32)  # widths of the toy decoders; the stock classes want multiples of 32
UNET = {
    "channels": [8, 16],
    "reach": ["off", "rows", "views"],
    "heads": [1, 1],
    "token_width": 8,
    "groups": 4,
    "coordinates": True,
}
TOKENS = {"channels": [8, 8, 8, 8], "width": 8, "features": 4, "groups": 4}
DECODER = {"channels": list(CHANNELS), "groups": 8}
GENERATE = {"schedule": "mini", "steps": 2, "solver": "dpmpp", "guidance": 1.0, "eta": 0.0}


def toy_bundle(folder: Path, seed: int = 0) -> Bundle:
    """Write a bundle with all parts into `folder` and load it; equal seeds give equal files. 256 px."""
    from img2mv3d.nets.crossview import CrossViewConfig, CrossViewDecoder
    from img2mv3d.nets.multiview import MultiViewUNet, UNetConfig
    from img2mv3d.nets.tokens import TokenConfig, TokenEncoder
    from img2mv3d.nets.vae import Encoder, PlainDecoder

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = {"channels": [8, 8], "blocks": [1, 1]}
        parts = {
            "encoder": Part(Encoder((8, 8), (1, 1)), encoder),
            "plain_decoder": Part(PlainDecoder(CHANNELS, groups=8), DECODER),
            "crossview_decoder": Part(CrossViewDecoder(CrossViewConfig(CHANNELS, groups=8)), DECODER),
            "tokens": Part(TokenEncoder(TokenConfig.from_dict(TOKENS)), TOKENS),
            "unet": Part(MultiViewUNet(UNetConfig.from_dict(UNET)), UNET),
        }
        torch.nn.init.normal_(
            parts["unet"].module.conv_out.weight, std=0.1
        )  # zero before training: it would say nothing
    manifest = {"name": "toy", "framing_px": 144, "latent_space": "sd-1.x", "generate": GENERATE}
    return write_bundle(folder, parts, manifest)

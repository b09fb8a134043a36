"""Checkpoints as the public ones are laid out: a tiny one with recorded numbers, and files of full size without any."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch

from tests.recipes import recorded_unet

GOLDEN = Path(__file__).parent / "golden"
Shapes = dict[str, tuple[int, ...]]
LATTICE = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
SD_VAE = {
    **LATTICE,
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "scaling_factor": 0.18215,
}
SVD_VAE = {**SD_VAE, "_class_name": "AutoencoderKLTemporalDecoder", "force_upcast": True}
WONDER3D = {
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cd_attention_last": False,
    "cd_attention_mid": True,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlockMV2D"] * 3 + ["DownBlock2D"],
    "in_channels": 8,
    "joint_attention": False,
    "joint_attention_twice": True,
    "layers_per_block": 2,
    "multiview_attention": True,
    "norm_num_groups": 32,
    "num_views": 6,
    "out_channels": 4,
    "projection_class_embeddings_input_dim": 10,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlockMV2D"] * 3,
}
VIT_L = {
    "hidden_act": "quick_gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
    "projection_dim": 768,
}
CHANNELS = (32, 32, 32, 64)  # widths of the tiny autoencoders
WEIGHTS = "diffusion_pytorch_model.safetensors"
POSITIONS = "vision_model.embeddings.position_ids"  # a buffer that files of 2023 have


def tiny_checkpoint(folder: Path, suffix: str = ".bin") -> Path:
    """The recorded checkpoint (golden/pipeline) with its UNet's weights drawn again, into `folder`, which is new."""
    shutil.copytree(GOLDEN / "pipeline" / "checkpoint", folder)
    config = json.loads((folder / "unet" / "config.json").read_text())
    tensors = recorded_unet(config, 3001, 1.0)[1]
    if suffix == ".bin":
        torch.save(tensors, folder / "unet" / "diffusion_pytorch_model.bin")
    else:
        from safetensors.torch import save_file

        save_file(tensors, folder / "unet" / "diffusion_pytorch_model.safetensors")
    return folder


def autoencoder(folder: Path, video: bool, names: Mapping[str, str] | None = None) -> torch.nn.Module:
    """A tiny random autoencoder as diffusers saves it, SVD's or Stable Diffusion's, written into `folder`; and itself.

    names: parts of the tensors' names, and what stands in the file instead.
    """
    from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder
    from safetensors.torch import save_file

    config = {**(SVD_VAE if video else SD_VAE), "block_out_channels": list(CHANNELS)}
    if video:
        del config["norm_num_groups"]
    torch.manual_seed(1)
    known = {k: v for k, v in config.items() if k not in ("_class_name", "up_block_types" if video else "")}
    net = (AutoencoderKLTemporalDecoder if video else AutoencoderKL)(**known).eval()
    folder.mkdir(parents=True)
    tensors = net.state_dict()
    for new, old in (names or {}).items():
        tensors = {k.replace(new, old): t for k, t in tensors.items()}
    save_file({k: t.clone() for k, t in tensors.items()}, folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps(config))
    return net


def listed(name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """A list of golden/keys: name of a tensor -> (its shape, the third column)."""
    lines = gzip.decompress((GOLDEN / "keys" / f"{name}.tsv.gz").read_bytes()).decode().splitlines()[1:]
    rows = (line.split("\t") for line in lines)
    return {key: (tuple(int(n) for n in shape.split("x")), rest) for key, shape, rest in rows}


def write_hollow(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A .safetensors file (float16) of these shapes that takes no room: all numbers are a hole in the file."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


def full_size(folder: Path) -> Path:
    """Wonder3D's published folder in full size, hollow."""
    from diffusers import AutoencoderKL
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    unet = {k: s for k, (s, _) in listed("wonder3d_unet_keys").items()}
    with torch.device("meta"):
        vae = AutoencoderKL(**{k: v for k, v in SD_VAE.items() if k != "_class_name"})
        clip = CLIPVisionModelWithProjection(CLIPVisionConfig(**VIT_L))
    hollow(folder / "unet", unet, WONDER3D)
    hollow(folder / "vae", {k: tuple(t.shape) for k, t in vae.state_dict().items()}, SD_VAE)
    tower = {k: tuple(t.shape) for k, t in clip.state_dict().items()} | {POSITIONS: (1, 257)}
    hollow(folder / "image_encoder", tower, VIT_L, "model.safetensors")
    return folder


def hollow(
    place: Path, shapes: Shapes, config: Mapping[str, Any], name: str = "diffusion_pytorch_model.safetensors"
) -> Path:
    """A part's folder with its config.json and a hollow file of weights."""
    write_hollow(place / name, shapes)
    (place / "config.json").write_text(json.dumps(config))
    return place


def sd_decoder_names() -> Shapes:
    """Stable Diffusion's VAE decoder out of the list of the video decoder, whose spatial half it is."""
    video = {k: s for k, (s, _) in listed("svd_decoder_keys").items()}
    spatial = {k: s for k, s in video.items() if not any(t in k for t in ("temporal_res", "time_mixer", "time_conv"))}
    return {k.replace(".spatial_res_block", ""): s for k, s in spatial.items()}

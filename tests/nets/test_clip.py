"""What the published checkpoint's own parts see and say."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from img2mv3d.bundles.convert import load_strictly, read_table, rename
from img2mv3d.nets.clip import SdDecoder, SdEncoder, clip_pixels, cut_to_bytes

GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline"


@pytest.fixture(scope="module")
def record():
    return load_file(GOLDEN / "io.safetensors")


def part(kind, rules):
    folder = GOLDEN / "checkpoint" / "vae"
    net = kind(json.loads((folder / "config.json").read_text()))
    tensors = load_file(folder / "diffusion_pytorch_model.safetensors")
    load_strictly(net, rename(tensors, read_table("wonder3d", "names")[rules], "vae"), "vae")
    return net.eval().requires_grad_(False)


def test_the_encoder_gives_the_most_likely_latent_scaled(record):
    pixels = record["image_a.uint8_after_to_pil"].permute(2, 0, 1)[None] / 255
    latent = part(SdEncoder, "vae_encoder").encode(pixels)
    assert (latent - record["vae.condition_latents_scaled"]).abs().max() <= 1e-4


def test_the_decoder_gives_the_recorded_pictures(record):
    pictures = part(SdDecoder, "vae_decoder").decode(record["g1_eta0.latents_after_step"][-1])
    assert (pictures.clamp(0, 1) - record["g1_eta0.images"]).abs().max() <= 1e-4


def test_bytes_are_cut_not_rounded(record):
    photo = torch.cat([record["image_a"], torch.ones(1, 32, 32)])
    cut = cut_to_bytes(photo)
    assert np.array_equal(cut, record["image_a.uint8_after_to_pil"].numpy())
    assert (cut != (record["image_a"] * 255).round().permute(1, 2, 0).numpy()).any()


def test_every_opaque_byte_survives():
    levels = torch.arange(256).reshape(1, 16, 16).expand(3, -1, -1) / 255
    assert np.array_equal(cut_to_bytes(torch.cat([levels, torch.ones(1, 16, 16)]))[..., 0].ravel(), np.arange(256))


def test_clip_sees_white_where_the_photo_is_empty():
    pixels = clip_pixels(cut_to_bytes(torch.zeros(4, 32, 32)))
    assert pixels.shape == (3, 224, 224)
    assert torch.allclose(pixels[:, 0, 0], torch.tensor([1.9303, 2.0749, 2.1459]), atol=1e-3)

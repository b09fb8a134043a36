"""Stable Diffusion's VAE in halves and CLIP's vision tower, as Wonder3D's checkpoint conditions on a photo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.autoencoders.vae import Encoder as HalfOfVae
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from img2mv3d.conventions import LATENT_CHANNELS, LATENT_SCALE
from img2mv3d.errors import WeightsError
from img2mv3d.nets.generator import PhotoCondition

CLIP_SIZE = 224
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's CLIP, as everywhere
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class SdEncoder(nn.Module):
    """Stable Diffusion's VAE encoder; the most likely latent (the mode), scaled.

    config: of its config.json.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = HalfOfVae(
            in_channels=3,
            out_channels=LATENT_CHANNELS,
            down_block_types=tuple(config["down_block_types"]),
            block_out_channels=tuple(config["block_out_channels"]),
            layers_per_block=config["layers_per_block"],
            norm_num_groups=config["norm_num_groups"],
            double_z=True,
        )
        self.quant_conv = nn.Conv2d(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)

    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 4 h w"]:
        """Pictures in [0, 1] -> scaled latents."""
        return self.quant_conv(self.encoder(images * 2 - 1))[:, :LATENT_CHANNELS] * LATENT_SCALE

    forward = encode


class SdDecoder(nn.Module):
    """Stable Diffusion's VAE decoder.

    config: of its config.json.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.decoder = Decoder(
            in_channels=LATENT_CHANNELS,
            out_channels=3,
            up_block_types=tuple(config["up_block_types"]),
            block_out_channels=tuple(config["block_out_channels"]),
            layers_per_block=config["layers_per_block"],
            norm_num_groups=config["norm_num_groups"],
        )
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1)

    def decode(self, latents: Float[Tensor, "N 4 h w"]) -> Float[Tensor, "N 3 H W"]:
        """Scaled latents -> pictures in about [0, 1], not clamped."""
        return self.decoder(self.post_quant_conv(latents / LATENT_SCALE)) / 2 + 0.5

    forward = decode


class ClipCondition(nn.Module):
    """The condition encoder of Wonder3D's checkpoint.

    The photo over white is cut (not rounded) to 8 bits before anything sees it, as the original pipeline does it.

    clip: transformers' CLIPVisionModelWithProjection.
    """

    def __init__(self, encoder: SdEncoder, clip: nn.Module) -> None:
        super().__init__()
        self.encoder, self.clip = encoder, clip

    def forward(self, photo: Float[Tensor, "4 H W"]) -> PhotoCondition:
        """One image token: the projected embedding, not normalised. See `generator.ConditionEncoder`."""
        return self.tell(cut_to_bytes(photo), photo)

    def tell(self, image: UInt8[np.ndarray, "H W 3"], like: Tensor) -> PhotoCondition:
        """What is told about 8-bit pixels, on the device and in the precision of `like`."""
        pixels = torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 255).to(like)
        latent = self.encoder.encode(pixels[None])[0]
        return PhotoCondition(latent, self.clip(pixel_values=clip_pixels(image)[None].to(like)).image_embeds)


def cut_to_bytes(photo: Float[Tensor, "4 H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """RGBA in [0, 1] over white, times 255, cut off to whole numbers.

    Kept in fp32 whatever the precision of `photo`: 8-bit values of a half-precision photo would be off by some levels.
    """
    photo = photo.float().cpu()
    white = photo[:3] * photo[3:] + (1 - photo[3:])
    return (white * 255).to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def clip_pixels(image: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "3 224 224"]:
    """CLIP's preprocessing of a square picture: PIL's bicubic resize to 224 px, in bytes, then mean and deviation.

    By hand: which of its resizes transformers picks depends on what else is installed, and they differ by some levels.
    """
    small = np.asarray(Image.fromarray(image).resize((CLIP_SIZE, CLIP_SIZE), Image.Resampling.BICUBIC), np.float32)
    return torch.from_numpy(((small / 255 - np.float32(CLIP_MEAN)) / np.float32(CLIP_STD)).transpose(2, 0, 1).copy())


def make_clip(config: Mapping[str, Any]) -> nn.Module:
    """An empty vision tower with projection.

    Raises WeightsError without the extra `wonder3d`.

    config: of its config.json.
    """
    try:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    except ImportError:
        raise WeightsError(
            "Wonder3D's checkpoint sees the photo through CLIP, which needs transformers: "
            "pip install 'img2mv3d[wonder3d]'"
        ) from None
    numbers = {k: v for k, v in config.items() if k not in ("architectures", "torch_dtype", "transformers_version")}
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**numbers))

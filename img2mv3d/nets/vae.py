"""The single-view autoencoder: pictures <-> scaled latents, one view at a time. Unscaling happens here only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from diffusers.models.unets.unet_2d_blocks import UNetMidBlock2D, UpDecoderBlock2D
from jaxtyping import Float
from torch import Tensor, channels_last, nn
from torch.nn import functional

from img2mv3d.conventions import LATENT_CHANNELS, LATENT_FACTOR, LATENT_SCALE

MINI_CHANNELS = (32, 32, 64, 128)
SD_CHANNELS = (128, 256, 512, 512)


@runtime_checkable
class DecodesLatents(Protocol):
    """A single-view decoder of whatever make: `PlainDecoder`, or Stable Diffusion's own."""

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [N, 4, h, w] -> pictures in about [0, 1], not clamped."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Its weights; the first tells device and precision."""
        ...


@runtime_checkable
class EncodesPictures(Protocol):
    """An encoder of whatever make: `Encoder`, or Stable Diffusion's own."""

    def encode(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [0, 1] over white -> scaled latents."""
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Its weights; the first tells device and precision."""
        ...


class PlainDecoder(nn.Module):
    """Scaled latents -> pictures, made of the blocks of diffusers' VAE decoders.

    The spatial half of diffusers' TemporalDecoder of the same numbers: its keys without ".spatial_res_block" are ours
    (facts: the temporal mid block makes `layers_per_block` res blocks and runs its attention between them only, so with
    one layer there is no attention at all here).

    channels: width at 256, 128, 64, 32 px (finest first, as in diffusers' configs).
    layers_per_block: one less than the res blocks of an up-block.
    groups: of every GroupNorm (32 on 32 channels would be instance norm, which costs 5 dB).
    scale: latents are divided by it (Stable Diffusion's decoder wants raw latents, ours takes scaled ones: 1).
    post_quant: a 1 x 1 convolution in front, as Stable Diffusion's autoencoder has.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = MINI_CHANNELS,
        layers_per_block: int = 1,
        groups: int = 8,
        scale: float = 1.0,
        post_quant: bool = False,
    ) -> None:
        super().__init__()
        widths = tuple(reversed(channels))
        self.scale = float(scale)
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1) if post_quant else None
        self.conv_in = nn.Conv2d(LATENT_CHANNELS, widths[0], 3, padding=1)
        self.mid_block = UNetMidBlock2D(
            in_channels=widths[0],
            temb_channels=None,
            num_layers=layers_per_block - 1,
            resnet_eps=1e-6,
            resnet_groups=groups,
            attention_head_dim=widths[0],
        )
        self.up_blocks = nn.ModuleList(
            UpDecoderBlock2D(
                in_channels=widths[max(i - 1, 0)],
                out_channels=width,
                num_layers=layers_per_block + 1,
                resnet_eps=1e-6,
                resnet_groups=groups,
                add_upsample=i + 1 < len(widths),
            )
            for i, width in enumerate(widths)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)
        nn.init.ones_(self.conv_out.bias)  # white to begin with; the rims, which see least, would stay grey for long
        self.to(memory_format=channels_last)  # up to 1.4 times faster than the default layout on CPUs with AVX-512

    @classmethod
    def stable_diffusion(cls) -> PlainDecoder:
        """The decoder of Stable Diffusion 1.x with post_quant_conv: 140 tensors, 49,490,199 parameters, random."""
        return cls(SD_CHANNELS, layers_per_block=2, groups=32, scale=LATENT_SCALE, post_quant=True)

    def decode(self, latents: Float[Tensor, "N 4 h w"]) -> Float[Tensor, "N 3 H W"]:
        """Scaled latents -> pictures in about [0, 1], not clamped, eight times the size."""
        x = (latents / self.scale).contiguous(memory_format=channels_last)
        if self.post_quant_conv is not None:
            x = self.post_quant_conv(x)
        x = self.mid_block(self.conv_in(x))
        for block in self.up_blocks:
            x = block(x)
        return self.conv_out(functional.silu(self.conv_norm_out(x))) / 2 + 0.5

    forward = decode


MARGIN = 40  # px of white around an object that can still change its latents; beyond lies `Encoder.white`


class Encoder(nn.Module):
    """Pictures -> scaled latents of Stable Diffusion's space: a small convolutional student of a bigger encoder.

    A space-to-depth stem (factor 4) leaves nothing to be done at full resolution, which is where an encoder's time
    goes: 2.0 G multiply-adds for 256 px. White is zero at the input and no layer but the last has a bias, so white
    stays zero: a crop that holds all that is not white, and some cells of it, encodes like the whole; the rest is
    `white()`.
    """

    def __init__(self, channels: tuple[int, int] = (64, 128), blocks: tuple[int, int] = (2, 4)) -> None:
        super().__init__()
        fine, coarse = channels
        self.stem = nn.Conv2d(48, fine, 3, padding=1, bias=False)
        self.fine = nn.Sequential(*(_Residual(fine) for _ in range(blocks[0])))
        self.down = nn.Conv2d(fine, coarse, 3, stride=2, padding=1, bias=False)
        self.coarse = nn.Sequential(*(_Residual(coarse) for _ in range(blocks[1])))
        self.out = nn.Conv2d(coarse, LATENT_CHANNELS, 3, padding=1)
        self.to(memory_format=channels_last)

    def encode(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 4 h w"]:
        """Pictures in [0, 1] over white, sides in multiples of 8 px -> scaled latents."""
        x = functional.pixel_unshuffle(images * 2 - 2, 4).contiguous(memory_format=channels_last)
        x = self.coarse(self.down(self.fine(self.stem(x))))
        return self.out(functional.silu(x))

    forward = encode

    def white(self) -> Float[Tensor, "4"]:
        """The latent of a white cell far from everything else."""
        return self.out.bias.detach()


@torch.no_grad()
def encode_boxed(encoder: Encoder, images: Tensor) -> Tensor:
    """The encoder's latents [N, 4, h, w] of [N, 3, H, W] over white, computed in the common box of what is not
    white."""
    n, _, height, width = images.shape
    out = encoder.white()[None, :, None, None].repeat(n, 1, height // LATENT_FACTOR, width // LATENT_FACTOR)
    drawn = (images < 1).any(dim=1).any(dim=0)
    if not drawn.any():
        return out
    spans = []
    for axis, length in ((1, height), (0, width)):
        line = drawn.any(dim=axis).nonzero()
        low = max(int(line[0]) - MARGIN, 0) // LATENT_FACTOR
        high = -(-min(int(line[-1]) + 1 + MARGIN, length) // LATENT_FACTOR)
        spans.append(slice(low, high))
    pixels = [slice(s.start * LATENT_FACTOR, s.stop * LATENT_FACTOR) for s in spans]
    out[:, :, spans[0], spans[1]] = encoder.encode(images[:, :, pixels[0], pixels[1]])
    return out


class _Residual(nn.Module):
    """x + two 3 x 3 convolutions without bias; starts as the identity, so that depth costs nothing at the beginning.

    SiLU, since a bias-free network with ReLU could only be proportional to its input; and it maps 0 to 0.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "N C h w"]) -> Float[Tensor, "N C h w"]:
        """Same shape."""
        return x + self.second(functional.silu(self.first(functional.silu(x))))

"""Stable Video Diffusion's decoder, frames = views, with two hooks in every up-block: the cross-view decoder's base."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder
from jaxtyping import Float
from torch import Tensor, channels_last, nn

from img2mv3d.conventions import LATENT_CHANNELS
from img2mv3d.errors import WeightsError
from img2mv3d.nets.vae import MINI_CHANNELS

SPATIAL = ".spatial_res_block"
Hook = Callable[[int, Tensor], Tensor]


class TemporalBase(TemporalDecoder):
    """diffusers' TemporalDecoder with its own names of weights, run block by block.

    Scaled latents are divided by `scale`.

    channels, layers_per_block, groups, scale, post_quant: as in `PlainDecoder`.
    temporal: False leaves the temporal half out (no weights of it, about a third of the time saved); the whole then
        equals `PlainDecoder` bit for bit.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = MINI_CHANNELS,
        layers_per_block: int = 1,
        groups: int = 8,
        scale: float = 1.0,
        post_quant: bool = False,
        temporal: bool = True,
    ) -> None:
        super().__init__(LATENT_CHANNELS, 3, tuple(channels), layers_per_block)
        self.scale, self.temporal = float(scale), temporal
        self.post_quant_conv = nn.Conv2d(LATENT_CHANNELS, LATENT_CHANNELS, 1) if post_quant else None
        if layers_per_block == 1:  # the stock class makes an attention that it never runs
            self.mid_block.attentions = nn.ModuleList()
        for module in self.modules():  # the stock class hard-wires 32; shapes and names do not depend on it
            if isinstance(module, nn.GroupNorm):
                module.num_groups = groups
        if not temporal:
            for resnet in self._resnets():
                resnet.temporal_res_block = resnet.time_mixer = None
            self.time_conv_out = None
            self.to(memory_format=channels_last)  # faster on a CPU; the temporal half would undo it at every block

    def run(
        self,
        latents: Float[Tensor, "V 4 h w"],
        at_input: Hook | None = None,
        before_upsampling: Hook | None = None,
    ) -> tuple[Float[Tensor, "V 3 H W"], Float[Tensor, "V C H W"]]:
        """Scaled latents of one object's views, in order -> (pictures in about [-1, 1], not clamped; the features
        they were made of).

        at_input(i, x): gives what up-block i takes in. before_upsampling(i, x): gives what its upsampler takes,
        after its last res block. Hooks that return x leave the stock decoder.
        """
        x = latents / self.scale
        if not self.temporal:
            x = laid_out_like(x, self.conv_in)
        if self.post_quant_conv is not None:
            x = self.post_quant_conv(x)
        x = self.conv_in(x)
        first, *rest = self.mid_block.resnets
        x = self._res(first, x)
        for resnet, attention in zip(rest, self.mid_block.attentions, strict=True):
            x = self._res(resnet, attention(x))
        for i, block in enumerate(self.up_blocks):
            x = at_input(i, x) if at_input else x
            for resnet in block.resnets:
                x = self._res(resnet, x)
            x = before_upsampling(i, x) if before_upsampling else x
            for upsampler in block.upsamplers or ():
                x = upsampler(x)
        features = self.conv_act(self.conv_norm_out(x))
        picture = self.conv_out(features)
        if self.temporal:
            picture = self.time_conv_out(picture.transpose(0, 1)[None])[0].transpose(0, 1)
        return picture, features

    def load_spatial(self, weights: Mapping[str, Tensor]) -> None:
        """Take a `PlainDecoder`'s weights as the spatial half; the temporal half, if there is one, starts closed (see
        `close_temporal`).

        Raises WeightsError, naming the first tensor, when names or shapes do not fit.
        """
        own = {key: value for key, value in self.state_dict().items() if not _is_temporal(key)}
        given = {key if key in own else _spatial_name(key, own): value for key, value in weights.items()}
        wrong = sorted(set(own) ^ set(given)) or [k for k in own if own[k].shape != given[k].shape]
        if wrong:
            raise WeightsError(
                f"{wrong[0]}: does not fit the spatial half of the decoder; give a plain decoder of the same numbers"
            )
        self.load_state_dict(given, strict=False)
        if self.temporal:
            self.close_temporal()

    def close_temporal(self) -> None:
        """Let the temporal half add nothing yet, so that it can learn: its residual blocks end in zeros and are mixed
        half and half with what they got, its output convolution is the identity."""
        with torch.no_grad():
            for resnet in self._resnets():
                resnet.temporal_res_block.conv2.weight.zero_()
                resnet.temporal_res_block.conv2.bias.zero_()
                resnet.time_mixer.mix_factor.zero_()  # at -50, say, its gradient would vanish with its share
            self.time_conv_out.weight.zero_()
            self.time_conv_out.weight[:, :, 1, 0, 0] = torch.eye(3)
            self.time_conv_out.bias.zero_()

    def temporal_parameters(self) -> list[nn.Parameter]:
        """Those of the temporal half; none where there is none."""
        return [p for key, p in self.named_parameters() if _is_temporal(key)]

    def _res(self, resnet: nn.Module, x: Tensor) -> Tensor:
        if not self.temporal:
            return resnet.spatial_res_block(x, None)
        # only the indicator's last dimension is read: the number of views
        return resnet(x, image_only_indicator=x.new_zeros(1, x.shape[0]))

    def _resnets(self) -> list[nn.Module]:
        return [r for block in (self.mid_block, *self.up_blocks) for r in block.resnets]


def laid_out_like(x: Float[Tensor, "N C H W"], conv: nn.Conv2d) -> Float[Tensor, "N C H W"]:
    """x in the memory layout of a convolution's weights (larger than 1 x 1): channels last decodes faster on a CPU, the
    default layout trains faster.
    """
    last = conv.weight.is_contiguous(memory_format=channels_last)
    return x.contiguous(memory_format=channels_last if last else torch.contiguous_format)


def _is_temporal(key: str) -> bool:
    return ".temporal_res_block." in key or ".time_mixer." in key or key.startswith("time_conv_out.")


def _spatial_name(key: str, own: Mapping[str, Tensor]) -> str:
    """PlainDecoder's name -> ours: `...resnets.0.conv1.weight` -> `...resnets.0.spatial_res_block.conv1.weight`."""
    head, mark, tail = key.partition(".resnets.")
    if not mark:
        return key
    number, _, rest = tail.partition(".")
    renamed = f"{head}.resnets.{number}{SPATIAL}.{rest}"
    return renamed if renamed in own else key

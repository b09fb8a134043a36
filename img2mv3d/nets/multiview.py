"""Denoiser over six views and two domains: a UNet whose transformer blocks attend across views and domains.

Wonder3D's checkpoint and `mini` are two `UNetConfig`s of it. In: latents with the condition beside them [N c h w],
noise step, image tokens, camera numbers. Out: a prediction [N 4 h w].
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import Downsample2D, ResnetBlock2D, Upsample2D
from jaxtyping import Float, Int
from torch import Tensor, nn

from img2mv3d.nets.direct import Direct
from img2mv3d.nets.window import Window

REACHES = ("off", "self", "views", "sparse", "rows")
COORDINATES = (
    14  # channels of `coordinates`: x and y, each plain and as sin, cos of 1, 2, 4 half turns over the picture
)


@dataclass(frozen=True)
class UNetConfig:
    """All numbers of a `MultiViewUNet`. Tuples run from the finest level to the coarsest.

    When given, see `precondition`.

    channels: width of each level, halving the resolution between levels.
    reach: how far the self-attention of each level, and last of the middle block, looks: "off" (no transformer), "self"
        (own view), "views" (all views), "sparse" (first view and own view), "rows" (the same pixel row of all views;
        for cameras at one elevation that row is the epipolar line).
    heads: attention heads of each level (the middle block has the last level's).
    layers: residual blocks of a level on the way down (one more on the way up).
    groups: of all group norms.
    token_width: of an image token.
    camera_width: length of the camera vector.
    views: V.
    joint_mid, joint_last: attention over the two domains after the self-attention, at the end of the block.
    coordinates: whether pixel coordinates are appended to the input.
    in_channels: without the coordinates.
    draft: channels of a draft that the input may have beside them, see `nets.drafted`; 0: none.
    mirror: whether the condition's mirror image is appended, too: seen from behind, a silhouette is the front's mirror
        image, and convolutions cannot turn a picture round.
    direct: whether the condition and its mirror image reach the output on a straight way, too, see `Direct`.
    mean, deviation: of the clean latents by channel;
    shift: of a shifted cosine schedule.
    """

    channels: tuple[int, ...]
    reach: tuple[str, ...]
    heads: tuple[int, ...]
    token_width: int
    layers: int = 1
    groups: int = 32
    camera_width: int = 10
    views: int = 6
    joint_mid: bool = True
    joint_last: bool = False
    coordinates: bool = False
    mirror: bool = False
    direct: bool = False
    in_channels: int = 8
    out_channels: int = 4
    draft: int = 0
    shift: float = 0.0
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.heads) == len(self.reach) - 1 > 0:
            raise ValueError(
                f"unet: {len(self.channels)} channels, {len(self.heads)} heads, {len(self.reach)} reaches"
                " (one more, for the middle)"
            )
        unknown = set(self.reach) - set(REACHES)
        if unknown:
            raise ValueError(f"unet: unknown reach {', '.join(sorted(unknown))}; expected one of {', '.join(REACHES)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for a manifest; `from_dict` undoes it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> UNetConfig:
        """A config out of `to_dict`'s numbers. Raises ValueError on unknown or missing names."""
        spare = set(numbers) - {f.name for f in fields(cls)}
        missing = {"channels", "reach", "heads", "token_width"} - set(numbers)
        if spare or missing:
            raise ValueError(f"unet config: unknown {sorted(spare)}, missing {sorted(missing)}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()})


class MultiViewUNet(nn.Module):
    """Wonder3D's network, generalised by `UNetConfig`; parameter names are those of Stable Diffusion 1.x UNets.

    Batch order: `pack` of this module: rows are (domain, object, view) with the view fastest, normals first. Under
    guidance see `diffusion.sampler`: the domains stay the two halves of the batch.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        width, groups = config.channels, config.groups
        embedding = 4 * width[0]
        self.time_proj = Timesteps(width[0], flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedding = TimestepEmbedding(width[0], embedding)
        self.class_embedding = TimestepEmbedding(config.camera_width, embedding)
        extra = COORDINATES * config.coordinates + (config.in_channels - config.out_channels) * config.mirror
        self.conv_in = nn.Conv2d(config.in_channels + extra + config.draft, width[0], 3, padding=1)

        self.down_blocks = nn.ModuleList()
        skips = [width[0]]  # widths of the stored features, in the order in which they are stored
        for level, c in enumerate(width):
            last = level == len(width) - 1
            inputs = [skips[-1]] + [c] * (config.layers - 1)
            self.down_blocks.append(
                _Level(config, level, inputs, embedding, None if last else Downsample2D(c, use_conv=True, name="op"))
            )
            skips += [c] * (config.layers + (not last))

        self.mid_block = _Middle(config, embedding)

        self.up_blocks = nn.ModuleList()
        below = width[-1]
        for level in reversed(range(len(width))):
            c, inputs = width[level], []
            for _ in range(config.layers + 1):
                inputs.append(below + skips.pop())
                below = c
            self.up_blocks.append(
                _Level(config, level, inputs, embedding, Upsample2D(c, use_conv=True) if level else None, up=True)
            )

        self.conv_norm_out = nn.GroupNorm(groups, width[0], eps=1e-5)
        self.conv_out = nn.Conv2d(width[0], config.out_channels, 3, padding=1)
        if config.direct:
            self.direct = Direct(config.in_channels - config.out_channels, config.out_channels, embedding)
        self._quiet_start()

    def forward(
        self,
        noisy: Float[Tensor, "N c h w"],
        t: Int[Tensor, " N"] | Int[Tensor, ""],
        tokens: Float[Tensor, "N T d"],
        camera: Float[Tensor, "N k"],
        window: Window | None = None,
        draft: Float[Tensor, "M e h w"] | None = None,
    ) -> Float[Tensor, "N o h w"]:
        """The prediction (noise or velocity, whatever the weights were trained for) for N = 2 * B * views rows.

        Raises ValueError when N is no multiple of the views (or, with joint attention, of two).

        noisy: channels 0..3 the noisy latents, 4..7 the condition latents (scaled, zero when unconditional).
        t: noise step 0..999.
        camera: `camera_vector`.
        window: what part of the picture the latents are, None: all of it.
        draft: of the same part, one row for each row; under guidance both branches have the same. None: no draft.
        """
        n, _, h, w = noisy.shape
        if n % self.config.views or (n % 2 and (self.config.joint_mid or self.config.joint_last)):
            raise ValueError(f"unet: {n} rows, expected two domains of whole groups of {self.config.views} views")
        embedding = self.time_embedding(self.time_proj(t.reshape(-1).expand(n)).to(noisy.dtype))
        embedding = embedding + self.class_embedding(camera)
        known, scale = None, None
        latent, condition = noisy.tensor_split([self.config.out_channels], dim=1)
        if self.config.mean:
            latent, known, scale = precondition(latent, t, self.config)
        parts = [latent, condition]
        if self.config.coordinates:
            grid = coordinates(h, w) if window is None else window.cut(coordinates(window.whole, window.whole))
            parts.append(grid.to(noisy).expand(n, -1, -1, -1))
        if self.config.mirror:
            parts.append(condition.flip(-1))
        if self.config.draft:
            parts.append(noisy.new_zeros(n, self.config.draft, h, w) if draft is None else _for_branches(draft, n))
        x = self.conv_in(torch.cat(parts, dim=1))
        skips = [x]
        for block in self.down_blocks:
            x = block.down(x, embedding, tokens, skips)
        x = self.mid_block(x, embedding, tokens)
        for block in self.up_blocks:
            x = block.up(x, embedding, tokens, skips)
        x = self.conv_out(F.silu(self.conv_norm_out(x)))
        if self.config.direct:
            x = x + self.direct(condition, embedding)
        return x if known is None else known + scale * x

    def _quiet_start(self) -> None:
        """Training starts from blocks that add nothing and an output of zero; loading weights overwrites all of it."""
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                nn.init.zeros_(module.conv2.weight)
            elif isinstance(module, Transformer):
                nn.init.zeros_(module.proj_out.weight)
                nn.init.zeros_(module.proj_out.bias)


def _for_branches(draft: Float[Tensor, "M e h w"], rows: int) -> Float[Tensor, "N e h w"]:
    """The rows of a draft as often as guidance has branches; the domains stay the two halves."""
    normal, color = draft.chunk(2)
    branches = rows // len(draft)
    return torch.cat([normal] * branches + [color] * branches)


class Transformer(nn.Module):
    """One multi-view transformer block between two 1x1 convolutions, residual. Rows (group, view), tokens row-major
    (h, w).
    """

    def __init__(self, config: UNetConfig, width: int, heads: int, reach: str) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.groups, width, eps=1e-6)  # 1e-6 here, 1e-5 in the residual blocks
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([MultiViewBlock(config, width, heads, reach)])
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Float[Tensor, "N C h w"], tokens: Float[Tensor, "N T d"]) -> Float[Tensor, "N C h w"]:
        """x plus what the block found."""
        h, w = x.shape[2:]
        y = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        for block in self.transformer_blocks:
            y = block(y, tokens, w)
        return self.proj_out(y.transpose(1, 2).unflatten(2, (h, w))) + x


class MultiViewBlock(nn.Module):
    """Self-attention over views, attention over the two domains, attention to the image tokens, feed-forward; each on
    its layer norm.
    """

    def __init__(self, config: UNetConfig, width: int, heads: int, reach: str) -> None:
        super().__init__()
        self.views, self.reach = config.views, reach
        self.norm1, self.attn1 = nn.LayerNorm(width), Attention(width, heads)
        if config.joint_mid:
            self.norm_joint_mid, self.attn_joint_mid = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.attn2 = nn.LayerNorm(width), Attention(width, heads, config.token_width)
        self.norm3, self.ff = nn.LayerNorm(width), FeedForward(width, activation_fn="geglu")
        if config.joint_last:
            self.norm_joint_last, self.attn_joint_last = nn.LayerNorm(width), Attention(width, heads)

    def forward(self, x: Float[Tensor, "N S C"], tokens: Float[Tensor, "N T d"], width: int) -> Float[Tensor, "N S C"]:
        """The five residual steps in Wonder3D's order.

        width: of the feature map, to find its rows.
        """
        x = x + self._over_views(self.norm1(x), width)
        if hasattr(self, "attn_joint_mid"):
            x = x + self._over_domains(self.attn_joint_mid, self.norm_joint_mid(x), width)
        x = x + self.attn2(self.norm2(x), tokens)
        x = x + self.ff(self.norm3(x))
        if hasattr(self, "attn_joint_last"):
            x = x + self._over_domains(self.attn_joint_last, self.norm_joint_last(x), width)
        return x

    def _over_views(self, x: Float[Tensor, "N S C"], width: int) -> Float[Tensor, "N S C"]:
        n, s, c = x.shape
        v = self.views
        if self.reach == "self":
            return self.attn1(x, x)
        if self.reach == "sparse":  # the front view sees itself twice, as the original does
            first = x.reshape(n // v, v, s, c)[:, :1].expand(-1, v, -1, -1).reshape(n, s, c)
            return self.attn1(x, torch.cat([first, x], dim=1))
        if self.reach == "views":
            group = x.reshape(n // v, v * s, c)
            return self.attn1(group, group).reshape(n, s, c)
        rows = x.reshape(n // v, v, s // width, width, c).transpose(1, 2).reshape(-1, v * width, c)
        return self.attn1(rows, rows).reshape(n // v, s // width, v, width, c).transpose(1, 2).reshape(n, s, c)

    def _over_domains(self, attention: Attention, x: Float[Tensor, "N S C"], width: int) -> Float[Tensor, "N S C"]:
        n, s, c = x.shape
        if self.reach == "rows":  # a row of one domain pairs with the same row of the other
            x, s = x.reshape(-1, width, c), width
        pair = torch.cat(x.chunk(2), dim=1)  # row i pairs with row i + N/2: the same view, the other domain
        return torch.cat(attention(pair, pair).split(s, dim=1)).reshape(n, -1, c)


class Attention(nn.Module):
    """Softmax attention, heads of equal width, no bias on the way in; names as in Stable Diffusion."""

    def __init__(self, width: int, heads: int, context_width: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_width or width, width, bias=False)
        self.to_v = nn.Linear(context_width or width, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Float[Tensor, "G S C"], context: Float[Tensor, "G K d"]) -> Float[Tensor, "G S C"]:
        """Every query of a group sees all keys of its group; scale 1 / sqrt(head width), no mask."""
        q, k, v = (
            y.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for y in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        return self.to_out[0](F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Level(nn.Module):
    """Residual blocks of one resolution, each followed by a transformer where the level has attention."""

    def __init__(
        self,
        config: UNetConfig,
        level: int,
        inputs: list[int],
        embedding: int,
        resample: nn.Module | None,
        up: bool = False,
    ) -> None:
        super().__init__()
        width, reach = config.channels[level], config.reach[level]
        self.resnets = nn.ModuleList(_residual(config, c, width, embedding) for c in inputs)
        if reach != "off":
            self.attentions = nn.ModuleList(Transformer(config, width, config.heads[level], reach) for _ in inputs)
        if resample is not None:
            setattr(self, "upsamplers" if up else "downsamplers", nn.ModuleList([resample]))

    def down(self, x: Tensor, embedding: Tensor, tokens: Tensor, skips: list[Tensor]) -> Tensor:
        """Finer to coarser; every intermediate goes onto `skips`."""
        for i, resnet in enumerate(self.resnets):
            x = self._attend(i, resnet(x, embedding), tokens)
            skips.append(x)
        if hasattr(self, "downsamplers"):
            x = self.downsamplers[0](x)
            skips.append(x)
        return x

    def up(self, x: Tensor, embedding: Tensor, tokens: Tensor, skips: list[Tensor]) -> Tensor:
        """Coarser to finer; takes the intermediates from `skips`, the last one first."""
        for i, resnet in enumerate(self.resnets):
            x = self._attend(i, resnet(torch.cat([x, skips.pop()], dim=1), embedding), tokens)
        return self.upsamplers[0](x) if hasattr(self, "upsamplers") else x

    def _attend(self, i: int, x: Tensor, tokens: Tensor) -> Tensor:
        return self.attentions[i](x, tokens) if hasattr(self, "attentions") else x


class _Middle(nn.Module):
    """Residual block, transformer, residual block at the coarsest resolution."""

    def __init__(self, config: UNetConfig, embedding: int) -> None:
        super().__init__()
        width, reach = config.channels[-1], config.reach[-1]
        self.resnets = nn.ModuleList(_residual(config, width, width, embedding) for _ in range(2))
        self.attentions = nn.ModuleList([Transformer(config, width, config.heads[-1], reach)] if reach != "off" else [])

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor) -> Tensor:
        x = self.resnets[0](x, embedding)
        for attention in self.attentions:
            x = attention(x, tokens)
        return self.resnets[1](x, embedding)


def _residual(config: UNetConfig, inputs: int, outputs: int, embedding: int) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=inputs, out_channels=outputs, temb_channels=embedding, groups=config.groups, eps=1e-5
    )


def camera_vector(
    elevation: Float[Tensor, " V"], azimuth: Float[Tensor, " V"], domains: bool = True
) -> Float[Tensor, "N k"]:
    """Camera numbers of one object: rows (domain, view), normals first; N = 2 V (V without domains, k = 6 instead of
    10).

    Per row the numbers (0, elevation, azimuth, is normal, is colour), then the sine of all of them and the cosine of
    all of them (the domain bits, too: that is how Wonder3D was trained).

    elevation, azimuth: radians, relative to the front view.
    """
    view = torch.stack([torch.zeros_like(elevation), elevation, azimuth], dim=1)
    if domains:
        bits = torch.eye(2, dtype=view.dtype, device=view.device)
        view = torch.cat([torch.cat([view, bit.expand(len(view), 2)], dim=1) for bit in bits])
    return torch.cat([view.sin(), view.cos()], dim=1)


def pack(normal: Float[Tensor, "B V *rest"], color: Float[Tensor, "B V *rest"]) -> Float[Tensor, "N *rest"]:
    """B objects in the network's batch order: normals of all objects, then colours; N = 2 B V. `unpack` undoes it."""
    return torch.cat([normal.flatten(0, 1), color.flatten(0, 1)])


def unpack(rows: Float[Tensor, "N *rest"], views: int) -> tuple[Float[Tensor, "B V *rest"], Float[Tensor, "B V *rest"]]:
    """(normal, color) of `pack`."""
    normal, color = rows.unflatten(0, (2, -1, views))
    return normal, color


def precondition(
    noisy: Float[Tensor, "N c h w"], t: Int[Tensor, " N"] | Int[Tensor, ""], config: UNetConfig
) -> tuple[Float[Tensor, "N c h w"], Float[Tensor, "N c h w"], Float[Tensor, "N c 1 1"]]:
    """(input, known, scale): the network sees `input`, of unit variance, and the velocity is known + scale * output.

    `known` is the best linear guess for independent latents of the config's mean and deviation, so that only what it
    gets wrong has to be learnt (the idea of Karras et al. 2022, section 5, for the velocity of a variance-preserving
    schedule). It begins as the whole prediction, since the network's output begins as zero.
    """
    mean, deviation = (noisy.new_tensor(x)[None, :, None, None] for x in (config.mean, config.deviation))
    turn = math.pi / 2 * (t.reshape(-1, 1, 1, 1).to(noisy) + 1) / 1000
    signal = config.shift * turn.cos() / (turn.sin() ** 2 + (config.shift * turn.cos()) ** 2).sqrt()
    spread = (1 - signal**2).clamp(min=0).sqrt()
    variance = (deviation * signal) ** 2 + spread**2
    rest = noisy - signal * mean
    known = signal * spread * (1 - deviation**2) / variance * rest - spread * mean
    return rest / variance.sqrt(), known, -(deviation / variance.sqrt()).expand(len(noisy), -1, -1, -1)


def coordinates(height: int, width: int) -> Float[Tensor, "1 14 h w"]:
    """Pixel coordinates in -1..1 (centres at half integers) and their sines and cosines, for
    `UNetConfig.coordinates`.
    """
    y, x = torch.meshgrid(
        (torch.arange(height) + 0.5) * 2 / height - 1, (torch.arange(width) + 0.5) * 2 / width - 1, indexing="ij"
    )
    plain = torch.stack([x, y])
    waves = [f(plain * (math.pi / 2 * k)) for k in (1, 2, 4) for f in (torch.sin, torch.cos)]
    return torch.cat([plain, *waves])[None]

"""Photo -> body: two layers of depth, what is solid between them, normals, the far side's colour, pitch.

In: the photo cropped to the object, and what its outline says (`geometry.outline`). Out: `ShapeMaps`, in the photo's
own frame, z away from the camera, 0 in the middle of the body.

How deep a body is, is the largest thing that a photo does not tell. It is a quantity of its own: predicted as a
distribution over log(extent in depth / outline's long side), then given to the decoder as a condition. Layers are
predicted in units of that extent, so that another depth gives another body at once.

The second largest is which way a thing faces: how likely each upright plane is to be the body's mirror is predicted.

Of round things the outline says nearly everything: every column may take its layers from the outline's revolution
instead, and the extent in depth may be the revolution's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from img2mv3d.geometry.outline import CHANNELS
from img2mv3d.nets.lite import TAP_CHANNELS, Lite

RATIO_LOW, RATIO_HIGH = 0.06, 1.9  # extent in depth over long side: ends of the distribution

PITCH_UNIT_DEG = 10.0  # of what the network says of the photo's elevation

MASK, REVOLVED = 0, 4  # channels of `geometry.outline.outline_maps`
LEAST_HALF = 0.01  # of the revolution's thickness, in units of its extent in depth
DROPPED = 0.3  # share of the features that the extent's head does without in training


@dataclass(frozen=True)
class ShapeConfig:
    """widths: of the decoder at 8, 16, 32 and 64 px of a picture of 128. heads: of the attention at 8 px. layers: of
    it. fills: cells of a column between its front and its back. ratios: bins of the depth's distribution. planes:
    upright ones, evenly over half a turn, of which it says whether they are the body's mirror; 0: it does not."""

    widths: tuple[int, ...] = (192, 128, 96, 48)
    heads: int = 4
    layers: int = 2
    fills: int = 16
    ratios: int = 32
    groups: int = 8
    planes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for a manifest; `from_dict` undoes it."""
        return asdict(self) | {"widths": list(self.widths)}

    @classmethod
    def from_dict(cls, numbers: dict[str, Any]) -> ShapeConfig:
        """A config out of `to_dict`'s numbers. Raises TypeError on unknown names."""
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()})


class Layers(NamedTuple):
    """Both depth layers on s x s columns, in units of the body's extent in depth.

    middle: of a column, -0.5..0.5.
    log_half: log of half its thickness.
    log_spread: of the Laplace distributions of both (nats).
    fill: logits of how solid each of K cells between front and back is, front first.
    follows: logits of how far middle and thickness follow the outline's revolution; None: nobody asks.
    """

    middle: Float[Tensor, "B s s"]
    log_half: Float[Tensor, "B s s"]
    log_spread: Float[Tensor, "B 2 s s"]
    fill: Float[Tensor, "B K s s"]
    follows: Float[Tensor, "B 2 s s"] | None = None


class ShapeMaps(NamedTuple):
    """What the network says of a photo.

    ratio_logits: of the distribution over `ratio_bins`.
    plane_logits: whether each plane is a mirror; None: it was not learnt.
    pitch: (degrees / 10, log of its Laplace spread in those).
    coarse: on columns of a quarter of the picture's px.
    fine, far (colour in [0, 1]), normal (unit, x right, y up, z towards the camera): None unless asked for; on half of
        the px, on half, on all.
    """

    ratio_logits: Float[Tensor, "B N"]
    plane_logits: Float[Tensor, "B T"] | None
    pitch: Float[Tensor, "B 2"]
    coarse: Layers
    fine: Layers | None
    far: Float[Tensor, "B 3 t t"] | None
    normal: Float[Tensor, "B 3 H W"] | None


class ShapeNet(nn.Module):
    """The whole network. `encode` then `decode`; the caller chooses the extent in depth in between."""

    def __init__(self, config: ShapeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ShapeConfig()
        wide, middle, narrow, thin = config.widths
        groups = config.groups
        self.lite = Lite()
        self.outline = nn.ModuleList()
        inputs, sizes = CHANNELS, (24, 32, 48, 64)  # at 32, 16, 8, 4 px
        for size in sizes:
            self.outline.append(_Enter(inputs, size, groups, stride=2))
            inputs = size
        self.bottom = nn.Conv2d(TAP_CHANNELS[4] + sizes[3], wide, 1)
        self.join8 = nn.Conv2d(wide + TAP_CHANNELS[3] + sizes[2], wide, 1)
        self.place = nn.Parameter(torch.zeros(1, 64, wide))
        self.told = nn.Sequential(nn.Linear(8, wide), nn.SiLU(), nn.Linear(wide, wide))
        self.attention = nn.ModuleList(_Attention(wide, config.heads) for _ in range(config.layers))
        pooled = TAP_CHANNELS[4] + sizes[3]
        # One more than there are bins: whether the body is as deep as the outline's revolution.
        self.ratio = nn.Sequential(nn.Linear(pooled, 128), nn.SiLU(), nn.Linear(128, config.ratios + 1))
        self.pitch = nn.Sequential(nn.Linear(pooled, 128), nn.SiLU(), nn.Linear(128, 2))
        if config.planes:
            self.faces = nn.Conv2d(pooled, 32, 1)
            self.faces8 = nn.Conv2d(TAP_CHANNELS[3] + sizes[2], 16, 1)
            self.plane = nn.Sequential(nn.Linear(32 * 16 + 16 * 64, 128), nn.SiLU(), nn.Linear(128, config.planes))
        self.up16 = _Up(wide, TAP_CHANNELS[2] + sizes[1], middle, groups)
        self.up32 = _Up(middle, TAP_CHANNELS[1] + sizes[0], narrow, groups)
        self.head = _head(narrow, 6 + config.fills)
        self.up64 = _Up(narrow, TAP_CHANNELS[0] + CHANNELS, thin, groups)
        self.fine_head = _head(thin, 6 + config.fills + 3, zero=True)
        self.full = nn.Conv2d(thin + 4, 16, 3, padding=1)
        self.normal_head = nn.Conv2d(16, 3, 3, padding=1)
        with torch.no_grad():
            self.head[-1].bias[:] = torch.tensor([0.0, -1.4, -2.0, -1.0, -3.0, -3.0, *[2.0] * config.fills])
            self.head[-1].weight *= 0.1

    def forward(
        self,
        picture: Float[Tensor, "B 4 H W"],
        outline: Float[Tensor, "B 8 h w"],
        ratio: Float[Tensor, " B"],
        known: Bool[Tensor, " B"],
        fine: bool = True,
    ) -> ShapeMaps:
        """picture: RGB over mid grey in [0, 1] and alpha, 128 px, 2 CROP wide. outline: `outline_maps` at half of the
        px. ratio: extent in depth over long side, told to the decoder where `known`."""
        features = self.encode(picture, outline)
        return self.decode(features, picture, outline, ratio, known, fine)

    def encode(self, picture: Float[Tensor, "B 4 H W"], outline: Float[Tensor, "B 8 h w"]) -> list[Tensor]:
        """Joint features at 1/2 .. 1/32 of the picture's px, finest first."""
        maps = self.lite(picture[:, :3])
        x, sides = outline, [outline]
        for enter in self.outline:
            x = enter(x)
            sides.append(x)
        return [torch.cat([a, b], dim=1) for a, b in zip(maps, sides, strict=True)]

    def distribution(
        self, features: list[Tensor], outline: Float[Tensor, "B 8 h w"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B 2"]]:
        """(ratio_logits, pitch) as `ShapeMaps` has them."""
        pooled = features[4].mean(dim=(2, 3))
        # Few objects are learnt from: without this the extents of those are learnt by heart.
        raw = self.ratio(F.dropout(pooled, DROPPED, self.training)).float()
        bins = ratio_bins(raw.shape[1] - 1).to(raw)
        step = bins[1] - bins[0]
        # The revolution's depth lies between two bins, which share its chance such that it is their median.
        apart = (revolution_ratio(outline).log()[:, None] - bins).abs() / step
        nearest, second = 1 / (1 + 2 * apart), 1 - 1 / (1 + 2 * (1 - apart).clamp(min=0))
        as_revolved = torch.where(apart <= 0.5, nearest, second)
        round_ = raw[:, -1:].sigmoid()
        chance = raw[:, :-1].softmax(1) * (1 - round_) + as_revolved * round_
        return chance.clamp(min=1e-6).log(), self.pitch(pooled).float()

    def planes(self, features: list[Tensor]) -> Float[Tensor, "B T"] | None:
        """plane_logits as `ShapeMaps` has them."""
        if not self.config.planes:
            return None
        # Where in the picture something lies tells which way it faces, so that places are kept.
        seen = torch.cat([self.faces(features[4]).flatten(1), self.faces8(features[3]).flatten(1)], dim=1)
        out: Tensor = self.plane(F.dropout(F.silu(seen), DROPPED, self.training)).float()
        return out

    def decode(
        self,
        features: list[Tensor],
        picture: Float[Tensor, "B 4 H W"],
        outline: Float[Tensor, "B 8 h w"],
        ratio: Float[Tensor, " B"],
        known: Bool[Tensor, " B"],
        fine: bool = True,
    ) -> ShapeMaps:
        """The maps for a body of this extent in depth."""
        ratio_logits, pitch = self.distribution(features, outline)
        planes = self.planes(features)
        x = self.join8(torch.cat([_twice(self.bottom(features[4])), features[3]], dim=1))
        batch, wide, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2) + self.place + self.told(_told(ratio, known))[:, None]
        for layer in self.attention:
            tokens = layer(tokens)
        x = tokens.transpose(1, 2).reshape(batch, wide, height, width)
        x = self.up32(self.up16(x, features[2]), features[1])
        raw = self.head(x).float()
        revolved = revolution(outline)
        coarse = _layers(raw, F.avg_pool2d(revolved, 2)[:, 0])
        if not fine:
            return ShapeMaps(ratio_logits, planes, pitch, coarse, None, None, None)
        x = self.up64(x, features[0])
        more = self.fine_head(x).float()
        fine_layers = _layers(_twice(raw) + more[:, :-3], revolved[:, 0])
        under = F.avg_pool2d(picture[:, :3], 2)
        far = (under + more[:, -3:]).clamp(-0.1, 1.1)  # begins as the photo seen from behind
        x = F.silu(self.full(torch.cat([_twice(x), picture], dim=1)))
        normal = F.normalize(
            self.normal_head(x).float() + x.new_tensor([0.0, 0.0, 1.0])[:, None, None], dim=1, eps=1e-4
        )
        return ShapeMaps(ratio_logits, planes, pitch, coarse, fine_layers, far, normal)


def ratio_bins(count: int) -> Float[Tensor, " N"]:
    """log(extent in depth / long side) at the middle of each bin of the distribution."""
    return torch.linspace(float(torch.tensor(RATIO_LOW).log()), float(torch.tensor(RATIO_HIGH).log()), count)


def likely_ratio(logits: Float[Tensor, "B N"], quantile: float = 0.5) -> Float[Tensor, " B"]:
    """A quantile, the median if none is given, of the distribution over the extent in depth (over the long side)."""
    chance = logits.softmax(1)
    bins = ratio_bins(logits.shape[1]).to(logits)
    place = (chance.cumsum(1) >= quantile).float().argmax(1, keepdim=True)
    before = chance.cumsum(1).gather(1, place) - chance.gather(1, place)
    share = (quantile - before) / chance.gather(1, place).clamp(min=1e-6)
    step = bins[1] - bins[0]
    return (bins[place[:, 0]] + (share[:, 0] - 0.5) * step).exp()


def columns(
    layers: Layers, depth: Float[Tensor, " B"], bins: int, length: float, softness: float = 0.5
) -> Float[Tensor, "B s s Z"]:
    """How solid the cells along the lines of sight are, 0..1, differentiably.

    depth: the body's extent in depth, world units.
    bins, length: number of cells, nearest first, and their length (world units); 0 is in the middle.
    softness: of front and back, in cells.
    """
    scale = depth[:, None, None]
    half = layers.log_half.exp() * scale
    front, back = layers.middle * scale - half, layers.middle * scale + half
    z = (torch.arange(bins, device=depth.device) + 0.5) * length - bins * length / 2
    sharp = 1 / (softness * length)
    between = torch.minimum(z - front[..., None], back[..., None] - z)
    # A column thinner than a cell still fills the cell that its middle lies in.
    slack = (0.55 * length - half).clamp(min=0)[..., None]
    shell = torch.sigmoid((between + slack) * sharp)
    count = layers.fill.shape[1]
    along = ((z - front[..., None]) / (2 * half[..., None]).clamp(min=1e-3)) * count - 0.5
    along = along.clamp(0, count - 1)
    low = along.detach().floor().clamp(max=count - 2).long()
    share = along - low
    solid = torch.sigmoid(layers.fill).movedim(1, -1)
    filled = solid.gather(-1, low) * (1 - share) + solid.gather(-1, low + 1) * share
    return shell * filled


def revolution(outline: Float[Tensor, "B 8 h w"]) -> Float[Tensor, "B 1 h w"]:
    """Half the thickness of the outline's revolution, in units of its extent in depth: 0.5 at the most."""
    half = outline[:, REVOLVED : REVOLVED + 1]
    return (half / (2 * half.amax(dim=(2, 3), keepdim=True)).clamp(min=1e-6)).clamp(min=LEAST_HALF)


def revolution_ratio(outline: Float[Tensor, "B 8 h w"]) -> Float[Tensor, " B"]:
    """The revolution's extent in depth over the outline's long side."""
    inside = outline[:, MASK] >= 0.5
    rows, columns_ = inside.any(2).float(), inside.any(1).float()
    # Whole pixels between the first and the last, of a picture as wide as the x channel says.
    pixels = torch.maximum(_span(rows), _span(columns_)).clamp(min=1)
    width = outline[:, 1].amax(dim=(1, 2)) - outline[:, 1].amin(dim=(1, 2))
    pixel = width / (outline.shape[3] - 1)
    deep = 2 * outline[:, REVOLVED].amax(dim=(1, 2))
    return (deep / (pixels * pixel).clamp(min=1e-6)).clamp(RATIO_LOW, RATIO_HIGH)


def _span(filled: Float[Tensor, "B n"]) -> Float[Tensor, " B"]:
    """How many places lie between the first and the last that is filled, both counted."""
    place = torch.arange(1, filled.shape[1] + 1, dtype=filled.dtype)
    last = (filled * place).amax(1)
    first = (filled * place.flip(0)).amax(1)
    return (last + first - filled.shape[1]).clamp(min=0)


def _layers(raw: Float[Tensor, "B C s s"], revolved: Float[Tensor, "B s s"]) -> Layers:
    """Middle, log thickness, both spreads, how far each of the first two follows the revolution, fill."""
    gates = raw[:, 4:6]
    follows = gates.sigmoid()
    half = raw[:, 1].clamp(-6, 0.0).exp() * (1 - follows[:, 1]) + revolved * follows[:, 1]
    return Layers(raw[:, 0] * (1 - follows[:, 0]), half.log(), raw[:, 2:4].clamp(-6, 2), raw[:, 6:], gates)


def _told(ratio: Float[Tensor, " B"], known: Bool[Tensor, " B"]) -> Float[Tensor, "B 8"]:
    """The extent in depth as the decoder gets it: waves of its logarithm, all zero where it is not told."""
    log = ratio.clamp(RATIO_LOW / 2, 2 * RATIO_HIGH).log()[:, None]
    waves = torch.cat([log, log.square() / 3, torch.sin(log * 2), torch.cos(log * 2), torch.sin(log * 4)], dim=1)
    waves = torch.cat([waves, torch.cos(log * 4), torch.ones_like(log)], dim=1)
    told = known[:, None].to(log.dtype)
    return torch.cat([waves * told, 1 - told], dim=1)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _head(inputs: int, outputs: int, zero: bool = False) -> nn.Sequential:
    last = nn.Conv2d(inputs, outputs, 1)
    if zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Conv2d(inputs, inputs, 3, padding=1), nn.SiLU(), last)


class _Enter(nn.Module):
    """A convolution, perhaps strided, then normalised and bent."""

    def __init__(self, inputs: int, outputs: int, groups: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.norm = nn.GroupNorm(groups, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class _Up(nn.Module):
    """Twice the size, joined with finer features, then one residual convolution."""

    def __init__(self, inputs: int, finer: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.enter = _Enter(inputs + finer, outputs, groups)
        self.more = _Enter(outputs, outputs, groups)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        x = self.enter(torch.cat([_twice(x), finer], dim=1))
        return x + self.more(x)


class _Attention(nn.Module):
    """Every place looks at every other, then thinks on its own (pre-norm transformer block)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Float[Tensor, "B T d"]) -> Float[Tensor, "B T d"]:
        batch, count, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Of 64 places the fused kernel's gradient takes three times as long as these two products.
        weights = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1)
        seen = (weights @ v).transpose(1, 2).reshape(batch, count, width)
        x = x + self.out(seen)
        return x + self.mlp(self.norm2(x))

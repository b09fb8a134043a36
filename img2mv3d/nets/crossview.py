"""latents of all views + depth + the front photo -> pictures that agree to the pixel: the paper's decoder.

In: scaled latents of V views, their depth, the photo. Out: V pictures. Why here: it puts the paper's parts (front
condition, truncated epipolar attention) and ours (the photo's own pixels, carried by depth) into the stock video
decoder; freshly made it equals that bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, channels_last, nn
from torch.nn import functional

from img2mv3d.conventions import FRONT, LATENT_FACTOR, LATENT_SCALE
from img2mv3d.geometry.cameras import Rig
from img2mv3d.geometry.epipolar import pluecker, rows_are_epipolar
from img2mv3d.geometry.warp import Carried, carry_front, over_white
from img2mv3d.nets.attention import EpipolarAttention, Level, make_levels
from img2mv3d.nets.temporal import TemporalBase, laid_out_like
from img2mv3d.nets.vae import MINI_CHANNELS, SD_CHANNELS

POINTS = (7, 7, 7, 2)  # N_p of the up-blocks, coarse to fine (paper)
RADIUS = 0.1  # r, world units (paper; see `conventions` for the unit)
FACTORS = (8, 4, 2, 1)  # picture pixels in a cell of each up-block
MASK_BIAS = -2.0  # the learnt mask starts small, and its gate starts closed
GATE_RATE = 8.0  # the gate is one number: it may move faster than a weight


class Guides(NamedTuple):
    """Everything the decoder is told besides latents. levels: one per up-block. photo: RGBA, colour over white, all
    in [-1, 1].
    """

    levels: tuple[Level, ...]
    carried: Carried
    photo: Float[Tensor, "4 H W"]


@dataclass(frozen=True)
class CrossViewConfig:
    """All numbers of a `CrossViewDecoder`. Tuples of channels run from the finest level to the coarsest.

    channels, layers_per_block, groups, scale, post_quant, temporal: of the base, see `TemporalBase`.
    points: N_p of each up-block, coarse to fine; radius: r. Both of the attention.
    front_to: "front" adds the photo's pyramid to the front view alone and leaves the rest to the attention; "all" to
        every view.
    carry: let the photo's pixels travel directly: into the last block, into the picture, and beside the front view's
        samples in the attention.
    occlusion, by_slot, whole_line: of the attention. The paper's form is without carry and occlusion.
    start: deviation of the first values of the projections that add to the base; at 0 all parts start closed.
    """

    channels: tuple[int, ...] = MINI_CHANNELS
    layers_per_block: int = 1
    groups: int = 8
    scale: float = 1.0
    post_quant: bool = False
    temporal: bool = False
    points: tuple[int, ...] = POINTS
    radius: float = RADIUS
    front_to: str = "front"
    carry: bool = True
    occlusion: bool = True
    by_slot: bool = True
    whole_line: bool = False
    start: float = 0.0

    def __post_init__(self) -> None:
        if self.front_to not in ("front", "all"):
            raise ValueError(f"cross-view config: front_to {self.front_to!r}, expected 'front' or 'all'")
        if not len(self.channels) == len(self.points) == len(FACTORS):
            counts = f"{len(self.channels)} channels, {len(self.points)} points"
            raise ValueError(f"cross-view config: {counts}, expected one for each of {len(FACTORS)} up-blocks")
        if min(*self.channels, self.layers_per_block, self.groups) < 1 or min(self.points) < 0:
            raise ValueError("cross-view config: channels, layers and groups must be positive, points at least 0")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for a manifest; `from_dict` undoes it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> CrossViewConfig:
        """A config out of `to_dict`'s numbers; what is not told is as in a manifest of 0.1.0. Raises ValueError on
        unknown names."""
        if spare := set(numbers) - {f.name for f in fields(cls)}:
            raise ValueError(f"cross-view config: unknown {', '.join(sorted(spare))}")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items()})


class CrossViewDecoder(nn.Module):
    """The video decoder with front condition, epipolar attention in every up-block, and the carried photo.

    `attention_on`, `front_on`, `carry_on` switch parts off for measurements.
    """

    def __init__(self, config: CrossViewConfig = CrossViewConfig()) -> None:
        super().__init__()
        self.config = c = config
        widths = tuple(reversed(c.channels))
        self.base = TemporalBase(c.channels, c.layers_per_block, c.groups, c.scale, c.post_quant, c.temporal)
        self.front = FrontPyramid(widths)
        told = {"radius": c.radius, "groups": c.groups, "occlusion": c.occlusion, "photo": c.carry, "start": c.start}
        told |= {"by_slot": c.by_slot, "whole_line": c.whole_line}
        self.attention = nn.ModuleList(
            EpipolarAttention(width, count, **told) for width, count in zip(widths, c.points, strict=True)
        )
        self.carry = CarriedPhoto(widths[-2], widths[-1]) if c.carry else None
        if c.start:
            self._open(c.start)
        self.attention_on = self.front_on = self.carry_on = True

    def _open(self, start: float) -> None:
        ways = [*self.front.out, *([self.carry.out] if self.carry is not None else [])]
        for projection in ways:
            nn.init.normal_(projection.weight, std=start)
        if self.carry is not None:
            nn.init.constant_(self.carry.gate, start)

    @classmethod
    def stable_video_diffusion(cls) -> CrossViewDecoder:
        """On the published SVD decoder's sizes: a base of 266 tensors, 63,579,183 parameters, random."""
        return cls(CrossViewConfig(SD_CHANNELS, layers_per_block=2, groups=32, scale=LATENT_SCALE, temporal=True))

    def decode(
        self,
        latents: Float[Tensor, "V 4 h w"],
        z: Float[Tensor, "V H W"],
        hit: Float[Tensor, "V H W"],
        front: Float[Tensor, "4 H W"],
        rig: Rig,
    ) -> Float[Tensor, "V 3 H W"]:
        """Scaled latents -> pictures in about [0, 1], not clamped, H = 8 h.

        z, hit: depth of every view at picture size (`conventions`). front: the framed photo, RGBA in [0, 1],
        straight alpha; it belongs to the rig's first view. Raises ValueError when sizes or counts do not belong
        together.
        """
        views, _, height, width = latents.shape
        size = (height * LATENT_FACTOR, width * LATENT_FACTOR)
        if (
            not len(rig) == views == len(z) == len(hit)
            or z.shape[1:] != size
            or hit.shape[1:] != size
            or front.shape[1:] != size
        ):
            raise ValueError(
                f"decode: {views} latents of {height} x {width} cells need {views} cameras and maps of "
                f"{size[0]} x {size[1]} px; found {len(rig)} cameras, depth {tuple(z.shape)}, hit {tuple(hit.shape)}, "
                f"photo {tuple(front.shape)}"
            )
        if height != width:
            raise ValueError(f"decode: latents of {height} x {width} cells, expected a square")
        with torch.no_grad():
            return self(latents, make_guides(z, hit, front, rig))

    def forward(
        self,
        latents: Float[Tensor, "V 4 h w"],
        guides: Guides,
        jitter: tuple[Float[Tensor, "V _ _ _"], ...] | None = None,
    ) -> Float[Tensor, "V 3 H W"]:
        """Scaled latents -> pictures in about [0, 1]. All maps may be one band of rows where `rows_are_epipolar`
        (training).

        jitter: per up-block, places of the points in their bins, drawn by the caller: recomputation in the
        backward pass runs this twice.
        """
        pyramid = self.front(guides.photo) if self.front_on else None

        def at_input(i: int, x: Tensor) -> Tensor:
            if pyramid is not None:
                if self.config.front_to == "all":
                    x = x + pyramid[i]
                else:
                    x = x.clone()  # keeps the memory layout, on which the last bits depend
                    x[FRONT] += pyramid[i][0]
            if self.carry is not None and self.carry_on and i + 1 == len(self.attention):
                x = x + self.carry.features(guides.carried)
            return x

        def before_upsampling(i: int, x: Tensor) -> Tensor:
            if not self.attention_on:
                return x
            return self.attention[i](x, guides.levels[i], None if jitter is None else jitter[i])

        picture, features = self.base.run(latents, at_input, before_upsampling)
        if self.carry is not None and self.carry_on:
            picture = self.carry.blend(picture, features, guides.carried)
        return picture / 2 + 0.5

    def load_plain(self, weights: Mapping[str, Tensor]) -> None:
        """Take a trained `PlainDecoder`'s weights as the spatial half of the base. Raises WeightsError when they do
        not fit.
        """
        self.base.load_spatial(weights)


class FrontPyramid(nn.Module):
    """The front photo as features for the input of each up-block, fine to coarse; the projections start at zero.

    widths: of the up-blocks' outputs, coarse to fine; what a block takes in has the width of the one before it.
    """

    INNER = (64, 48, 32, 16)  # channels at 32, 64, 128, 256 px

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        inputs = (widths[0], *widths[:-1])
        self.stem = nn.Conv2d(4, self.INNER[-1], 3, padding=1)
        self.same = nn.ModuleList(nn.Conv2d(c, c, 3, padding=1) for c in self.INNER)
        self.down = nn.ModuleList(
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1)
            for coarse, fine in zip(self.INNER, self.INNER[1:], strict=False)
        )
        self.out = nn.ModuleList(nn.Conv2d(c, width, 1) for c, width in zip(self.INNER, inputs, strict=True))
        for projection in self.out:
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)
        self.to(memory_format=channels_last)

    def forward(self, photo: Float[Tensor, "4 H W"]) -> tuple[Float[Tensor, "1 C _ _"], ...]:
        """One map per up-block, coarse to fine; RGBA in [-1, 1]."""
        x = functional.silu(self.stem(laid_out_like(photo[None].to(self.stem.weight), self.stem)))
        maps = []
        for i in reversed(range(len(self.INNER))):
            x = functional.silu(self.same[i](x))
            maps.append(self.out[i](x))
            if i:
                x = functional.silu(self.down[i - 1](x))
        return tuple(reversed(maps))


class CarriedPhoto(nn.Module):
    """The photo's own pixels, at every view's surface points: into the last up-block, and blended into the picture by
    a learnt mask.

    into: channels of the last up-block's input. last: of the features before the picture. Both ways start closed.
    """

    INNER = 32

    def __init__(self, into: int, last: int) -> None:
        super().__init__()
        self.read = nn.Sequential(
            nn.Conv2d(6, self.INNER, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(self.INNER, self.INNER, 3, padding=1),
            nn.SiLU(),
        )
        self.out = nn.Conv2d(self.INNER, into, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.mask = nn.Sequential(
            nn.Conv2d(last + 6 + 3, self.INNER, 3, padding=1), nn.SiLU(), nn.Conv2d(self.INNER, 1, 3, padding=1)
        )
        nn.init.constant_(self.mask[-1].bias, MASK_BIAS)
        self.gate = nn.Parameter(torch.zeros(()))
        self.to(memory_format=channels_last)

    def features(self, carried: Carried) -> Float[Tensor, "V C H W"]:
        """What is added to the last up-block's input."""
        return self.out(self.read(laid_out_like(_channels(carried).to(self.gate), self.read[0])))

    def blend(
        self, picture: Float[Tensor, "V 3 H W"], features: Float[Tensor, "V C H W"], carried: Carried
    ) -> Float[Tensor, "V 3 H W"]:
        """The picture, moved towards the carried colours by mask x visibility x gate; all pictures in [-1, 1]."""
        seen = torch.cat([features, _channels(carried).to(picture), picture], dim=1)
        share = torch.sigmoid(self.mask(laid_out_like(seen, self.mask[0])))
        share = share * torch.tanh(GATE_RATE * self.gate) * carried.visible[:, None].to(picture)
        return picture + share * (carried.color.to(picture) * 2 - 1 - picture)


def make_guides(
    z: Float[Tensor, "V H W"],
    hit: Float[Tensor, "V H W"],
    front: Float[Tensor, "4 H W"],
    rig: Rig,
    dropped: tuple[int, ...] = (),
) -> Guides:
    """Depth and photo in the form `forward` takes. front: RGBA in [0, 1], straight alpha. dropped: views that no
    other view looks into.
    """
    size = z.shape[-1]
    colour = over_white(front)
    rays = tuple(torch.stack([pluecker(c) for c in rig.cameras(size // factor)]).to(z) for factor in FACTORS)
    levels = make_levels(z, hit, colour, rays, rig, FACTORS, dropped)
    return Guides(levels, carry_front(front, z, hit, rig), torch.cat([colour, front[3:]]) * 2 - 1)


def crop(guides: Guides, rows: tuple[int, int], columns: tuple[int, int] | None = None) -> Guides:
    """The guides of the rows from..to (px, multiples of 8) of all views: where rows are epipolar, a band of whole rows
    is closed under the attention. Columns that lie evenly about the middle and hold the object in every view may be
    cut, too: the cameras become narrower. Raises ValueError on others, and on cameras whose rows are not epipolar.
    """
    side = guides.photo.shape[-1]
    across = columns or (0, side)
    rig = guides.levels[0].rig
    if sum(across) != side or not rows_are_epipolar(rig):
        raise ValueError(f"columns {across[0]} to {across[1]} of {side}: no band of this rig's views")
    rig = replace(rig, width=rig.width * (across[1] - across[0]) / side)
    levels = []
    for level, factor in zip(guides.levels, FACTORS, strict=True):
        part = (..., *(slice(first // factor, last // factor) for first, last in (rows, across)))
        cut = {"z": level.z[part], "hit": level.hit[part], "ray": level.ray[part], "photo": level.photo[part]}
        levels.append(level._replace(**cut, rig=rig))
    part = (..., slice(*rows), slice(*across))
    return Guides(tuple(levels), Carried(*(m[part] for m in guides.carried)), guides.photo[part])


def _channels(carried: Carried) -> Float[Tensor, "V 6 H W"]:
    """Colour in [-1, 1] where there is one, visibility, gap, cosine."""
    notes = torch.stack([carried.visible, carried.gap, carried.cosine], dim=1)
    there = (carried.cosine > 0) | (carried.visible > 0)
    color = (carried.color * 2 - 1) * there[:, None]
    return torch.cat([color, notes], dim=1)

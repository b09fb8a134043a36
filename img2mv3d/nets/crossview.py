"""The cross-view decoder: latents of all views, their depth and the front photo -> pictures that agree to the pixel."""

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
from img2mv3d.geometry.compositing import over_white
from img2mv3d.geometry.epipolar import pluecker, rows_are_epipolar
from img2mv3d.geometry.warp import Warped, warp_photo
from img2mv3d.nets.attention import EpipolarAttention, Level, Look, PaperAttention, make_levels
from img2mv3d.nets.temporal import TemporalBase, laid_out_like
from img2mv3d.nets.vae import MINI_CHANNELS, SD_CHANNELS

POINTS = (7, 7, 7, 2)  # N_p of the up-blocks, coarse to fine (paper)
RADIUS = 0.1  # r, world units (paper; see `conventions` for the unit)
FACTORS = (8, 4, 2, 1)  # picture pixels in a cell of each up-block
WHOLE_LINES = (32, 64, 0, 0)  # points on a whole line of each up-block: finer ones would need gigabytes
MASK_BIAS = -2.0  # the learnt mask starts small, and its gate starts closed
GATE_RATE = 8.0  # the gate is one number: it may move faster than a weight
RETIRED = {  # switches that manifests of 0.1.0 may name, as every decoder that was shipped has them
    "front_to": "front",
    "carry": True,
    "occlusion": True,
    "by_slot": True,
    "whole_line": False,
    "start": 0.0,
}


class Guides(NamedTuple):
    """Everything the decoder is told besides latents. levels: one per up-block. photo: RGBA, colour over white, all
    in [-1, 1].
    """

    levels: tuple[Level, ...]
    warped: Warped
    photo: Float[Tensor, "4 H W"]


class Looking(NamedTuple):
    """Another way to look into other views than trained.

    attention: "epipolar"; "off"; "full": along the whole line, with a sample a cell in the up-blocks of 32 and 64
        cells, and not at all in finer ones.
    samples: on each ray. radius: half the length of the piece around the depth, world units. None: as trained.
    reach: factor on the radius, pixel by pixel.
    """

    attention: str = "epipolar"
    samples: int | None = None
    radius: float | None = None
    reach: Float[Tensor, "V H W"] | None = None


@dataclass(frozen=True)
class CrossViewConfig:
    """All numbers of a `CrossViewDecoder`. Tuples of channels run from the finest level to the coarsest.

    channels, layers_per_block, groups, scale, post_quant, temporal: of the base, see `TemporalBase`.
    points: N_p of each up-block, coarse to fine; radius: r. Both of the attention.
    paper: its parts alone, without the warped photo and without what the attention is told of photo and visibility.
    """

    channels: tuple[int, ...] = MINI_CHANNELS
    layers_per_block: int = 1
    groups: int = 8
    scale: float = 1.0
    post_quant: bool = False
    temporal: bool = False
    points: tuple[int, ...] = POINTS
    radius: float = RADIUS
    paper: bool = False

    def __post_init__(self) -> None:
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
        """A config out of `to_dict`'s numbers, or a manifest of 0.1.0. Raises ValueError on unknown names, and on
        ablations, which `experiments` has."""
        known = {f.name for f in fields(cls)}
        if spare := sorted(set(numbers) - known - set(RETIRED)):
            raise ValueError(f"cross-view config: unknown {', '.join(spare)}")
        if other := sorted(k for k, v in RETIRED.items() if numbers.get(k, v) != v):
            raise ValueError(f"cross-view config: {', '.join(other)} of an ablation, see experiments/decoder")
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in numbers.items() if k in known})


class CrossViewDecoder(nn.Module):
    """The video decoder with front condition, epipolar attention in every up-block, and the warped photo.

    Beside the paper's parts the photo's own pixels go, warped by depth, into the last block, into the picture, and
    beside the front view's samples in the attention, unless the config says `paper`. All parts start closed: a fresh
    network is its base.
    """

    Attention: type[EpipolarAttention] = EpipolarAttention
    PaperAttention: type[EpipolarAttention] = PaperAttention

    def __init__(self, config: CrossViewConfig = CrossViewConfig()) -> None:
        super().__init__()
        self.config = c = config
        widths = tuple(reversed(c.channels))
        self.base = TemporalBase(c.channels, c.layers_per_block, c.groups, c.scale, c.post_quant, c.temporal)
        self.front = FrontPyramid(widths)
        attention = self.PaperAttention if c.paper else self.Attention
        self.attention = nn.ModuleList(
            attention(width, count, radius=c.radius, groups=c.groups)
            for width, count in zip(widths, c.points, strict=True)
        )
        self.carry = None if c.paper else WarpedPhoto(widths[-2], widths[-1])  # its name in the files of weights

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
        looking: Looking | None = None,
    ) -> Float[Tensor, "V 3 H W"]:
        """Scaled latents -> pictures in about [0, 1], not clamped, H = 8 h.

        z, hit: depth of every view at picture size (`conventions`). front: the framed photo, RGBA in [0, 1],
        straight alpha; it belongs to the rig's first view. looking: None: as trained. Raises ValueError when sizes
        or counts do not belong together.
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
            guides = make_guides(z, hit, front, rig)
            if looking is not None:
                looks = self.looks(looking)
                levels = (level._replace(look=look) for level, look in zip(guides.levels, looks, strict=True))
                guides = guides._replace(levels=tuple(levels))
            return self(latents, guides)

    def looks(self, looking: Looking) -> list[Look]:
        """What `looking` means in each up-block. Raises ValueError on an attention that there is not."""
        looks = []
        for block, cells, factor in zip(self.attention, WHOLE_LINES, FACTORS, strict=True):
            if looking.attention == "off" or not block.points:
                looks.append(Look(0, None))
            elif looking.attention == "full":
                looks.append(Look(cells and (looking.samples or cells), None))
            elif looking.attention == "epipolar":
                reach = None if looking.reach is None else functional.avg_pool2d(looking.reach[None], factor)[0]
                looks.append(Look(looking.samples or block.points, looking.radius or block.radius, reach))
            else:
                raise ValueError(f"attention {looking.attention!r}: expected epipolar, off or full")
        return looks

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
        pyramid = self.front(guides.photo)

        def at_input(i: int, x: Tensor) -> Tensor:
            x = self.add_front(x, pyramid[i])
            return self.add_warped(x, guides.warped) if i + 1 == len(self.attention) else x

        def before_upsampling(i: int, x: Tensor) -> Tensor:
            return self.attend(i, x, guides.levels[i], None if jitter is None else jitter[i])

        picture, features = self.base.run(latents, at_input, before_upsampling)
        return self.blend_warped(picture, features, guides.warped) / 2 + 0.5

    # the parts that stand on the base, one method each

    def add_front(self, x: Float[Tensor, "V C h w"], features: Float[Tensor, "1 C h w"]) -> Float[Tensor, "V C h w"]:
        """The photo's pyramid, added to the front view alone; the rest is left to the attention."""
        x = x.clone()  # keeps the memory layout, on which the last bits depend
        x[FRONT] += features[0]
        return x

    def attend(
        self, i: int, x: Float[Tensor, "V C h w"], level: Level, jitter: Float[Tensor, "V S h w"] | None
    ) -> Float[Tensor, "V C h w"]:
        """Epipolar attention of the i-th up-block."""
        return self.attention[i](x, level, jitter)

    def add_warped(self, x: Float[Tensor, "V C H W"], warped: Warped) -> Float[Tensor, "V C H W"]:
        """The warped photo as features."""
        return x if self.carry is None else x + self.carry.features(warped)

    def blend_warped(
        self, picture: Float[Tensor, "V 3 H W"], features: Float[Tensor, "V C H W"], warped: Warped
    ) -> Float[Tensor, "V 3 H W"]:
        """The warped photo, blended into the picture."""
        return picture if self.carry is None else self.carry.blend(picture, features, warped)

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


class WarpedPhoto(nn.Module):
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

    def features(self, warped: Warped) -> Float[Tensor, "V C H W"]:
        """What is added to the last up-block's input."""
        return self.out(self.read(laid_out_like(_channels(warped).to(self.gate), self.read[0])))

    def blend(
        self, picture: Float[Tensor, "V 3 H W"], features: Float[Tensor, "V C H W"], warped: Warped
    ) -> Float[Tensor, "V 3 H W"]:
        """The picture, moved towards the warped colours by mask x visibility x gate; all pictures in [-1, 1]."""
        seen = torch.cat([features, _channels(warped).to(picture), picture], dim=1)
        share = torch.sigmoid(self.mask(laid_out_like(seen, self.mask[0])))
        share = share * torch.tanh(GATE_RATE * self.gate) * warped.visible[:, None].to(picture)
        return picture + share * (warped.color.to(picture) * 2 - 1 - picture)


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
    colour = over_white(front[:3], front[3:])
    rays = tuple(torch.stack([pluecker(c) for c in rig.cameras(size // factor)]).to(z) for factor in FACTORS)
    levels = make_levels(z, hit, colour, rays, rig, FACTORS, dropped)
    return Guides(levels, warp_photo(front, z, hit, rig), torch.cat([colour, front[3:]]) * 2 - 1)


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
    return Guides(tuple(levels), Warped(*(m[part] for m in guides.warped)), guides.photo[part])


def _channels(warped: Warped) -> Float[Tensor, "V 6 H W"]:
    """Colour in [-1, 1] where there is one, visibility, gap, cosine."""
    notes = torch.stack([warped.visible, warped.gap, warped.cosine], dim=1)
    there = (warped.cosine > 0) | (warped.visible > 0)
    color = (warped.color * 2 - 1) * there[:, None]
    return torch.cat([color, notes], dim=1)

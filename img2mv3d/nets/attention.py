"""Depth-truncated epipolar attention across views (paper, eq. 1 and 2), a fast path and its readable twin."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from img2mv3d.conventions import WORLD_WIDTH
from img2mv3d.geometry.cameras import Rig, pixel_centres, project, unproject
from img2mv3d.geometry.epipolar import (
    Taps,
    depth_gap,
    image_taps,
    pool_depth,
    ray_depths,
    row_taps,
    rows_are_epipolar,
)
from img2mv3d.geometry.rings import SLOTS, neighbours

RAY = 6  # Pluecker numbers of a ray
PHOTO = 4  # the front photo's colour and a flag, beside the front view's features only
SEEN = 2  # inside flag, depth gap
CHUNK = 1 << 21  # numbers of hidden features held at once: 8 MB in float32


class Look(NamedTuple):
    """How rays are looked along, in place of how it was trained.

    points: samples on each; 0: none is looked along.
    half: length of half of the piece around the depth, world units; None: the whole line.
    reach: factor on that, pixel by pixel; None: 1.
    """

    points: int
    half: float | None
    reach: Float[Tensor, "V h w"] | None = None

    def depths(
        self, view: int, pixels: Int[Tensor, "P"], z: Float[Tensor, "P"], rig: Rig, jitter: Float[Tensor, "P S"] | None
    ) -> Float[Tensor, "P S"]:
        """Where the points of rays of these pixels lie that meet the surface at z."""
        if self.half is None:
            return ray_depths(torch.full_like(z, rig.distance or 0.0), self.points, WORLD_WIDTH / 2, jitter)
        depths = ray_depths(z, self.points, self.half, jitter)
        if self.reach is None:
            return depths
        return z[:, None] + (depths - z[:, None]) * self.reach[view].flatten()[pixels][:, None].to(depths)


class Level(NamedTuple):
    """What the attention needs to know at one feature size; `hit` False and z 0 outside of the object.

    Where `rows_are_epipolar` the maps may be a band of rows; otherwise they are whole images.

    z: world units.
    ray: Pluecker coordinates.
    photo: RGB over white in [-1, 1] and a 1 in the front view, zeros in the others.
    slots: `neighbours(rig)`.
    look: None: as trained.
    """

    z: Float[Tensor, "V h w"]
    hit: Bool[Tensor, "V h w"]
    ray: Float[Tensor, "V 6 h w"]
    photo: Float[Tensor, "V 4 h w"]
    rig: Rig
    slots: tuple[tuple[int | None, ...], ...]
    look: Look | None = None


class EpipolarAttention(nn.Module):
    """For every hit pixel: points along its ray near its depth, features of the other views there, mixed (eq. 1),
    attended to (eq. 2).

    The mixing MLP knows the views by their place round the ring. Beside the paper's it gets, per sample and view,
    whether the point is inside of that image and how far it is behind that view's own surface, and the photo's colour
    beside the front view's features. Its output projection starts at zero: a fresh block adds nothing.

    channels: of the features.
    points: N_p.
    radius: half length of the ray's piece, world units.
    groups: of the norm.
    head_width: of a head (one head when there are fewer channels).
    """

    slots = SLOTS  # that the mixing MLP tells apart
    beside, notes = PHOTO, SEEN  # numbers of a sample beside its features and ray, and of its visibility

    def __init__(
        self, channels: int, points: int, *, radius: float = 0.1, groups: int = 8, head_width: int = 64
    ) -> None:
        super().__init__()
        self.points, self.radius = points, radius
        self.heads = max(1, channels // head_width)
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.mix_in = nn.Linear(self.slots * (channels + RAY + self.beside + self.notes), channels)
        self.mix_out = nn.Linear(channels, channels)
        self.query = nn.Linear(channels + RAY, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, features: Float[Tensor, "V C h w"], level: Level, jitter: Float[Tensor, "V S h w"] | None = None
    ) -> Float[Tensor, "V C h w"]:
        """features + what the other views show; unchanged outside of hits, and everywhere when there are 0 points.
        jitter in [0, 1): places in the bins (training), drawn outside.
        """
        if not (self.points if level.look is None else level.look.points):
            return features
        if not torch.is_grad_enabled() and not (self.out.weight.any() or self.out.bias.any()):
            return features  # as it was made: it would add zeros
        return features + self.branch(features, level, jitter)

    def branch(
        self, features: Float[Tensor, "V C h w"], level: Level, jitter: Float[Tensor, "V S h w"] | None = None
    ) -> Float[Tensor, "V C h w"]:
        """What is added to the features.

        The MLP's first layer is linear and commutes with interpolation: its slice is applied to each source map
        once, then one `embedding_bag` gathers and sums over all views and taps. Pixels go in chunks; only hit ones
        are computed.
        """
        views, channels, height, width = features.shape
        normed = self.norm(features).permute(0, 2, 3, 1).reshape(views, height * width, channels)
        ray, photo = (m.flatten(2).transpose(1, 2).to(normed) for m in (level.ray, level.photo))
        sources = self.sources(normed, ray, photo)
        z, hit = level.z.flatten(1), level.hit.flatten(1)  # coordinates keep their own precision
        look, added, wide = level.look, [], channels + RAY + self.beside
        points = self.points if look is None else look.points
        for view, row in enumerate(level.slots):
            pixels = hit[view].nonzero()[:, 0]
            filled = [(slot, other) for slot, other in enumerate(row) if other is not None]
            slices = self._slices()
            tables = [sources[other] @ slices[:, slot, :wide].T for slot, other in filled]
            table = torch.cat(tables) if tables else sources.new_zeros(1, self.mix_in.out_features)
            queries = self.query(torch.cat([normed[view], ray[view]], dim=-1)[pixels])
            step = max(1, CHUNK // (points * channels))
            pieces = []
            for start in range(0, len(pixels), step):
                chunk = pixels[start : start + step]
                places = None if jitter is None else jitter[view].flatten(1)[:, chunk].T
                if look is None:
                    depths = self.depths(z[view, chunk], level.rig, places)
                else:
                    depths = look.depths(view, chunk, z[view, chunk], level.rig, places)
                seen = [self._taps(level, view, other, chunk, depths) for _, other in filled]
                hidden = self._gather(table, seen, slices[:, :, wide:], filled, z, hit, depths)
                pieces.append(self._attend(queries[start : start + step], hidden))
            flat = normed.new_zeros(height * width, channels)
            added.append(flat.index_copy(0, pixels, torch.cat(pieces)) if pieces else flat)
        return torch.stack(added).view(views, height, width, channels).permute(0, 3, 1, 2)

    def depths(
        self, z: Float[Tensor, "P"], rig: Rig, jitter: Float[Tensor, "P S"] | None = None
    ) -> Float[Tensor, "P S"]:
        """Where the points of rays lie that meet the surface at z."""
        return ray_depths(z, self.points, self.radius, jitter)

    def _slices(self) -> Float[Tensor, "C slots I"]:
        """The first layer's weights for every slot."""
        return self.mix_in.weight.view(len(self.mix_in.weight), SLOTS, -1)

    def sources(self, normed: Tensor, ray: Tensor, photo: Tensor) -> Tensor:
        """What of every cell the other views see: features, ray, photo, channels last."""
        return torch.cat([normed, ray, photo], dim=-1)

    def _taps(self, level: Level, view: int, other: int, pixels: Tensor, depths: Tensor) -> Taps:
        height, width = level.z.shape[1:]
        if rows_are_epipolar(level.rig):
            return row_taps(level.rig, view, other, pixels, depths, width)
        cameras = level.rig.cameras(height)
        return image_taps(cameras[view], cameras[other], pixels, depths)

    def _gather(
        self,
        table: Float[Tensor, "Q C"],
        seen: list[Taps],
        flags: Float[Tensor, "C slots F"],
        filled: list[tuple[int, int]],
        z: Float[Tensor, "V q"],
        hit: Bool[Tensor, "V q"],
        depths: Float[Tensor, "P S"],
    ) -> Float[Tensor, "P S C"]:
        """First layer of eq. 1 and its SiLU for every point: gathered source maps, plus visibility, plus the bias."""
        count, points = depths.shape
        hidden = self.mix_in.bias.expand(count * points, -1)
        if not filled:
            return functional.silu(hidden).view(count, points, -1)
        cells = z.shape[1]
        index = torch.cat([t.index + i * cells for i, t in enumerate(seen)], dim=-1).flatten(0, 1)
        weight = torch.cat([t.weight for t in seen], dim=-1).flatten(0, 1).to(table)
        hidden = hidden + functional.embedding_bag(index, table, per_sample_weights=weight, mode="sum")
        if self.notes:
            notes = [self.visibility(t, z[other], hit[other]) for t, (_, other) in zip(seen, filled, strict=True)]
            columns = torch.cat([flags[:, slot] for slot, _ in filled], dim=-1)
            hidden = hidden + torch.cat(notes, dim=-1).flatten(0, 1).to(table) @ columns.T
        return functional.silu(hidden).view(count, points, -1)

    def visibility(self, taps: Taps, z: Float[Tensor, " q"], hit: Bool[Tensor, " q"]) -> Float[Tensor, "P S 2"]:
        """Whether each point is inside of the other view, and how far behind that view's own surface."""
        return torch.stack([taps.inside, depth_gap(taps, z, hit, self.radius)], dim=-1)

    def _attend(self, queries: Float[Tensor, "P C"], hidden: Float[Tensor, "P S C"]) -> Float[Tensor, "P C"]:
        """Second layer of eq. 1, then eq. 2: one query against its own N_p keys, head by head."""
        count, points, channels = hidden.shape
        mixed = self.mix_out(hidden)
        keys = self.key(mixed).view(count, points, self.heads, -1)
        values = self.value(mixed).view(count, points, self.heads, -1)
        queries = queries.view(count, 1, self.heads, -1)
        share = ((queries * keys).sum(-1, keepdim=True) * keys.shape[-1] ** -0.5).softmax(dim=1)
        return self.out((share * values).sum(1).reshape(count, channels))


class PaperAttention(EpipolarAttention):
    """The same as the paper has it: the mixing MLP gets features and rays alone."""

    beside = notes = 0

    def sources(self, normed: Tensor, ray: Tensor, photo: Tensor) -> Tensor:
        """What of every cell the other views see: features and ray, channels last."""
        return torch.cat([normed, ray], dim=-1)


def make_levels(
    z: Float[Tensor, "V H W"],
    hit: Float[Tensor, "V H W"],
    photo: Float[Tensor, "3 H W"],
    rays: tuple[Float[Tensor, "V 6 _ _"], ...],
    rig: Rig,
    factors: tuple[int, ...] = (8, 4, 2, 1),
    dropped: tuple[int, ...] = (),
) -> tuple[Level, ...]:
    """One `Level` per factor: depth pooled over hits, the photo (RGB over white in [0, 1]) averaged, rays as given at
    that size.
    """
    solid, slots, levels = hit >= 0.5, neighbours(rig, dropped=dropped), []
    for factor, ray in zip(factors, rays, strict=True):
        small_z, small_hit = pool_depth(z, solid, factor)
        small = functional.avg_pool2d(photo[None], factor)[0] * 2 - 1
        beside = small.new_zeros(len(rig), PHOTO, *small.shape[1:])
        beside[0] = torch.cat([small, torch.ones_like(small[:1])])
        levels.append(Level(small_z, small_hit, ray, beside, rig, slots))
    return tuple(levels)


def epipolar_attention_plain(
    net: EpipolarAttention,
    features: Float[Tensor, "V C h w"],
    level: Level,
    jitter: Float[Tensor, "V S h w"] | None = None,
) -> Float[Tensor, "V C h w"]:
    """The same as `net(features, level, jitter)`, written down as the paper says it; whole images, any rig, slow."""
    views, channels, height, width = features.shape
    cameras = level.rig.cameras(height)
    parts = (net.norm(features), level.ray.to(features), level.photo.to(features))
    sources = net.sources(*(m.movedim(1, -1) for m in parts)).movedim(-1, 1)
    uv = torch.from_numpy(pixel_centres(height, width)).to(features)
    size = uv.new_tensor([width, height])
    result = []
    for view in range(views):
        seen = []
        places = None if jitter is None else jitter[view].flatten(1).T
        depths = net.depths(level.z[view].flatten().to(features), level.rig, places).view(height, width, net.points)
        points = unproject(cameras[view], uv[:, :, None].expand(height, width, net.points, 2), depths)
        for other in level.slots[view]:
            if other is None:
                seen.append(uv.new_zeros(height, width, net.points, sources.shape[1] + net.notes))
                continue
            place, depth = project(cameras[other], points)
            grid = place * (2.0 / size) - 1.0
            inside = (grid.abs() <= 1.0).all(-1).to(features)
            picked = functional.grid_sample(
                sources[other][None], grid.flatten(1, 2)[None], padding_mode="border", align_corners=False
            )
            picked = picked[0].view(-1, height, width, net.points).permute(1, 2, 3, 0)
            gap = _gap_plain(place, depth, level.z[other].to(features), level.hit[other], net.radius)
            notes = torch.stack([torch.ones_like(gap), gap], dim=-1)[..., : net.notes]
            seen.append(torch.cat([picked, notes], dim=-1) * inside[..., None])
        mixed = net.mix_out(functional.silu(net.mix_in(torch.cat(seen, dim=-1))))  # eq. 1
        asking = torch.cat([sources[view][:channels], level.ray[view].to(features)]).permute(1, 2, 0)
        shape = (height, width, -1, net.heads, channels // net.heads)
        query, key, value = net.query(asking).view(shape), net.key(mixed).view(shape), net.value(mixed).view(shape)
        share = ((query * key).sum(-1) / (channels // net.heads) ** 0.5).softmax(dim=2)  # eq. 2
        looked = net.out((share[..., None] * value).sum(2).flatten(2))
        result.append(features[view] + (looked * level.hit[view][..., None]).permute(2, 0, 1))
    return torch.stack(result)


def _gap_plain(place: Tensor, depth: Tensor, z: Tensor, hit: Tensor, radius: float) -> Tensor:
    """`depth_gap`, corner by corner."""
    height, width = z.shape
    x, y = (place[..., 0] - 0.5).clamp(0, width - 1), (place[..., 1] - 0.5).clamp(0, height - 1)
    total = torch.zeros_like(x)
    for column in (x.floor(), x.floor() + 1):
        for row in (y.floor(), y.floor() + 1):
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            r, c = row.long().clamp(max=height - 1), column.long().clamp(max=width - 1)
            gap = torch.where(hit[r, c], ((depth - z[r, c]) / radius).clamp(-1, 1), -1.0)
            total = total + share * gap
    return total
